"""Files of our own that are torn, empty or foreign are computed anew or told, never believed."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mindpad_mm import CallableDetector, blindspot_scan
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import is_sealed, read_json, save_bytes, save_json, seal
from mindpad_mm.core.journal import FOLDER, Journal, alone_in, prepare_folder
from mindpad_mm.core.matching import Matches
from mindpad_mm.report.page import write_page
from mindpad_mm.scan import ScanResult

# What a file can become.
DAMAGES = {
    'empty': lambda whole: b'',
    'torn': lambda whole: whole[: len(whole) // 2],
    'a list': lambda whole: b'[]',
    'a number': lambda whole: b'5',
    'a dict': lambda whole: b'{}',
    'null': lambda whole: b'null',
    'deep': lambda whole: b'[' * 100_000,
    'no text': lambda whole: b'\xff\xfe\x00' * 9,
    'other bytes': lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
}


def scores_of(images):
    """A detector whose score is the mean of the image."""
    return [
        {'boxes': [[0, 0, 9, 9]], 'scores': [float(image.mean()) / 255], 'labels': [0]}
        for image in images
    ]


def scanned(folder, **options):
    scene = np.full((40, 40, 3), 90, np.uint8)
    return blindspot_scan(
        CallableDetector(scores_of, ['spot']), scene, np.full((8, 8, 3), 255, np.uint8), sizes=8,
        stride=16, iou_thr=0.01, out=folder, **options,
    )  # fmt: skip


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('name', ['scan.json', 'scan.npz'])
def test_a_damaged_scan_is_told_when_it_is_read_and_resumed(tmp_path, name, damage):
    scanned(tmp_path / 'out')
    path = tmp_path / 'out' / name
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    if damage == 'other bytes' and name == 'scan.json':
        return  # its figures are plain text, and anybody's to change
    with pytest.raises(UserError) as raised:
        ScanResult.load(tmp_path / 'out')
    assert '\n' not in str(raised.value)
    with pytest.raises(UserError):
        scanned(tmp_path / 'out', resume=True)


def test_arrays_of_another_scan_are_not_taken_for_those_of_this_one(tmp_path):
    scanned(tmp_path / 'a')
    scanned(tmp_path / 'b')
    with np.load(tmp_path / 'b' / 'scan.npz') as stored:
        arrays = {**stored, 'scores': stored['scores'] / 2}
    np.savez_compressed(tmp_path / 'a' / 'scan.npz', **arrays)
    with pytest.raises(UserError, match=r'scan\.npz'):
        ScanResult.load(tmp_path / 'a')


@pytest.mark.parametrize(
    'name', ['../x.png', '/etc/hostname', 'x.txt', 'a/b.png', '..', '', 'link.png']
)
@pytest.mark.parametrize('part', ['objects', 'backgrounds'])
def test_a_page_holds_images_of_the_folder_alone(tmp_path, name, part):
    folder = tmp_path / 'out'
    scanned(folder)
    (tmp_path / 'x.png').write_bytes(b'secret')
    (folder / 'x.txt').write_bytes(b'secret')
    os.symlink(tmp_path / 'x.png', folder / 'link.png')
    content = json.loads((folder / 'scan.json').read_text())
    if part == 'objects':
        content['objects'][0]['files'] = [name]
    else:
        content['backgrounds'][0]['file'] = name
    (folder / 'scan.json').write_text(json.dumps(content))
    with pytest.raises(UserError):
        write_page([ScanResult.load(folder)], tmp_path / 'page.html')
    assert not (tmp_path / 'page.html').exists()


FOUND = Matches(np.ones(2, np.float32), np.ones(2, np.float32), np.ones((2, 4), np.float32))


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('name', ['fingerprint.json', 'chunk', 'batch_size'])
def test_a_damaged_journal_is_worked_out_anew(tmp_path, name, damage):
    journal = Journal(tmp_path, {'a': 1})
    journal.write('chunk', FOUND, 1.0)
    journal.write_value('batch_size', 4)
    path = tmp_path / FOLDER / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    try:
        again = Journal(tmp_path, {'a': 1})
    except UserError:
        assert name == 'fingerprint.json'
        return
    assert (again.read('chunk', 2) is None) == (name == 'chunk')
    assert again.read_value('batch_size') == (None if name == 'batch_size' else 4)


def test_a_chunk_of_another_fingerprint_or_behind_a_link_is_missing(tmp_path):
    Journal(tmp_path / 'a', {'a': 1}).write('chunk', FOUND, 1.0)
    other = Journal(tmp_path / 'b', {'a': 2})
    chunk = tmp_path / 'b' / FOLDER / 'chunk'
    chunk.write_bytes((tmp_path / 'a' / FOLDER / 'chunk').read_bytes())
    assert other.read('chunk', 2) is None
    other.write('real', FOUND, 1.0)
    chunk.unlink()
    chunk.symlink_to('real')
    (tmp_path / 'b' / FOLDER / 'real2').symlink_to(tmp_path / 'b' / FOLDER / 'real')
    assert other.read('real', 2) is not None
    assert other.read('real2', 2) is None
    target = tmp_path / 'mine.txt'
    target.write_text('mine')
    chunk.unlink()
    chunk.symlink_to(target)
    other.write('chunk', FOUND, 1.0)
    assert target.read_text() == 'mine'
    assert other.read('chunk', 2) is not None


def test_a_progress_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / FOLDER).symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(UserError, match='remove it'):
        Journal(tmp_path / 'out', {})
    assert not os.listdir(tmp_path / 'elsewhere')


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_seal_knows_its_file_again(tmp_path, damage):
    path = tmp_path / 'found.bbox.json'
    save_json(path, [{'image_id': 1, 'score': 0.5}] * 9)
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert not is_sealed(path)
    save_bytes(tmp_path / 'other.bbox.json', b'[]')
    seal(tmp_path / 'other.bbox.json')
    for end in ('', '.sha256'):
        (tmp_path / f'found.bbox.json{end}').write_bytes(
            (tmp_path / f'other.bbox.json{end}').read_bytes()
        )
    assert not is_sealed(path)  # of another name


@pytest.mark.parametrize('damage', DAMAGES)
def test_json_of_any_kind_is_read_or_told(tmp_path, damage):
    path = tmp_path / 'x.json'
    path.write_bytes(DAMAGES[damage](b'{"a": [1, 2, 3, 4, 5]}'))
    try:
        wanted = json.loads(path.read_text('utf-8'))
    except (ValueError, RecursionError):
        with pytest.raises(UserError, match=r'not JSON|byte order mark'):
            read_json(path)
    else:
        assert read_json(path) == wanted


LOCKING = """
import fcntl, os, sys, time
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(folder, fcntl.LOCK_EX)
print('locked', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize('resume', [False, True])
def test_of_two_runs_in_a_folder_the_second_is_told(tmp_path, resume):
    out = tmp_path / 'out'
    out.mkdir()
    command = [sys.executable, '-c', LOCKING, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        with pytest.raises(UserError, match='in use by another run'):
            scanned(out, resume=resume)
        first.kill()
    assert scanned(out) is not None  # the lock of a killed run is gone
    with alone_in(out):
        own = os.open(out, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(own)


def test_a_folder_without_locks_is_used_with_a_warning(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, 'not supported')

    monkeypatch.setattr(fcntl, 'flock', none)
    with alone_in(tmp_path):
        pass


@pytest.mark.parametrize('size', [41, 10**5, 2 * 10**9, 10**30])
def test_a_size_beyond_the_photo_is_told_before_anything_is_resized(tmp_path, size):
    with pytest.raises(UserError, match='`sizes`'):
        blindspot_scan(
            CallableDetector(scores_of, ['spot']), np.zeros((40, 40, 3), np.uint8), sizes=size
        )


def test_a_folder_of_too_long_a_name_is_told(tmp_path):
    with pytest.raises(UserError, match='`out`'):
        prepare_folder(tmp_path / ('n' * 300), False, 'scan.json')
    deep = tmp_path
    for _ in range(20):
        deep /= 'n' * 200
    with pytest.raises(UserError, match='`out`'):
        prepare_folder(deep, False, 'scan.json')


def test_a_folder_that_is_gone_or_full_in_mid_run_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(UserError, match='No space left'):
        scanned(tmp_path / 'out')
