"""Loads MMDetection's checkpoints without running code from them."""

from __future__ import annotations

import functools
import lzma
import math
import os
import os.path as osp
import pickle
import re
import struct
import types
import zipfile
import zlib
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch

from mindpad_mm.core.errors import UserError, one_line


def checkpoint_loading() -> bool:
    """Make mmengine load all checkpoints by :func:`load_checkpoint_file`.

    torch >= 2.6 loads only weights, so it refuses the ``HistoryBuffer`` and numpy values in every
    checkpoint of a Runner. Older torch, and mmengine's downloads with any torch, run any code that a
    checkpoint contains. This covers local files and downloads (``http://``, ``torchvision://``,
    ``open-mmlab://``, ``mmcls://``). It is always applied: all mmengine releases have the fault.

    Upstream: open-mmlab/mmengine#1650, open-mmlab/mmengine#1655.
    """
    from mmengine.runner import CheckpointLoader, checkpoint

    if _torch_loads_weights_only():
        torch.serialization.add_safe_globals(
            [(value, name) for name, value in _runner_globals().items()]
        )
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    # mmengine's loaders for all remote schemes call this function.
    checkpoint.load_url = load_url
    return True


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Loads local files for mmengine, which logs the name of this function."""
    return load_checkpoint_file(filename, map_location)


def load_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> dict:
    """Download a checkpoint, unless it is in the cache, and load it by :func:`load_checkpoint_file`.

    Args:
        url: Address of the checkpoint.
        model_dir: Folder of the download. Default: ``<torch.hub.get_dir()>/checkpoints``.
        map_location: As in ``torch.load``.
        progress: Whether to show a progress bar. Default: True.

    Raises:
        UserError: It cannot be downloaded or loaded.
    """
    model_dir = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(model_dir, exist_ok=True)
    path = osp.join(model_dir, osp.basename(urlparse(url).path))
    if not osp.exists(path):
        try:
            torch.hub.download_url_to_file(url, path, progress=progress)
        except OSError as error:
            raise UserError(f'cannot download {url} ({one_line(error)})') from error
    return load_checkpoint_file(path, map_location)


def load_checkpoint_file(filename: str, map_location: Any = None) -> dict:
    """Load a torch checkpoint without running code from it.

    Args:
        filename: A local path, ``~`` allowed.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint: the dict that a Runner saves, or a state dict.

    Raises:
        UserError: The file does not exist, is truncated, damaged or not a checkpoint, or it contains an
            object that is neither a tensor nor written by a Runner, and could run code when loaded.
            Damage is found by the checksums of the zip archive, which torch itself does not check; files
            from before torch 1.6 have none.
    """
    path = osp.expanduser(filename)
    if not osp.isfile(path):
        raise UserError(f'checkpoint {filename} does not exist')
    _check_archive(path, filename)
    try:
        if _torch_loads_weights_only():
            loaded = torch.load(path, map_location=map_location, weights_only=True)
        else:
            loaded = _restricted_torch_load(path, map_location)
    except _UNREADABLE as error:
        refused = re.search(r'GLOBAL `?([\w.]+)', str(error))
        if refused:
            raise UserError(
                f'checkpoint {filename} is refused: it holds {refused.group(1)}, which is not '
                'a weight and could run any code; if you trust its origin, save only its state_dict'
            ) from None
        # torch's text for an UnpicklingError is a page of advice to load it unsafely.
        unpickling = isinstance(error, pickle.UnpicklingError)
        reason = 'UnpicklingError' if unpickling else one_line(error)
        raise UserError(
            f'checkpoint {filename} cannot be read; it may be truncated or not a torch checkpoint '
            f'({reason})'
        ) from error
    if not isinstance(loaded, dict):
        raise UserError(
            f'checkpoint {filename} holds a {type(loaded).__name__}, not a dict of weights'
        )
    return loaded


def _check_archive(path: str, filename: str) -> None:
    """Check the checksum of every part of a checkpoint that is a zip archive.

    Raises:
        UserError: The archive is damaged.
    """
    with open(path, 'rb') as file:
        if file.read(4) != b'PK\x03\x04':
            return
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.serialization.set_crc32_options(False) writes 0 for all.
            checked = any(entry.CRC for entry in archive.infolist())
            part = archive.testzip() if checked else None
    except _NOT_AN_ARCHIVE as error:
        raise UserError(
            f'checkpoint {filename} cannot be read; it may be truncated or damaged '
            f'({one_line(error)})'
        ) from error
    if part is not None:
        raise UserError(
            f'checkpoint {filename} is damaged: the checksum of {part} is wrong; fetch it again'
        )


# What zipfile raises for an archive that is not whole.
_NOT_AN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
# What torch and pickle raise for a file that is not a checkpoint.
_UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    AssertionError,
    MemoryError,
    OSError,
)


def _torch_loads_weights_only() -> bool:
    # Before torch 2.6, weights_only was unsafe (CVE-2025-32434) and does not accept HistoryBuffer.
    return tuple(int(part) for part in torch.__version__.split('.')[:2]) >= (2, 6)


@functools.cache
def _runner_globals() -> dict[str, Any]:
    """The objects besides weights that a Runner's checkpoint needs, by their name in the file."""
    from mmengine.logging import HistoryBuffer

    def statistic(owner: Any, name: str) -> Any:
        # A HistoryBuffer saves its statistics as getattr(HistoryBuffer, 'mean'). The real getattr could
        # get from any of these objects to any code.
        if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
            raise pickle.UnpicklingError(f'GLOBAL builtins.getattr is not allowed to read {name}')
        return getattr(owner, name)

    allowed: dict[str, Any] = {
        'builtins.getattr': statistic,
        '__builtin__.getattr': statistic,
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'numpy.ndarray': StoredArray,
        'numpy.dtype': StoredType,
        '_codecs.encode': _latin1,
        # Old pickles call it for the content of an empty array.
        'builtins.bytes': _no_bytes,
        '__builtin__.bytes': _no_bytes,
    }
    multiarray = np.zeros(0).__reduce__()[0].__module__  # numpy.core.multiarray, or numpy._core...
    for module in {multiarray, 'numpy.core.multiarray', 'numpy._core.multiarray'}:
        allowed.update({f'{module}._reconstruct': _empty_array, f'{module}.scalar': _scalar})
    return allowed


