"""What the clean background's run through the network leaves behind for all later runs."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class NotFollowed(Exception):
    """A detector did what windows cannot follow; only the full engine can run it."""


class Step:
    """One operation of the clean run.

    Attributes:
        func: The operation.
        clean: Its result on the clean maps, (1, C, H, W), channels last; None before it has run.
        macs: Multiply-accumulates of its convolutions on the clean maps.
        kept: Whatever else about the operation is the same in every run.
    """

    def __init__(self, func: Callable) -> None:
        self.func = func
        self.clean: Tensor | None = None
        self.macs = 0
        self.kept: dict[str, Any] = {}


class Tape:
    """The operations of the clean run, in their order, which is the same in every run.

    Attributes:
        fallbacks: Names of the functions that ran on whole maps because nobody knows their windows.
        macs: Multiply-accumulates of convolutions done since the tape is there, for the clean maps
            not counted.
        full_macs: What whole maps would have taken.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._next = 0
        self._continued: dict[tuple, Tensor] = {}
        self.fallbacks: set[str] = set()
        self.macs = 0.0
        self.full_macs = 0.0

    def rewind(self) -> None:
        """Go back to the first operation."""
        self._next = 0

    def step(self, func: Callable, run: Callable[[], Tensor]) -> Step:
        """The next operation; on its first time, ``run`` runs it on the clean maps."""
        if self._next == len(self._steps):
            step = Step(func)
            with _CountMacs() as counted:
                clean = run()
            step.clean, step.macs = (
                clean.contiguous(memory_format=torch.channels_last),
                counted.macs,
            )
            self._steps.append(step)
        step = self._steps[self._next]
        if step.func != func:
            raise NotFollowed('the detector does not run the same operations every time')
        self._next += 1
        return step

    def count(self, step: Step, batch: int, share: float) -> None:
        """Note that a batch of maps ran a step, and what share of its work that took."""
        self.macs += batch * step.macs * share
        self.full_macs += batch * step.macs

    def continued(self, clean: Tensor, key: tuple, run: Callable[[], Tensor]) -> Tensor:
        """A clean map of this tape continued beyond its border, once for all who read it so."""
        key = (id(clean), *key)
        if key not in self._continued:
            self._continued[key] = run()
        return self._continued[key]


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
