"""Forged numpy objects in a checkpoint are refused; those of a Runner come back as they were."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mindpad_mm.compat import checkpoints
from mindpad_mm.core.errors import UserError

RECONSTRUCT, SCALAR = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
PLAIN = (3, '<', None, None, None, -1, -1, 0)


class Forged:
    """Is pickled as a call with arguments, and a state."""

    def __init__(self, function, arguments, state=None):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def array(dtype, shape=(4,), content=b'\x10' * 32, fortran=False, version=1):
    state = (version, shape, dtype, fortran, content)
    return Forged(RECONSTRUCT, (np.ndarray, (0,), b'b'), state)


def kind(code='f8', state=PLAIN):
    return Forged(np.dtype, (code, False, True), state)


FLAGS = [
    kind(state=(*PLAIN[:7], flags)) for flags in (1, 2, 4, 8, 16, 27, 32, 63, 64, 127, -1, 2**31)
]
FORGED = [
    *FLAGS,
    *(array(each) for each in FLAGS),
    *(Forged(SCALAR, (each, b'\x10' * 8)) for each in FLAGS),
    kind(state=(4, *PLAIN[1:7], 63, {})),
    kind(state=(3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 1, 63)),
    kind(state=(3, '|', (np.dtype('f4'), (2,)), None, None, -1, -1, 0)),
    kind(state=(3, '<', None, None, None, 10**6, 1, 0)),
    kind(state=(3, 'x', *PLAIN[2:])), kind(state=(3, '<')), kind(state='text'), kind(state=[1]),
    kind('O'), kind('V8'), kind('S8'), kind('U2'), kind('M8[s]'), kind('f8,O'), kind('(2,)f8'),
    array(kind('O'), content=[object]), array(kind(), shape=(10**12,)), array(kind(), shape=(-4,)),
    array(kind(), shape=(3,)), array(kind(), shape=4), array(kind(), content='x' * 32),
    array(5), array(None), array('f8'), Forged(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, 2)),
    Forged(SCALAR, (kind(), b'')), Forged(SCALAR, (kind(), b'\x10' * 9)),
    Forged(SCALAR, ('f8', b'\x10' * 8)),
    Forged(SCALAR, (kind('O'), b'\x10' * 8)),
]  # fmt: skip
LOADERS = {
    'as this torch does': checkpoints.load_checkpoint_file,
    'as torch before 2.6 does': lambda path: checkpoints._restricted_torch_load(path, 'cpu'),
}


@pytest.mark.parametrize('loader', LOADERS)
@pytest.mark.parametrize('number', range(len(FORGED)))
def test_a_forged_numpy_object_is_refused(tmp_path, loader, number):
    path = tmp_path / 'weights.pth'
    torch.save({'a': FORGED[number], 'state_dict': {}}, path)
    with pytest.raises((UserError, pickle.UnpicklingError)):
        LOADERS[loader](str(path))


HONEST = [
    np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 3)),
    np.array(5.0), np.arange(3, dtype='>i4'), np.array([True, False]), np.array([1 + 2j]),
    np.float32(1.5), np.float64(-2), np.int64(7), np.bool_(True), np.uint8(3), np.array([np.nan, np.inf]),
]  # fmt: skip


@pytest.mark.parametrize('loader', LOADERS)
@pytest.mark.parametrize('value', HONEST, ids=repr)
def test_arrays_and_numbers_come_back_and_are_saved_again_as_plain_ones(tmp_path, loader, value):
    path = str(tmp_path / 'weights.pth')
    torch.save({'a': value}, path)
    found = LOADERS[loader](path)['a']
    assert (found.dtype.newbyteorder('='), found.shape) == (
        value.dtype.newbyteorder('='),
        value.shape,
    )
    np.testing.assert_array_equal(found, value)
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(value)
    np.testing.assert_array_equal(again, value)
