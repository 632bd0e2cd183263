"""Convolution by what changed: each changed cell sends its difference to the results that read it.

A window of results reads more cells than have changed, by the kernel's reach on every side. Where the
reach is wide beside the window, as with a large dilation, most of that reading is of unchanged cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mindpad_mm.incremental.geometry import ReceptiveField, Span


@dataclass(frozen=True)
class Taps:
    """Which changed cell each tap of a kernel reads for each result, along one axis.

    Attributes:
        cells: (K, B, n) cell of the input's window.
        changed: (K, B, n) whether there is one that has changed.
    """

    cells: np.ndarray
    changed: np.ndarray

    @classmethod
    def of(cls, reading: ReceptiveField, inputs: Span, results: Span) -> Taps:
        """The taps of the results in the windows ``results``."""
        first, _ = reading.positions(results)
        position = first[:, None] + np.arange(results.length) * reading.stride
        position = position + (np.arange(reading.kernel) * reading.dilation)[:, None, None]
        cells = reading.source.cells[position]
        changed = (cells >= inputs.low[:, None]) & (cells < inputs.high[:, None])
        return cls(cells - inputs.start[:, None], changed)


def pairs(rows: Taps, cols: Taps) -> int:
    """How many (result, tap) there are that read a changed cell."""
    return int((rows.changed.sum((0, 2)) * cols.changed.sum((0, 2))).sum())


def add_changes(y: Tensor, change: Tensor, weight: Tensor, rows: Taps, cols: Taps) -> None:
    """Add to results what the change of their inputs does to them.

    Args:
        y: (B, n_rows, n_cols, C_out), contiguous, the clean results; written to.
        change: (B, h, w, C_in), contiguous, of each cell of the windows.
        weight: (C_out, C_in, k, k), of a convolution without groups.
    """
    _, height, width, channels = change.shape
    change = change.view(-1, channels)
    y = y.view(-1, y.shape[-1])
    sample = np.arange(rows.cells.shape[1])[:, None, None] * height
    for i, (row, row_changed) in enumerate(zip(rows.cells, rows.changed)):
        for j, (col, col_changed) in enumerate(zip(cols.cells, cols.changed)):
            reads = row_changed[:, :, None] & col_changed[:, None, :]
            result = torch.from_numpy(np.flatnonzero(reads)).to(y.device)
            cell = ((sample + row[:, :, None]) * width + col[:, None, :])[reads]
            cell = torch.from_numpy(cell).to(y.device)
            y.index_add_(0, result, change.index_select(0, cell) @ weight[:, :, i, j].t())
