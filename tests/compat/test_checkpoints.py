"""Checkpoints of MMDetection load, and no checkpoint runs code."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mindpad_mm.compat import checkpoints
from mindpad_mm.compat.checkpoints import load_checkpoint_file
from mindpad_mm.core.errors import UserError

MODERN = tuple(int(part) for part in torch.__version__.split('.')[:2]) >= (2, 6)


class Payload:
    """Calls a function when it is unpickled without restrictions."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(params=['native', 'restricted'])
def loading(request, monkeypatch):
    """Both ways to load: torch's own ``weights_only``, and the one for torch before 2.6."""
    if request.param == 'native':
        if not MODERN:
            pytest.skip('this torch cannot load weights only')
    else:
        monkeypatch.setattr(checkpoints, '_torch_loads_weights_only', lambda: False)
        if MODERN:
            load = torch.load  # before 2.6, weights_only was False by default
            monkeypatch.setattr(
                torch, 'load', lambda *args, **kwargs: load(*args, weights_only=False, **kwargs)
            )
    return request.param


def runner_checkpoint() -> dict:
    """A checkpoint as mmengine's Runner saves it, with logs, numpy values and optimiser state."""
    hub = MessageHub('test_checkpoints')
    for value in (0.5, 0.25):
        hub.update_scalar('train/loss', value)
    hub.update_info('best_score', np.float64(0.625))
    hub.update_info('iter', np.int64(7))
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        'meta': {'epoch': 1, 'dataset_meta': {'classes': ('a', 'b'), 'palette': [(1, 2, 3)]}},
        'state_dict': model.state_dict(),
        'message_hub': hub.state_dict(),
        'optimizer': optimizer.state_dict(),
        'param_schedulers': [{'last_step': 3, 'by_epoch': True}],
    }


