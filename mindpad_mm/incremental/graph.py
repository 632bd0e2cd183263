"""The operation graph: every operation of the run on the clean image, with its clean result.

The graph is recorded once. Later runs go through the same operations in the same order, and read the
clean results, padded feature maps and transformed kernels that it keeps. :class:`Demand` walks it
backward to find which cells of each feature map a few output cells need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mindpad_mm.incremental.geometry import ReceptiveField, Span

Interval = tuple[np.ndarray, np.ndarray]
"""Cells along one axis for each image: first (B,) and one past the last (B,). Empty where the first is
not below the second."""

Cells = tuple[Interval, Interval]
"""A rectangle of cells for each image of a batch, (vertical, horizontal)."""


_OTHER_OPERATIONS = 'the detector does not run the same operations every time'


class NotFollowed(Exception):
    """The detector does something that windows cannot represent; it needs full forward passes."""


class Operation:
    """One operation of the clean run.

    Attributes:
        func: The torch function.
        clean: Its result in the clean run, (1, C, H, W), channels last.
        macs: Multiply-accumulates of its convolutions in the clean run.
        inputs: The operations whose results it reads; inputs from outside the graph are left out.
        readers: The operations that read its result.
        fields: Receptive field of each result cell, (vertical, horizontal); None if a result cell
            reads only the cell at the same place.
        reads_all: Whether each result cell reads all cells of all inputs.
        used_outside: Whether something that is not in the graph also reads the result.
        affine: Of batch norm, what it multiplies each channel by and adds, (C,) each; else None.
        constants: Anything else about the operation that is the same in every run.
    """

    def __init__(self, func: Callable, clean: Tensor, macs: int, inputs: list[Operation]) -> None:
        self.func = func
        self.clean = clean
        self.macs = macs
        self.inputs = inputs
        self.fields: list[ReceptiveField] | None = None
        self.reads_all = False
        self.used_outside = False
        self.readers: list[Operation] = []
        self.affine: tuple[Tensor, Tensor] | None = None
        self.constants: dict[str, Any] = {}


class OperationGraph:
    """The operations of the clean run in execution order.

    Attributes:
        operations: All operations recorded so far.
        fallbacks: Names of the functions and modules that ran on whole maps because they have no
            handler for windows.
        macs: Multiply-accumulates of convolutions since the counter was reset, without the clean run.
        full_macs: The same if all operations had run on whole maps.
        demand: Which cells the current run needs; None: all.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._by_result: dict[int, Operation] = {}
        self._next = 0
        self._folds = False
        self._cache: dict[tuple, tuple[Tensor, Any]] = {}
        self.fallbacks: set[str] = set()
        self.macs = 0.0
        self.full_macs = 0.0
        self.demand: Demand | None = None

    def rewind(self) -> None:
        """Start a new run at the first operation."""
        self._next = 0
        # Who reads what is known once all operations are recorded.
        self._folds = bool(self.operations)

    def next_operation(
        self, func: Callable, run: Callable[[], Tensor], *inputs: Tensor
    ) -> Operation:
        """The next operation of the run; recorded if this is the first run to reach it.

        Args:
            func: The torch function.
            run: Computes its clean result; called only when the operation is recorded.
            inputs: The clean feature maps that it reads.

        Raises:
            NotFollowed: An earlier run had another function at this place.
        """
        if self._next == len(self.operations):
            if self._folds:
                raise NotFollowed(_OTHER_OPERATIONS)
            with _CountMacs() as counted:
                clean = run().contiguous(memory_format=torch.channels_last)
            if id(clean) in self._by_result or any(clean is each for each in inputs):
                # The function returned its input. Operations are looked up by the identity of their
                # result, so this one needs a tensor object of its own.
                clean = clean.view_as(clean)
            known = [self._by_result[id(each)] for each in inputs if id(each) in self._by_result]
            operation = Operation(func, clean, counted.macs, known)
            self.operations.append(operation)
            for each in known:
                each.readers.append(operation)
            self._by_result[id(clean)] = operation
        operation = self.operations[self._next]
        if operation.func != func:
            raise NotFollowed(_OTHER_OPERATIONS)
        self._next += 1
        return operation

    def norm_after(self, operation: Operation) -> Operation | None:
        """The batch norm that alone reads an operation's result; None in the first run.

        A convolution can do its work as well, with other weights.
        """
        if not self._folds or operation.used_outside or len(operation.readers) != 1:
            return None
        reader = operation.readers[0]
        return None if reader.affine is None else reader

    def passes_over(self, func: Callable, clean: Tensor) -> bool:
        """Whether the next operation is done already, because a convolution did its work."""
        if self._next == len(self.operations):
            return False
        upcoming = self.operations[self._next]
        if upcoming.func != func or upcoming.clean is not clean:
            return False
        self._next += 1
        return True

    def operation_of(self, clean: Tensor) -> Operation | None:
        """The operation whose clean result this is; None if there is none."""
        return self._by_result.get(id(clean))

    def mark_used_outside(self, clean: Tensor) -> None:
        """Note that something outside the graph also reads the result whose clean map this is."""
        operation = self.operation_of(clean)
        if operation is not None:
            operation.used_outside = True

    def is_unneeded(self, operation: Operation) -> bool:
        """Whether this run needs no cell of the operation's result."""
        return self.demand is not None and operation not in self.demand.needs

    def restrict_to_demand(self, operation: Operation, rows: Span, cols: Span) -> tuple[Span, Span]:
        """Windows over the cells of the operation's result that are both dirty and needed."""
        if self.demand is None:
            return rows, cols
        need = self.demand.needs[operation]
        return rows.within(*need[0]), cols.within(*need[1])

    def count_macs(self, operation: Operation, batch: int, share: float) -> None:
        """Count a batch's run of an operation.

        Args:
            operation: The operation.
            batch: Number of images.
            share: Share of the whole map's multiply-accumulates that were computed, 0..1.
        """
        self.macs += batch * operation.macs * share
        self.full_macs += batch * operation.macs

    def cached(self, source: Tensor, key: tuple, run: Callable[[], Any]) -> Any:
        """A value computed from a clean feature map or a parameter, computed once for all runs.

        Args:
            source: The tensor; the same object in every run.
            key: What is computed from it.
            run: Computes the value; called the first time only.
        """
        key = (id(source), *key)
        if key not in self._cache:
            # Holding a reference to the source keeps its id from being reused.
            self._cache[key] = source, run()
        return self._cache[key][1]


