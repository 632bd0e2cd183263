"""Checkpoints: flipped bits, hostile pickles, odd contents. The oracle is the intact file."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fuzz.kinds.base import Kind
from fuzz.mutate import ODD, mutated_bytes, mutated_value
from fuzz.outcome import SILENT, Outcome, outcome_of
from mindpad_mm.core.detector import detector_classes
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.testing.small import CLASSES, write_small_ssd

_CANARY = Path('ran')


class _Hostile:
    """Pickled as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


class Checkpoints(Kind):
    """A detector's weights, from a file with one mutation."""

    title = 'checkpoints'
    weight = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        write_small_ssd(folder)
        self.config = load_config(str(folder / 'config.py'))
        self.file = folder / 'weights.pth'
        self.data = self.file.read_bytes()
        self.stored = torch.load(self.file, weights_only=True)
        self.weights = load_detector(self.config, str(self.file)).state_dict()

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        path = Path('weights.pth')
        how = rng.choice((_damaged, _hostile, _odd_weight, _odd_meta, _odd_content))
        name = how(self, path, rng)

        def use() -> nn.Module:
            model = load_detector(self.config, str(path))
            detector_classes(model)
            return model

        outcome = outcome_of(use, self._fault)
        if _CANARY.exists():
            outcome = Outcome(SILENT, 'code in the file was run')
        return f'{how.__name__.strip("_")}: {name}', outcome

    def _fault(self, model: nn.Module) -> str | None:
        for key, value in model.state_dict().items():
            wanted = self.weights[key]
            # Half precision keeps 11 bits.
            close = torch.allclose(value, wanted, rtol=1e-3, atol=1e-6)
            if value.shape != wanted.shape or not close:
                return f'the values of {key} are others'
        classes = tuple(model.dataset_meta['classes'])
        if len(classes) != len(CLASSES) or not all(isinstance(name, str) for name in classes):
            return f'classes {str(classes)[:80]}'
        return None


def _damaged(kind: Checkpoints, path: Path, rng: random.Random) -> str:
    name, data = mutated_bytes(kind.data, rng)
    path.write_bytes(data)
    return name


def _hostile(kind: Checkpoints, path: Path, rng: random.Random) -> str:
    """A pickle that calls something, plainly, in an archive of torch, or in the old format."""
    touch = f'open({str(_CANARY)!r}, "w")'
    zeros = np.zeros(3)
    name, call = rng.choice(
        (
            ('os.system', _Hostile(os.system, f'touch {_CANARY}')),
            ('eval', _Hostile(eval, touch)),
            ('exec', _Hostile(exec, touch)),
            ('open', _Hostile(open, str(_CANARY), 'w')),
            ('Path.touch', _Hostile(Path.touch, _CANARY)),
            ('getattr', _Hostile(getattr, 'text', 'upper')),
            ('import', _Hostile(__import__, 'antigravity')),
            ('torch.load', _Hostile(torch.load, 'other.pth')),
            ('numpy array of objects', np.array([_Hostile(os.system, f'touch {_CANARY}')], object)),
            ('numpy array', zeros),
            ('numpy dtype', np.dtype([('a', 'O')])),
            ('bytearray', bytearray(8)),
            ('recursion', _recursive()),
        )
    )
    content: Any = {'state_dict': kind.stored['state_dict'], 'meta': {'x': call}}
    place = rng.choice(('meta', 'whole', 'weight'))
    if place == 'whole':
        content = call
    elif place == 'weight':
        content = {'state_dict': OrderedDict(kind.stored['state_dict'], extra=call)}
    form = rng.choice(('zip', 'old', 'pickle'))
    if form == 'pickle':
        try:
            path.write_bytes(pickle.dumps(content, rng.choice((0, 2, 4))))
        except (RuntimeError, pickle.PicklingError, TypeError):
            torch.save(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == 'zip')
    if rng.random() < 0.3:
        _edit_pickle(path, rng)
    return f'{name} in {place}, {form}'


def _recursive() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content['self'] = content
    return content


