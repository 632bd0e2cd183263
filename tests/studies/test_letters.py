"""The letters study: its models, its shifts, its cache and its tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mindpad_mm.core.errors import UserError
from studies import letters as module
from studies.letters import MODES, run_letters, settings
from studies.letters_data import Letters, LetterSet
from studies.letters_model import (
    LetterSetting,
    as_input,
    letter_classifier,
    shifted,
    train,
)
from studies.letters_tables import claims_table, draw_shifts, letters_markdown


@pytest.fixture(scope='module')
def blocks():
    """A set of 26 easy "letters": a block at one of 26 places."""

    def make(copies):
        images = np.zeros((26 * copies, 28, 28), np.uint8)
        labels = np.arange(26 * copies) % 26
        for image, label in zip(images, labels):
            y, x = 4 + 3 * (label // 6), 4 + 3 * (label % 6)
            image[y : y + 4, x : x + 4] = 255
        return Letters(images, labels)

    return LetterSet(make(4), make(1), make(1), {'name': 'blocks'})


def test_there_are_48_models():
    names = {setting.name for setting in settings()}
    assert len(names) == len(settings()) == 48


@pytest.mark.parametrize(('size', 'even'), [(28, False), (29, True)])
def test_both_strided_layers_use_their_padding_evenly_at_29_and_neither_does_at_28(size, even):
    model, equations = letter_classifier('zeros', True), []
    for layer in model:
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            layer.register_forward_hook(
                lambda _, i, o: equations.append(i[0].shape[2] + 2 == 2 * (o.shape[2] - 1) + 3)
            )
    assert model(torch.zeros(1, 1, size, size)).shape == (1, 26)
    assert equations == [even, even]


def test_one_seed_gives_every_mode_the_same_initial_weights():
    def weights(mode):
        torch.manual_seed(0)
        return letter_classifier(mode, False).state_dict()

    for mode in MODES[1:]:
        assert all(torch.equal(v, weights('zeros')[k]) for k, v in weights(mode).items())


def test_the_even_input_is_the_image_with_a_black_row_and_column():
    image = np.random.default_rng(0).integers(1, 256, (1, 28, 28), dtype=np.uint8)
    even = as_input(image, 29)[0, 0]
    assert torch.equal(even[:28, :28], torch.from_numpy(image[0]) / 255)
    assert even[28].sum() == even[:, 28].sum() == 0


@pytest.mark.parametrize('dy', [-1, 0, 1])
@pytest.mark.parametrize('dx', [-1, 0, 1])
def test_a_shifted_letter_touches_the_border_and_is_otherwise_the_same(dy, dx):
    image = np.zeros((28, 28), np.uint8)
    image[9:14, 5:21] = np.random.default_rng(1).integers(100, 256, (5, 16))
    (pushed,) = shifted(image[None], dy, dx)
    top, left = {-1: 0, 0: 9, 1: 23}[dy], {-1: 0, 0: 5, 1: 12}[dx]
    assert np.array_equal(pushed[top : top + 5, left : left + 16], image[9:14, 5:21])
    assert pushed.sum() == image.sum()


def test_training_learns_and_repeats_itself(blocks):
    setting = LetterSetting('reflect', True, 28, 0)
    model, info = train(setting, blocks)
    again, repeated = train(setting, blocks)
    assert info == repeated
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    assert info['val_loss'] < 0.8 * np.log(26)


def test_finished_models_are_not_trained_again(blocks, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'MODES', ('zeros',))
    first = run_letters(blocks, tmp_path, seeds=[0])
    assert len(first['models']) == 4
    monkeypatch.setattr(module, 'ProcessPoolExecutor', None)  # nothing may be started
    assert run_letters(blocks, tmp_path, seeds=[0]) == first
    with pytest.raises(UserError, match='other letters'):
        run_letters(LetterSet(blocks.train, blocks.val, blocks.test, {'name': 'x'}), tmp_path)


def test_claims_are_judged_by_paired_differences():
    """In the made-up results, 29 px is one point better in every pair, and circular equals zeros."""
    rng = np.random.default_rng(0)
    models = []
    for setting in settings():
        own = 0.8 + rng.normal(0, 1e-4) + 0.01 * (setting.size == 29)
        other = own - (0.2 if setting.size == 28 else 0.01)
        sizes = (str(setting.size), str(57 - setting.size))
        models.append(
            {
                **vars(setting),
                'epochs': 3,
                'accuracy': dict(zip(sizes, (own, other))),
                'perplexity': dict.fromkeys(sizes, 2.0 - 0.1 * setting.batch_norm),
                'shift_errors': (np.full((3, 3), 0.2) + rng.normal(0, 1e-3, (3, 3))).tolist(),
            }
        )
    rows = {row[0]: row for row in claims_table(models).rows}
    assert rows['even input (29) is more accurate'][2:][0] == '+1.00'
    assert rows['even input (29) is more accurate'][-1] == 'reproduced'
    assert rows['trained uneven, tested even: much worse'][2] == '-20.00'
    assert rows['circular is a little less accurate than zeros'][-1] == 'undecided'
    assert rows['batch norm lowers perplexity'][-1] == 'reproduced'
    assert rows['even input is more robust to shifts'][-1] == 'undecided'
    results = {
        'models': models,
        'cpu_seconds': 60,
        'source': {'name': 'none', 'counts': {'test': 1}},
    }
    assert '48 models, seeds 0, 1, 2.' in letters_markdown(results)


def test_the_figure_of_the_shifts_is_a_picture(tmp_path):
    models = [{**vars(s), 'shift_errors': np.eye(3).tolist()} for s in settings([0])]
    draw_shifts(models, tmp_path / 'new' / 'shift.png')
    assert (tmp_path / 'new' / 'shift.png').read_bytes().startswith(b'\x89PNG')