class StoredType:
    """A numpy type as a checkpoint names it.

    It stands for ``numpy.dtype``, whose own ``__setstate__`` believes flags in the file: with forged
    ones, numpy takes numbers in the file for pointers.

    Args:
        code: Such as ``'f8'``: numbers and booleans only.
    """

    def __init__(self, code: Any = 'f8', align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or code not in _TYPE_CODES:
            raise pickle.UnpicklingError(f'a numpy type of code {str(code)[:20]!r} is not allowed')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, and what only types with parts, sizes or pointers have)
        plain = isinstance(state, tuple) and len(state) >= 8 and state[2:8] == _PLAIN
        if not plain or any(state[8:]) or state[1] not in ('<', '>', '|', '='):
            raise pickle.UnpicklingError('a numpy type with parts or pointers is not allowed')
        self.dtype = self.dtype.newbyteorder(state[1])


class StoredArray(np.ndarray):
    """A numpy array that a checkpoint holds; saved again, it is a plain array."""

    def __new__(cls, *args: Any) -> StoredArray:
        return super().__new__(cls, (0,))

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError('the state of a numpy array is none')
        _, shape, kind, fortran, content = state
        sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not sizes or not isinstance(kind, StoredType) or not isinstance(content, bytes):
            raise pickle.UnpicklingError('the state of a numpy array is none')
        if math.prod(shape) * kind.dtype.itemsize != len(content):
            raise pickle.UnpicklingError('a numpy array is shorter or longer than its shape')
        super().__setstate__((1, shape, kind.dtype, bool(fortran), content))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.array(self, subok=False).__reduce_ex__(protocol)


def _empty_array(*args: Any) -> StoredArray:
    """Stands for numpy's ``_reconstruct``; the state comes afterwards."""
    return StoredArray()


def _scalar(kind: Any, content: Any = None) -> Any:
    """Stands for numpy's ``scalar``."""
    if not isinstance(kind, StoredType) or not isinstance(content, bytes):
        raise pickle.UnpicklingError('a numpy number is none')
    if len(content) != kind.dtype.itemsize:
        raise pickle.UnpicklingError('a numpy number has the wrong length')
    return np.frombuffer(content, kind.dtype)[0]


def _no_bytes() -> bytes:
    return b''


def _latin1(text: Any, encoding: Any = None) -> bytes:
    """Stands for ``_codecs.encode``, by which old pickles store bytes; other codecs are modules."""
    if not isinstance(text, str) or encoding != 'latin1':
        raise pickle.UnpicklingError('GLOBAL _codecs.encode is not allowed to use a codec')
    return text.encode('latin1')


# Codes of bool, whole, real and complex numbers, in both spellings.
_TYPE_CODES = frozenset(
    code for letter in '?bhilqBHILQefdFD' for code in (letter, np.dtype(letter).str[1:])
)
_PLAIN = (None, None, None, -1, -1, 0)


def _restricted_torch_load(path: str, map_location: Any) -> Any:
    """``torch.load`` for torch < 2.6 that accepts only weights and :func:`_runner_globals`."""
    from torch import serialization
    from torch._weights_only_unpickler import _get_allowed_globals

    allowed = {**_get_allowed_globals(), **_runner_globals()}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if f'{module}.{name}' not in allowed:
                raise pickle.UnpicklingError(f'GLOBAL {module}.{name} is not allowed')
            return allowed[f'{module}.{name}']

    restricted = types.ModuleType('restricted_pickle')
    restricted.Unpickler = Unpickler
    restricted.load = lambda file, **kwargs: Unpickler(file, **kwargs).load()
    with open(path, 'rb') as file:
        if serialization._is_zipfile(file):
            with serialization._open_zipfile_reader(path) as archive:
                # torch.load would pass it to torch.jit.load, which loads programs.
                if serialization._is_torchscript_zip(archive):
                    raise pickle.UnpicklingError('it is a TorchScript program, not weights')
    return torch.load(path, map_location=map_location, pickle_module=restricted)