class Demand:
    """Which cells of each operation's result a batch needs.

    Attributes:
        needs: A rectangle of cells for each operation of which any cell is needed.
    """

    def __init__(self, graph: OperationGraph, wanted: dict[Operation, Cells], batch: int) -> None:
        """Walk the graph backward from the wanted cells.

        Args:
            graph: A recorded clean run.
            wanted: Cells of some operations' results, clipped to their feature maps.
            batch: Number of images.
        """
        self.needs = dict(wanted)
        for operation in reversed(graph.operations):
            if operation.used_outside:
                self.needs[operation] = _all_cells(operation, batch)
            need = self.needs.get(operation)
            if need is None:
                continue
            for source in operation.inputs:
                read = _cells_read(operation, source, need, batch)
                known = self.needs.get(source)
                self.needs[source] = read if known is None else _bounding(known, read)


def _cells_read(operation: Operation, source: Operation, need: Cells, batch: int) -> Cells:
    """The cells of one input that are read for the cells ``need`` of an operation's result."""
    if operation.reads_all:
        return _all_cells(source, batch)
    if operation.fields is None:
        return need
    rows, cols = (field.inputs(*each) for field, each in zip(operation.fields, need))
    return rows, cols


def _all_cells(operation: Operation, batch: int) -> Cells:
    rows, cols = (
        (np.zeros(batch, int), np.full(batch, size, int)) for size in operation.clean.shape[-2:]
    )
    return rows, cols


def _bounding(first: Cells, second: Cells) -> Cells:
    """The smallest rectangles that contain both."""
    rows, cols = (_hull(*axes) for axes in zip(first, second))
    return rows, cols


def _hull(first: Interval, second: Interval) -> Interval:
    """The shortest intervals that contain both; empty ones are ignored."""
    if first is second:
        return first
    (low, high), (other_low, other_high) = first, second
    empty, other_empty = low >= high, other_low >= other_high
    least = np.where(other_empty, low, np.where(empty, other_low, np.minimum(low, other_low)))
    most = np.where(other_empty, high, np.where(empty, other_high, np.maximum(high, other_high)))
    return least, most


class _CountMacs(TorchFunctionMode):
    """Counts the multiply-accumulates of the convolutions that run while it is active."""

    macs = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.conv2d:
            self.macs += result.numel() * args[1][0].numel()
        elif func is torch.conv_transpose2d:
            self.macs += args[0].numel() * args[1][0].numel()
        return result
