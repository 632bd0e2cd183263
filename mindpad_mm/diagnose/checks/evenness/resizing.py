"""Advice on how to change the input size in a config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from mindpad_mm.diagnose.tracing import ShapeRunner


def resizing_advice(
    model: nn.Module, runner: ShapeRunner, old: tuple[int, int], new: tuple[int, int]
) -> str:
    """What to change in the config for inputs of ``new`` (height, width) pixels instead of ``old``."""
    height, width = new
    cfg = getattr(model, 'cfg', None)
    if cfg is None:
        return f'For that, resize and crop the images to {height} x {width}.'
    steps = list(_resizes(cfg.to_dict()))
    names = ' and '.join(sorted({step['type'] for step in steps})) or 'Resize'
    now = ', '.join(sorted({str(tuple(s['scale'])) for s in steps if s.get('scale')}))
    text = f'For {height} x {width}, give {names} scale=({width}, {height}) in every pipeline'
    text += f' (width first; now {now})' if now else ' (width first)'
    if any(step.get('keep_ratio') for step in steps):
        text += (
            ' and keep_ratio=False, or add '
            f"dict(type='Pad', size=({width}, {height})) after it: otherwise sizes differ between photos"
        )
    sentences = [
        f'{text}; overriding a variable of a base config does not change the pipelines there.'
    ]
    preprocessor = cfg.model.get('data_preprocessor') or {}
    divisor = preprocessor.get('pad_size_divisor', 1)
    if divisor > 1 and (height % divisor or width % divisor):
        sentences.append(
            f'Set model.data_preprocessor.pad_size_divisor=1 (now {divisor}, which would add padding).'
        )
    seen = tuple(-(-side // divisor) * divisor for side in old)
    if seen != old:
        sentences.append(
            f'Now images of {old[0]} x {old[1]} are padded to {seen[0]} x {seen[1]}: diagnose the '
            'network at that input size.'
        )
    return ' '.join([*sentences, *_anchors(cfg, runner, old, new)])


def _resizes(node: Any) -> Iterator[dict[str, Any]]:
    """All resize steps of the config's pipelines."""
    if isinstance(node, dict):
        if 'Resize' in str(node.get('type')) and 'scale' in node:
            yield node
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for item in node:
        yield from _resizes(item)


def _anchors(
    cfg: Any, runner: ShapeRunner, old: tuple[int, int], new: tuple[int, int]
) -> Iterator[str]:
    """What to change in the anchor generators."""
    heads = (cfg.model.get('bbox_head'), cfg.model.get('rpn_head'))
    generators = [head.get('anchor_generator') for head in heads if isinstance(head, dict)]
    for anchors in filter(None, generators):
        if anchors.get('type') != 'SSDAnchorGenerator':
            yield f'{anchors.get("type")} depends on the strides, which do not change.'
            continue
        strides = _new_strides(anchors['strides'], runner, old, new)
        if strides != list(anchors['strides']):
            yield f'Set anchor_generator.strides={strides}.'
        if anchors.get('min_sizes') is None:
            yield (
                f'Keep anchor_generator.input_size={anchors.get("input_size", 300)}: it selects a set of '
                'anchor sizes, and SSDAnchorGenerator has sets only for 300 and 512 (or set min_sizes '
                'and max_sizes).'
            )


def _new_strides(
    strides: list[int], runner: ShapeRunner, old: tuple[int, int], new: tuple[int, int]
) -> list[int]:
    """The anchor strides at the new size; those equal to input size / map size change with it."""
    before, after = (runner.run(size).outputs[: len(strides)] for size in (old, new))
    result = []
    for stride, level, resized in zip(strides, before, after):
        is_ratio = isinstance(stride, int) and stride == round(old[0] / level.size[0])
        if is_ratio and stride != level.stride[0]:
            stride = round(new[0] / resized.size[0])
        result.append(stride)
    return result
