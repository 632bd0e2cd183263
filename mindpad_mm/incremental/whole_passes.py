"""Whole forward passes with the post-processing of whole batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mindpad_mm.incremental.geometry import Span
from mindpad_mm.incremental.graph import OperationGraph
from mindpad_mm.incremental.levels import as_lazy_levels
from mindpad_mm.incremental.postprocess import ScoreFloor, fast_postprocess
from mindpad_mm.incremental.windowed import WindowedTensor


@contextlib.contextmanager
def faster_whole_passes(
    model: nn.Module, score_floor: ScoreFloor = lambda image, detections: 0.0
) -> Iterator[None]:
    """While active, one batch's post-processing gives the same detections in less time.

    The network runs as it is.

    Args:
        model: A detector. Two-stage detectors, and heads with post-processing of their own, are not
            changed.
        score_floor: From the index of an image in the batch and its detections to a score in 0..1.
            Detections below it may be missing, see :func:`fast_postprocess`. Default: none is.
    """
    head = getattr(model, 'bbox_head', None)
    if not isinstance(head, nn.Module):
        yield
        return
    hook = head.register_forward_hook(
        lambda module, args, output: as_lazy_levels(_windowed(output))
    )
    try:
        with fast_postprocess(model, score_floor):
            yield
    finally:
        hook.remove()


def _windowed(outputs: Any) -> Any:
    """Head outputs as windows that cover their maps, so that the clean maps do not matter."""
    graph = OperationGraph()

    def window(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() != 4:
            return value
        rows, cols = (Span.all_dirty(len(value), size) for size in value.shape[-2:])
        return WindowedTensor(value[:1], value, rows, cols, graph)

    return tree_map(window, outputs)
