"""Convolution of differences: the change of each dirty cell is added to the clean results that read it.

Convolving a window also reads the clean cells around the dirty region, by one kernel extent less one.
With a large dilation most of the cells read are clean; their difference is zero and need not be
convolved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.incremental.geometry import ReceptiveField, Span


@dataclass(frozen=True)
class Taps:
    """The input cell that each tap of a kernel reads for each result, along one axis.

    Attributes:
        cells: (K, B, n) int, cell of the input's window. Meaningless where ``dirty`` is False.
        dirty: (K, B, n) bool, whether the cell is dirty.
    """

    cells: np.ndarray
    dirty: np.ndarray

    @classmethod
    def of(cls, field: ReceptiveField, inputs: Span, results: Span) -> Taps:
        """The taps of the results in the windows of ``results``."""
        first, _ = field.positions(results)
        position = first[:, None] + np.arange(results.length) * field.window.stride
        taps = np.arange(field.window.kernel) * field.window.dilation
        position = position + taps[:, None, None]
        cells = field.source.cells[position]
        dirty = (cells >= inputs.low[:, None]) & (cells < inputs.high[:, None])
        return cls(cells - inputs.start[:, None], dirty)


def count_pairs(rows: Taps, cols: Taps) -> int:
    """The number of (result, tap) pairs that read a dirty cell, over the whole batch."""
    return int((rows.dirty.sum((0, 2)) * cols.dirty.sum((0, 2))).sum())


def add_convolved(y: Tensor, difference: Tensor, weight: Tensor, rows: Taps, cols: Taps) -> None:
    """Add the convolution of a difference to clean results, in place.

    Args:
        y: (B, n_rows, n_cols, C_out), contiguous; the clean results in their windows.
        difference: (B, h, w, C_in), contiguous; dirty minus clean inputs, in the inputs' windows.
        weight: (C_out, C_in, k, k), of a convolution without groups.
        rows, cols: The taps of the results along each axis.
    """
    _, height, width, channels = difference.shape
    difference = difference.view(-1, channels)
    y = y.view(-1, y.shape[-1])
    image = np.arange(rows.cells.shape[1])[:, None, None] * height
    for i, (row, row_dirty) in enumerate(zip(rows.cells, rows.dirty)):
        for j, (col, col_dirty) in enumerate(zip(cols.cells, cols.dirty)):
            reads = row_dirty[:, :, None] & col_dirty[:, None, :]
            result = torch.from_numpy(np.flatnonzero(reads)).to(y.device)
            cell = ((image + row[:, :, None]) * width + col[:, None, :])[reads]
            cell = torch.from_numpy(cell).to(y.device)
            y.index_add_(0, result, difference.index_select(0, cell) @ weight[:, :, i, j].t())