def _edit_pickle(path: Path, rng: random.Random) -> None:
    """Change bytes of the pickle itself; in an archive, with the right checksum."""
    if not zipfile.is_zipfile(path):
        path.write_bytes(mutated_bytes(path.read_bytes(), rng)[1])
        return
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            if name.endswith('data.pkl'):
                data = mutated_bytes(data, rng)[1]
            archive.writestr(name, data)


def _odd_weight(kind: Checkpoints, path: Path, rng: random.Random) -> str:
    """One weight, or all, that cannot be right or is stored otherwise."""
    weights = OrderedDict(kind.stored['state_dict'])
    # In a prediction, nothing depends on num_batches_tracked.
    key = rng.choice([key for key in weights if not key.endswith('num_batches_tracked')])
    value: Tensor = weights[key]
    changes: dict[str, Any] = {
        'nan': torch.full_like(value, float('nan'), dtype=torch.float32),
        'one inf': _with_first(value, float('inf')),
        'negative': -value.float().abs() - 1,
        'huge': _with_first(value, 6.5e4).half() if value.is_floating_point() else value + 2**40,
        'int': value.to(torch.int32),
        'bool': value.bool(),
        'complex': value.to(torch.complex64),
        'empty': value[..., :0] if value.ndim else torch.zeros(0),
        'other shape': value.reshape(-1)[:1].expand(3).clone(),
        'sparse': value.to_sparse() if value.ndim else value,
        'meta': value.to('meta'),
        'half': value.half() if value.is_floating_point() else value,
        'numpy': value.numpy(),
        'list': value.tolist(),
        'none': None,
        'text': 'x',
        'parameter': nn.Parameter(value.clone(), requires_grad=value.is_floating_point()),
        'quantised': torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
    }
    if not key.endswith('running_var'):
        del changes['negative']
    else:
        del changes['huge']  # a variance can be so large
    how = rng.choice((*changes, 'missing', 'extra', 'prefix', 'renamed'))
    if how in changes:
        weights[key] = changes[how]
    elif how == 'missing':
        del weights[key]
    elif how == 'extra':
        weights['something.weight'] = value
    elif how == 'prefix':
        weights = OrderedDict((f'module.{name}', each) for name, each in weights.items())
    else:
        weights[rng.choice(('', 'a.b', '\udcff', 7))] = weights.pop(key)
    torch.save({'state_dict': weights, 'meta': {}}, path)
    return f'{key} {how}'


def _with_first(value: Tensor, number: float) -> Tensor:
    changed = value.float().clone()
    changed.view(-1)[:1] = number
    return changed


def _odd_meta(kind: Checkpoints, path: Path, rng: random.Random) -> str:
    meta: Any = {
        'epoch': 3,
        'dataset_meta': {'classes': CLASSES, 'palette': [(1, 2, 3), (4, 5, 6)]},
        'CLASSES': list(CLASSES),
        'cfg': 'model = 1',
        'mmengine_version': '0.10.7',
    }
    name, meta = mutated_value(meta, rng)
    if rng.random() < 0.15:
        meta, name = rng.choice(ODD), 'whole meta'
    torch.save({'state_dict': kind.stored['state_dict'], 'meta': meta}, path)
    return name


def _odd_content(kind: Checkpoints, path: Path, rng: random.Random) -> str:
    weights = kind.stored['state_dict']
    contents: dict[str, Any] = {
        'weights alone': weights,
        'a tensor': torch.zeros(3),
        'a list': [weights],
        'nested': {'state_dict': {'state_dict': weights}},
        'other key': {'model': weights},
        'empty': {},
        'none': None,
        'no weights': {'state_dict': {}, 'meta': {}},
        'text': 'x',
        'ema': {'state_dict': weights, 'ema_state_dict': {}, 'optimizer': {'state': {0: {}}}},
        'state_dict none': {'state_dict': None, 'meta': None},
        'state_dict list': {'state_dict': list(weights.items())},
    }
    name = rng.choice(list(contents))
    torch.save(contents[name], path)
    return name
