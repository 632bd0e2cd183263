"""Which torch operations pad, read from their arguments; and which of a scripted module's do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

_WIDTHS = ('padding', 'pad', 'pad_h', 'pad_w', 'pad_d')
_OTHERWISE = ('transpose', 'unpool', 'col2im', 'backward')
"""Parts of the names of operations whose ``padding`` crops their output."""

UNKNOWN = object()
"""An argument whose value is known only when the operation runs."""


def pads(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a call of an operation adds cells around its input.

    Args:
        name: Name of the operation, e.g. ``'aten::conv2d'``.
        arguments: Its arguments by the names in its schema; a value may be :data:`UNKNOWN`.
    """
    if arguments.get('transposed') is True or any(part in name for part in _OTHERWISE):
        return False
    if name == 'aten::cat':
        return _lengthens(arguments['tensors'], arguments.get('dim', 0))
    if name == 'aten::copy_':
        return _fills_a_part(arguments['self'], arguments['src'])
    return any(_is_positive(arguments.get(width)) for width in _WIDTHS)


def _lengthens(tensors: Any, axis: Any) -> bool:
    """Whether feature maps (N, C, H, W) get longer by parts of other lengths, as padding by hand does."""
    maps = all(isinstance(each, torch.Tensor) and each.ndim == 4 for each in tensors)
    return maps and axis % 4 >= 2 and len({each.shape[axis] for each in tensors}) > 1


def _fills_a_part(target: Any, source: Any) -> bool:
    """Whether a feature map (N, C, H, W) is written into a longer one, which leaves a border."""
    if not all(isinstance(each, torch.Tensor) and each.ndim == 4 for each in (target, source)):
        return False
    if target.shape != source.shape or target.numel() == 0:
        return False
    # A slice keeps the strides of the map that it is a part of: they tell that map's size.
    images, channels, rows, cols = target.stride()
    if 1 not in (channels, cols):
        return False  # every second cell, as upsampling by zeros does
    over_rows = min((each for each in (images, channels) if each >= rows), default=0)
    return over_rows > rows * target.shape[2] or rows > cols * target.shape[3]


def _is_positive(width: Any) -> bool:
    if isinstance(width, str):
        return width != 'valid'
    if isinstance(width, (list, tuple)):
        return any(_is_positive(each) for each in width)
    return width is UNKNOWN or (isinstance(width, (int, torch.SymInt)) and bool(width > 0))


def scripted_pads(module: torch.jit.ScriptModule) -> int:
    """The number of operations that pad in a scripted or traced module and its children."""
    graph = getattr(module, 'inlined_graph', None)
    return 0 if graph is None else sum(_node_pads(node) for node in _nodes(graph))


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _node_pads(node: Any) -> bool:
    if node.schema() == '(no schema)':
        return False
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    return pads(node.kind(), dict(zip(names, map(_constant, node.inputs()))))


def _constant(value: Any) -> Any:
    node = value.node()
    if node.kind() == 'prim::ListConstruct':
        return [_constant(item) for item in node.inputs()]
    return value.toIValue() if node.kind() == 'prim::Constant' else UNKNOWN
