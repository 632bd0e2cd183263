"""Time a detector in each padding mode against zeros, alternately in one process."""

from __future__ import annotations

import copy
import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from rich.table import Table
from torch import Tensor, nn
from torch.nn.modules.utils import _reverse_repeat_tuple

from benchmarks.timing import CLOCKS, clock_of
from mindpad_mm import swap_padding

MODES = 'reflect', 'symmetric', 'replicate', 'circular', 'partial'
TORCH_MODES = 'reflect', 'replicate', 'circular'
LAYOUTS = {'channels_last': torch.channels_last, 'nchw': torch.contiguous_format}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
        config: A config of MMDetection, without ``.py``.
        size: Side of the input, pixels.
        batch: Batch size.
        layout: Memory format of weights and input, a key of :data:`LAYOUTS`.
        train: Time a training step (forward, backward, SGD) instead of a forward pass.
        repeats: Number of pairs of runs to time.
        others: Also time torch's own padding modes and :class:`MaskPartialConv`.
        device: Torch device.
    """

    config: str = 'ssd/ssd300_coco'
    size: int = 300
    batch: int = 1
    layout: str = 'channels_last'
    train: bool = False
    repeats: int = 15
    others: bool = True
    device: str = 'cpu'


@dataclasses.dataclass(frozen=True)
class Timing:
    """Timings of one padding variant.

    Attributes:
        name: Name of the variant.
        seconds: Median time of one run, CPU time on a CPU, else wall time.
        ratio: Median over the pairs of the time relative to zeros; None for zeros itself.
        quartiles: Quartiles of these ratios.
        ratios: All ratios, in the order they were measured.
        note: Limitation of the variant, for example layers that it leaves at zeros.
    """

    name: str
    seconds: float
    ratio: float | None = None
    quartiles: tuple[float, float] | None = None
    ratios: tuple[float, ...] = ()
    note: str = ''


class MaskPartialConv(nn.Conv2d):
    """The usual partial convolution: convolving a mask with ones counts the cells inside the map."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if not any(self.padding):
            return y
        with torch.no_grad():
            window = self.stride, self.padding, self.dilation
            mask = x.new_ones(1, 1, *x.shape[-2:])
            counts = F.conv2d(mask, x.new_ones(1, 1, *self.kernel_size), None, *window)
            ratio = self.kernel_size[0] * self.kernel_size[1] / counts.clamp(min=1)
        if self.bias is None:
            return y * ratio
        bias = self.bias.view(-1, 1, 1)
        return (y - bias) * ratio + bias


def _with_mask_convolutions(model: nn.Module, x: Tensor) -> str:
    for layer in model.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = MaskPartialConv
    return 'mask convolution'


def _with_torch_mode(mode: str) -> Callable[[nn.Module, Tensor], str]:
    def apply(model: nn.Module, x: Tensor) -> str:
        """Set ``padding_mode`` on every convolution whose input is large enough for torch."""
        refused: list[nn.Module] = []

        def check(layer: nn.Conv2d, inputs: tuple[Tensor]) -> None:
            smallest = 1 if mode == 'reflect' else 0
            sizes = inputs[0].shape[-2:]
            if any(pad + smallest > size for pad, size in zip(layer.padding, sizes)):
                refused.append(layer)

        convs = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        hooks = [layer.register_forward_pre_hook(check) for layer in convs]
        with torch.no_grad():
            model._forward(x)
        for hook in hooks:
            hook.remove()
        for layer in convs:
            if any(layer.padding) and layer not in refused:
                layer.padding_mode = mode
                layer._reversed_padding_repeated_twice = _reverse_repeat_tuple(layer.padding, 2)
        return f'{len(refused)} layers left at zeros, which torch refuses' if refused else ''

    return apply


def _with_mode(mode: str) -> Callable[[nn.Module, Tensor], str]:
    def apply(model: nn.Module, x: Tensor) -> str:
        swap_padding(model, mode)
        return ''

    return apply


def _stock(settings: Settings) -> nn.Module:
    init_default_scope('mmdet')
    config = get_config(f'mmdet::{settings.config}.py').model
    if 'backbone' in config:
        config.backbone.init_cfg = dict(type='Kaiming', layer='Conv2d')
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    model.to(memory_format=LAYOUTS[settings.layout])
    return model.to(settings.device).train(settings.train)


def _flat(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    else:
        for output in outputs:
            yield from _flat(output)


def _step(model: nn.Module, x: Tensor, train: bool) -> Callable[[], None]:
    if not train:

        def forward() -> None:
            with torch.no_grad():
                model._forward(x)

        return forward
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        sum(output.square().mean() for output in _flat(model._forward(x))).backward()
        optimizer.step()

    return step


def _seconds(run: Callable[[], None], now: Callable[[], float]) -> float:
    start = now()
    run()
    return now() - start


def measure(settings: Settings, modes: Sequence[str] = MODES) -> list[Timing]:
    """Time every padding variant against zeros.

    Each run of a variant follows a run of zeros, and the variants run in turn, so that other load
    on the machine affects all of them equally. CPU time does not include waiting for a processor.

    Args:
        settings: What to time.
        modes: Padding modes of this package.

    Returns:
        The timings, zeros first.
    """
    x = torch.rand(settings.batch, 3, settings.size, settings.size)
    x = x.to(settings.device, memory_format=LAYOUTS[settings.layout])
    stock = _stock(settings)
    changes = {mode: _with_mode(mode) for mode in modes}
    if settings.others:
        changes['partial, by mask'] = _with_mask_convolutions
        changes.update({f"torch's {mode}": _with_torch_mode(mode) for mode in TORCH_MODES})
    notes, runs = {}, {}
    for name, change in changes.items():
        model = copy.deepcopy(stock)
        notes[name] = change(model, x)
        runs[name] = _step(model, x, settings.train)
    zeros = _step(stock, x, settings.train)
    for run in (zeros, *runs.values()):
        run()
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    now = CLOCKS[clock_of(settings.device)]
    for _ in range(settings.repeats):
        for name, run in runs.items():
            pairs[name].append((_seconds(zeros, now), _seconds(run, now)))
    base = statistics.median(zero for timed in pairs.values() for zero, _ in timed)
    timings = [Timing('zeros', base)]
    for name, timed in pairs.items():
        ratios = [own / zero for zero, own in timed]
        quartiles = tuple(torch.tensor(ratios).quantile(torch.tensor([0.25, 0.75])).tolist())
        seconds = statistics.median(own for _, own in timed)
        middle = statistics.median(ratios)
        timings.append(Timing(name, seconds, middle, quartiles, tuple(ratios), notes[name]))
    return timings


def table(settings: Settings, timings: Sequence[Timing]) -> Table:
    """A table of the timings for the terminal."""
    kind = 'training step' if settings.train else 'forward pass'
    size = f'{settings.batch}x3x{settings.size}x{settings.size}'
    made = Table(title=f'{settings.config}, {kind}, {size}, {settings.layout}')
    made.add_column('padding')
    for heading in ('CPU ms', '/ zeros', 'quartiles'):
        made.add_column(heading, justify='right')
    made.add_column('')
    for timing in timings:
        ratio, quartiles = '', ''
        if timing.ratio is not None:
            ratio = f'{timing.ratio:.3f}'
            quartiles = '{:.3f} - {:.3f}'.format(*timing.quartiles)
        made.add_row(timing.name, f'{timing.seconds * 1e3:.1f}', ratio, quartiles, timing.note)
    return made
