"""All metrics with a goal, in groups that are measured together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks import commands, padding, passes
from benchmarks.engines import LOOP, Race
from benchmarks.goals import Metric
from benchmarks.real import is_there
from mindpad_mm.scan.engines import ENGINES
from mindpad_mm.testing.detectors import FAMILIES, Family

_FORWARD_GOAL, _TRAIN_GOAL = 1.05, 1.08
_TRAIN_BATCH = 4
_REAL = {'yolox_nano_coco': 'YOLOX-nano', 'ssd_mobilenet_v1_coco': 'COCO SSD-MobileNetV1'}
# Of scans of small detectors, as of a scan by default.
_STRIDE = 4


@dataclass(frozen=True)
class Effort:
    """Numbers of repeats.

    Attributes:
        race: Repeats of the engines.
        forward: Pairs of forward passes.
        train: Pairs of training steps.
        processes: Repeats of one process against several.
        device: Torch device of everything but the scan commands, which are measured on a CPU.
    """

    race: int = 7
    forward: int = 15
    train: int = 5
    processes: int = 3
    device: str = 'cpu'

    @property
    def on_cpu(self) -> bool:
        """Whether the device is a CPU."""
        return torch.device(self.device).type == 'cpu'

    @classmethod
    def least(cls, device: str = 'cpu') -> Effort:
        """One repeat of everything, to check that it runs."""
        return cls(1, 1, 1, 1, device)


def _ssd300(effort: Effort) -> list[Metric]:
    fast = [name for name in ('incremental', 'focused') if name in ENGINES.module_dict]
    race = Race('SSD300', fast, effort.race, loop=True, taught=True, device=effort.device)
    metrics = [
        race.speed_up('SSD300, 32x16 object: incremental / full', 'incremental', 'full', 9),
        race.speed_up(f'SSD300: incremental / {LOOP} one by one', 'incremental', LOOP, 12),
        race.of_macs('SSD300', 0.8),
    ]
    if 'focused' in fast:
        metrics += [
            race.speed_up('SSD300, 32x16 object: focused / full', 'focused', 'full', 25),
            race.score_difference('SSD300: focused, largest score difference', 'focused', 1e-3),
        ]
    return metrics


def _small(family: str, title: str, goal: float) -> Callable[[Effort], list[Metric]]:
    def measure(effort: Effort) -> list[Metric]:
        race = Race(family, ['incremental'], effort.race, stride=_STRIDE, device=effort.device)
        return [
            race.speed_up(f'{title}: incremental / full', 'incremental', 'full', goal),
            race.of_macs(title, 0.8),
        ]

    return measure


def _real(name: str, exact: float, focused: float) -> Callable[[Effort], list[Metric]]:
    title = _REAL[name]

    def measure(effort: Effort) -> list[Metric]:
        if not is_there(name):
            return []
        fast = ['incremental', 'focused']
        race = Race(name, fast, effort.race, stride=_STRIDE, device=effort.device)
        return [
            race.speed_up(f'{title}: incremental / full', 'incremental', 'full', exact),
            race.speed_up(f'{title}: focused / full', 'focused', 'full', focused),
            race.of_macs(title, 0.9),
            race.score_difference(f'{title}: largest score difference', 'incremental', 1e-4),
        ]

    return measure


def _retinanet(effort: Effort) -> list[Metric]:
    if effort.on_cpu:
        return []  # hours
    engines = ['incremental', 'focused']
    FAMILIES.setdefault('RetinaNet-R50', Family('retinanet/retinanet_r50_fpn_1x_coco.py', 800))
    race = Race('RetinaNet-R50', engines, effort.race, stride=_STRIDE, device=effort.device)
    title = 'RetinaNet-R50, 800 px'
    return [
        race.speed_up(f'{title}: incremental / full', 'incremental', 'full', 3),
        race.speed_up(f'{title}: focused / full', 'focused', 'full', 3),
        race.of_macs(title, 0.8),
        race.score_difference(f'{title}: largest score difference', 'incremental', 1e-4),
    ]


def _passes(effort: Effort) -> list[Metric]:
    return [
        metric
        for name, title in _REAL.items()
        if is_there(name)
        for metric in passes.measure(name, title, effort.race, effort.device)
    ]


def _padding(train: bool, layout: str) -> Callable[[Effort], list[Metric]]:
    def measure(effort: Effort) -> list[Metric]:
        settings = padding.Settings(
            train=train,
            layout=layout,
            batch=_TRAIN_BATCH if train else 1,
            repeats=effort.train if train else effort.forward,
            device=effort.device,
        )
        goal = _TRAIN_GOAL if train else _FORWARD_GOAL
        kind = f'training step ({layout})' if train else f'forward ({layout})'
        timings = {timing.name: timing for timing in padding.measure(settings)}
        return [
            Metric(f'SSD300 {kind}: {mode} / zeros', goal, False, timings[mode].ratios,
                   note=_note(mode, timings))
            for mode in padding.MODES
        ]  # fmt: skip

    return measure


def _note(mode: str, timings: dict[str, padding.Timing]) -> str:
    """The times of zeros and of other implementations of a mode."""
    parts = [f'zeros {timings["zeros"].seconds * 1e3:.0f} ms']
    other = timings.get('partial, by mask' if mode == 'partial' else f"torch's {mode}")
    if other is not None:
        remark = f' ({other.note})' if mode != 'partial' and other.note else ''
        parts.append(f'{other.name} {other.ratio:.3f}{remark}')
    return '; '.join(parts)


def _memory(effort: Effort) -> list[Metric]:
    if not effort.on_cpu:
        return []
    return [commands.memory(engine, goal=2.0) for engine in ('incremental', 'focused', 'auto')]


def _processes(effort: Effort) -> list[Metric]:
    if not effort.on_cpu:
        return []
    # More processes than cores should cost nothing, and cannot gain.
    goals = {count: 0.9 * min(count, os.cpu_count() or 1) for count in (2, 4)}
    return commands.processes('incremental', effort.processes, goals)


GROUPS: dict[str, Callable[[Effort], list[Metric]]] = {
    'ssd300': _ssd300,
    'ssdlite': _small('SSDLite', 'SSDLite-320', 4),
    'zoo': _small('zoo reflect', "the zoo's model", 5),
    'yolox': _real('yolox_nano_coco', 1.5, 5),
    'coco_ssd': _real('ssd_mobilenet_v1_coco', 2.6, 8),
    'retinanet': _retinanet,
    'passes': _passes,
    'forward': _padding(train=False, layout='channels_last'),
    'train': _padding(train=True, layout='nchw'),
    'memory': _memory,
    'processes': _processes,
}
"""Name of a group -> function that measures its metrics."""
