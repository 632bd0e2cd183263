"""Letters are reproducible, no font is in two splits, and EMNIST is read upright from 0."""

from __future__ import annotations

import gzip
import shutil
import struct

import numpy as np
import pytest

from mindpad_mm.core.errors import UserError
from studies import letters_data
from studies.letters_data import emnist_letters, find_fonts, font_letters

COUNTS = (52, 26, 26)


@pytest.fixture(scope='module')
def fonts(tmp_path_factory):
    """Six kinds of fonts that come with matplotlib, a symbol font and a broken file."""
    import matplotlib

    source = f'{matplotlib.get_data_path()}/fonts/ttf'
    folder = tmp_path_factory.mktemp('fonts')
    for name in ('DejaVuSans', 'cmr10', 'cmb10', 'cmss10', 'cmtt10', 'STIXGeneral', 'cmsy10'):
        shutil.copy(f'{source}/{name}.ttf', folder)
    (folder / 'broken.ttf').write_bytes(b'no font at all')
    return folder


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(fonts):
    one, again, other = (font_letters([fonts], seed=seed, counts=COUNTS) for seed in (0, 0, 1))
    for part in ('train', 'val', 'test'):
        assert np.array_equal(getattr(one, part).images, getattr(again, part).images)
        assert not np.array_equal(getattr(one, part).images, getattr(other, part).images)
    assert [len(part) for part in (one.train, one.val, one.test)] == list(COUNTS)


def test_no_font_is_in_two_splits_and_none_is_left_out(fonts):
    split = font_letters([fonts], counts=COUNTS).source['fonts']
    names = [name for part in split.values() for name in part]
    assert len(names) == len(set(names))
    assert set(names) == set(find_fonts([fonts]))
    assert all(split.values())


def test_fonts_of_signs_and_broken_files_are_passed_over(fonts):
    assert set(find_fonts([fonts])) == {
        'DejaVu',
        'STIXGeneral',
        'cmb10',
        'cmr10',
        'cmss10',
        'cmtt10',
    }


def test_every_letter_is_there_and_has_ink_within_the_picture(fonts):
    letters = font_letters([fonts], counts=(260, 26, 26)).train
    assert set(letters.labels) == set(range(26))
    assert letters.images.max((1, 2)).min() > 60
    rims = [letters.images[:, rim] for rim in (0, -1)] + [
        letters.images[..., rim] for rim in (0, -1)
    ]
    assert np.max(rims) < 40  # no more than what is blurred


def test_letters_are_kept_and_not_drawn_again(fonts, tmp_path, monkeypatch):
    drawn = font_letters([fonts], tmp_path, counts=COUNTS)
    monkeypatch.setattr(letters_data, '_letter', None)
    kept = font_letters([fonts], tmp_path, counts=COUNTS)
    assert np.array_equal(drawn.test.images, kept.test.images)


def test_too_few_fonts_are_an_error(tmp_path):
    with pytest.raises(UserError, match='at least 5'):
        font_letters([tmp_path])
    with pytest.raises(UserError, match='no such folder'):
        font_letters([tmp_path / 'absent'])


def test_emnist_stands_upright_and_counts_from_a(tmp_path):
    raw = tmp_path / 'EMNIST' / 'raw'
    raw.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    for part in ('train', 'test'):
        base = f'emnist-letters-{part}'
        # EMNIST's files have transposed images and labels from 1 to 26.
        _idx(raw / f'{base}-images-idx3-ubyte', pictures.transpose(0, 2, 1))
        _idx(raw / f'{base}-labels-idx1-ubyte', np.arange(1, 17, dtype=np.uint8))
    letters = emnist_letters(tmp_path)
    assert np.array_equal(letters.test.images, pictures)
    assert letters.test.labels.tolist() == list(range(16))
    assert len(letters.train) == 14
    assert len(letters.val) == 2
    both = np.concatenate([letters.train.labels, letters.val.labels])
    assert sorted(both) == list(range(16))


def test_absent_emnist_is_an_error(tmp_path):
    with pytest.raises(UserError, match='no EMNIST there'):
        emnist_letters(tmp_path)


def _idx(path, array):
    head = struct.pack('>HBB', 0, 8, array.ndim) + struct.pack(f'>{array.ndim}I', *array.shape)
    path.write_bytes(head + array.tobytes())
    with gzip.open(f'{path}.gz', 'wb') as file:
        file.write(head + array.tobytes())