def test_a_runners_checkpoint_loads_completely(tmp_path, loading):
    path = tmp_path / 'epoch_1.pth'
    saved = runner_checkpoint()
    torch.save(saved, path)
    loaded = load_checkpoint_file(str(path))
    assert torch.equal(loaded['state_dict']['weight'], saved['state_dict']['weight'])
    assert loaded['meta'] == saved['meta']
    log = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(log, HistoryBuffer)
    assert log.mean() == 0.375
    assert log.statistics('min') == 0.25
    assert loaded['message_hub']['runtime_info']['best_score'] == 0.625
    moment = loaded['optimizer']['state'][0]['exp_avg']
    assert torch.equal(moment, saved['optimizer']['state'][0]['exp_avg'])


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_numpy_values_of_old_and_new_numpy_load(tmp_path, loading, module, monkeypatch):
    path = tmp_path / 'numpy.pth'
    data = pickle.dumps({'value': np.float64(0.5), 'list': np.arange(3)}, protocol=2)
    for name in (b'numpy._core.multiarray', b'numpy.core.multiarray'):
        data = data.replace(b'c' + name + b'\n', b'c' + module.encode() + b'\n')
    assert module.encode() in data

    class Written:
        """A pickle module that writes ``data``, so that torch saves a checkpoint with these bytes."""

        class Pickler:
            def __init__(self, file, protocol=2):
                self.file = file

            def dump(self, obj):
                self.file.write(data)

        __name__ = 'written'
        loads = staticmethod(pickle.loads)

    torch.save({}, path, pickle_module=Written())
    loaded = load_checkpoint_file(str(path))
    assert loaded['value'] == 0.5
    assert loaded['list'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize(
    ('function', 'named'),
    [(os.mkdir, 'mkdir'), (eval, 'eval'), (getattr, 'getattr')],
)
def test_a_checkpoint_that_runs_code_is_refused_and_does_not_run(
    tmp_path, loading, function, named, zipped
):
    path, ran = tmp_path / 'evil.pth', tmp_path / 'ran'
    arguments = {
        os.mkdir: (str(ran),),
        eval: (f'__import__("os").mkdir({str(ran)!r})',),
        getattr: (HistoryBuffer, '__init__'),  # from there code gets to a module's globals
    }[function]
    torch.save(
        {'state_dict': OrderedDict(w=torch.ones(1)), 'meta': Payload(function, *arguments)},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(
        UserError, match=rf'evil\.pth is refused: it holds (\w+\.)*{named},'
    ) as info:
        CheckpointLoader.load_checkpoint(str(path), 'cpu')
    assert '\n' not in str(info.value)
    assert not ran.exists()
    # The payload works: it runs without restrictions.
    torch.load(path, **({'weights_only': False} if MODERN and loading == 'native' else {}))
    assert ran.exists() == (function is not getattr)


def test_a_torchscript_program_is_refused(tmp_path, loading):
    path = tmp_path / 'program.pth'
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    with pytest.raises(UserError, match=r'program\.pth'):
        load_checkpoint_file(str(path))


@pytest.mark.parametrize('zipped', [True, False])
def test_a_truncated_checkpoint_is_a_one_line_error(tmp_path, loading, zipped):
    whole, path = tmp_path / 'whole.pth', tmp_path / 'part.pth'
    torch.save({'w': torch.arange(5.0)}, whole, _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    for end in range(0, len(data) - 1, max(1, len(data) // 60)):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match=r'part\.pth') as info:
            load_checkpoint_file(str(path))
        assert '\n' not in str(info.value)


def test_no_flipped_bit_in_an_archive_changes_a_weight(tmp_path, loading):
    path = tmp_path / 'flipped.pth'
    weights = {'w': torch.arange(64.0), 'b': torch.ones(3)}
    torch.save({'state_dict': weights}, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint_file(str(path))
        except UserError:
            refused += 1
            continue
        # A bit of the space between the parts, or of a time of day.
        assert all(torch.equal(loaded['state_dict'][key], weights[key]) for key in weights)
    assert refused > 1000
    start = whole.index(np.arange(64, dtype=np.float32).tobytes())
    damaged = bytearray(whole)
    damaged[start + 7] ^= 0x40
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r'flipped\.pth is damaged: the checksum of \S+ is wrong'):
        load_checkpoint_file(str(path))


@pytest.mark.parametrize('zipped', [True, False])
def test_files_without_checksums_load(tmp_path, loading, zipped):
    path = tmp_path / 'old.pth'
    options = getattr(torch.serialization, 'set_crc32_options', None)
    if zipped and options is None:
        pytest.skip('this torch always writes checksums')
    if zipped:
        options(False)
    try:
        torch.save({'w': torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    finally:
        if zipped:
            options(True)
    assert load_checkpoint_file(str(path))['w'].tolist() == [1, 1]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_that_are_not_a_checkpoint_are_a_one_line_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('bytes') / 'noise.pth'
    path.write_bytes(data)
    with pytest.raises(UserError, match=r'noise\.pth') as info:
        load_checkpoint_file(str(path))
    assert '\n' not in str(info.value)


def test_a_missing_file_and_a_checkpoint_without_a_dict_are_different_errors(tmp_path):
    with pytest.raises(UserError, match=r'gone\.pth does not exist'):
        load_checkpoint_file(str(tmp_path / 'gone.pth'))
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(UserError, match=r'list\.pth holds a list'):
        load_checkpoint_file(str(tmp_path / 'list.pth'))


def test_mmengine_loads_local_files_and_downloads_safely(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    model = nn.Linear(2, 2)
    stored = tmp_path / 'checkpoints' / 'linear-0123abcd.pth'
    torch.save({'state_dict': model.state_dict(), 'message_hub': HistoryBuffer([1.0], [1])}, stored)
    for source in (str(stored), 'https://example.invalid/models/linear-0123abcd.pth'):
        other = nn.Linear(2, 2)
        load_checkpoint(other, source)
        assert torch.equal(other.weight, model.weight)

    ran = tmp_path / 'ran'
    torch.save({'state_dict': Payload(os.mkdir, str(ran))}, stored)
    for source in (str(stored), 'https://example.invalid/models/linear-0123abcd.pth'):
        with pytest.raises(UserError, match='refused'):
            load_checkpoint(nn.Linear(2, 2), source)
    assert not ran.exists()


def test_a_failed_download_is_an_error_that_names_the_address(tmp_path, monkeypatch):
    missing = Path(tmp_path, 'nowhere.pth').as_uri()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(UserError, match=r'cannot download .*nowhere\.pth'):
        checkpoints.load_url(missing, progress=False)


def test_a_download_is_cached(tmp_path):
    source, cache = tmp_path / 'source', tmp_path / 'cache'
    source.mkdir()
    torch.save({'w': torch.ones(2)}, source / 'a.pth')
    url = (source / 'a.pth').as_uri()
    assert checkpoints.load_url(url, str(cache), progress=False)['w'].tolist() == [1, 1]
    (source / 'a.pth').unlink()
    assert checkpoints.load_url(url, str(cache), progress=False)['w'].tolist() == [1, 1]
