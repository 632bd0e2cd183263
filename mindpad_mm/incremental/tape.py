"""What the clean background's run through the network leaves behind for all later runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mindpad_mm.incremental.geometry import Reading, Span

if TYPE_CHECKING:
    from mindpad_mm.incremental.demand import Demand


class NotFollowed(Exception):
    """A detector did what windows cannot follow; only the full engine can run it."""


class Step:
    """One operation of the clean run.

    Attributes:
        func: The operation.
        clean: Its result on the clean maps, (1, C, H, W), channels last.
        macs: Multiply-accumulates of its convolutions on the clean maps.
        inputs: The steps whose results it reads; what no step made is left out.
        readings: What each of its results reads, (vertical, horizontal); None: the cell at its own
            place.
        whole: Whether each of its results reads all of the inputs.
        escapes: Whether its result is also used where no step can tell.
        kept: Whatever else about the operation is the same in every run.
    """

    def __init__(self, func: Callable, clean: Tensor, macs: int, inputs: list[Step]) -> None:
        self.func = func
        self.clean = clean
        self.macs = macs
        self.inputs = inputs
        self.readings: list[Reading] | None = None
        self.whole = False
        self.escapes = False
        self.kept: dict[str, Any] = {}


class Tape:
    """The operations of the clean run, in their order, which is the same in every run.

    Attributes:
        fallbacks: Names of the functions that ran on whole maps because nobody knows their windows.
        macs: Multiply-accumulates of convolutions done since the tape is there, for the clean maps
            not counted.
        full_macs: What whole maps would have taken.
        demand: Which cells anybody needs in this run; None: all.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._made: dict[int, Step] = {}
        self._next = 0
        self._derived: dict[tuple, tuple[Tensor, Any]] = {}
        self.fallbacks: set[str] = set()
        self.macs = 0.0
        self.full_macs = 0.0
        self.demand: Demand | None = None

    def rewind(self) -> None:
        """Go back to the first operation."""
        self._next = 0

    def step(self, func: Callable, run: Callable[[], Tensor], *inputs: Tensor) -> Step:
        """The next operation.

        Args:
            func: The operation.
            run: Runs it on the clean maps; called on its first time only.
            inputs: The clean maps that it reads.
        """
        if self._next == len(self.steps):
            with _CountMacs() as counted:
                clean = run().contiguous(memory_format=torch.channels_last)
            if id(clean) in self._made or any(clean is each for each in inputs):
                # It did nothing; maps are told apart by who made them.
                clean = clean.view_as(clean)
            made = [self._made[id(each)] for each in inputs if id(each) in self._made]
            step = Step(func, clean, counted.macs, made)
            self.steps.append(step)
            self._made[id(clean)] = step
        step = self.steps[self._next]
        if step.func != func:
            raise NotFollowed('the detector does not run the same operations every time')
        self._next += 1
        return step

    def maker(self, clean: Tensor) -> Step | None:
        """The step that made a clean map; None if that is not of this tape's making."""
        return self._made.get(id(clean))

    def escape(self, clean: Tensor) -> None:
        """Note that a map is used where no step can tell."""
        step = self.maker(clean)
        if step is not None:
            step.escapes = True

    def idle(self, step: Step) -> bool:
        """Whether nobody needs the result of a step."""
        return self.demand is not None and step not in self.demand.needs

    def narrowed(self, step: Step, rows: Span, cols: Span) -> tuple[Span, Span]:
        """What is both in the windows that can have changed and needed by somebody."""
        if self.demand is None:
            return rows, cols
        need = self.demand.needs[step]
        return rows.within(*need[0]), cols.within(*need[1])

    def count(self, step: Step, batch: int, share: float) -> None:
        """Note that a batch of maps ran a step, and what share of its work that took."""
        self.macs += batch * step.macs * share
        self.full_macs += batch * step.macs

    def derived(self, source: Tensor, key: tuple, run: Callable[[], Any]) -> Any:
        """What is made of a clean map or a parameter, once for all runs and all who read it so.

        Args:
            source: The same object in every run.
            key: What is made of it.
            run: Makes it; called on the first time only.
        """
        key = (id(source), *key)
        if key not in self._derived:
            # The source is kept for its id to stay its own.
            self._derived[key] = source, run()
        return self._derived[key][1]


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
