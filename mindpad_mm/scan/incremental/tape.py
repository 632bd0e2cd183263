"""What the clean background's run through the network leaves behind for all later runs."""

from __future__ import annotations

from typing import Any, Callable

from torch import Tensor


class Step:
    """One operation of the clean run.

    Attributes:
        func: The operation.
        clean: Its result on the clean maps, (1, C, H, W); None before it has run.
        kept: Whatever else about the operation is the same in every run.
    """

    def __init__(self, func: Callable) -> None:
        self.func = func
        self.clean: Tensor | None = None
        self.kept: dict[str, Any] = {}


class Tape:
    """The operations of the clean run, in their order, which is the same in every run.

    Attributes:
        fallbacks: Names of the functions that ran on whole maps because nobody knows their windows.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._next = 0
        self._continued: dict[tuple, Tensor] = {}
        self.fallbacks: set[str] = set()

    def rewind(self) -> None:
        """Go back to the first operation."""
        self._next = 0

    def step(self, func: Callable, run: Callable[[], Tensor]) -> Step:
        """The next operation; on its first time, ``run`` runs it on the clean maps."""
        if self._next == len(self._steps):
            step = Step(func)
            step.clean = run()
            self._steps.append(step)
        step = self._steps[self._next]
        if step.func is not func:
            raise RuntimeError(f'operation {self._next} was {step.func}, and is now {func}')
        self._next += 1
        return step

    def continued(self, clean: Tensor, key: tuple, run: Callable[[], Tensor]) -> Tensor:
        """A clean map of this tape continued beyond its border, once for all who read it so."""
        key = (id(clean), *key)
        if key not in self._continued:
            self._continued[key] = run()
        return self._continued[key]
