"""Learned padding: each padded value learns to make a window's outputs those inside a larger photo."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mindpad_mm.adapt.teacher import distance, levels_of, within
from mindpad_mm.adapt.windows import Windows
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import Journal
from mindpad_mm.core.names import LEARNED_PADDING
from mindpad_mm.core.progress import track
from mindpad_mm.diagnose import Subject
from mindpad_mm.padding import swap_padding
from mindpad_mm.padding.found import padding_layers
from mindpad_mm.settings.adapt import AdaptSettings

_STATE = 'learned'
# The state is kept this often.
_STEPS_BETWEEN = 20


def with_learned_padding(model: nn.Module) -> tuple[nn.Module, dict[str, object]]:
    """A copy of a detector whose zero-padded convolutions can learn their padding.

    Nothing else of the copy is trained, and its outputs are the detector's until something is learned.

    Returns:
        The copy, and the ``padding_cfg`` that makes it of the detector.

    Raises:
        UserError: No convolution pads with zeros.
    """
    layers = [each for each in padding_layers(model) if each.padded and each.padded.learns]
    others = [layer.names[0] for layer in layers if layer.mode != 'zeros']
    if len(others) == len(layers):
        raise UserError('no convolution of the detector pads with zeros: there is nothing to learn')
    student = copy.deepcopy(model).eval().requires_grad_(False)
    swap_padding(student, 'learned', exclude=others)
    for values in learned_values(student):
        values.requires_grad_(True)
    return student, {'mode': 'learned', **({'exclude': others} if others else {})}


def learned_values(model: nn.Module) -> list[Tensor]:
    """The values (4, 2, C) of all layers in mode ``learned``, shared ones once."""
    return [value for name, value in model.named_parameters() if name.endswith(LEARNED_PADDING)]


def learn(
    teacher: Subject,
    student: nn.Module,
    windows: Windows,
    settings: AdaptSettings,
    journal: Journal | None = None,
) -> np.ndarray:
    """Let the padding of a detector learn; no labels are needed.

    At each step, the student sees windows, and the teacher the same windows with their surroundings. The
    student's outputs near the sides shall be the teacher's.

    Args:
        teacher: The detector as trained, and the size of its windows.
        student: What :func:`with_learned_padding` made of it; changed in place.
        windows: To learn from.
        settings: ``steps``, ``batch``, ``rate`` and ``near`` are used.
        journal: Keeps what is learned, so that an interrupted run goes on. Default: nothing is kept.

    Returns:
        (steps,) float32, the distance to the teacher's outputs at each step.

    Raises:
        UserError: The detector's outputs are not understood, or no level has the same priors in both.
    """
    state = _State(learned_values(student), settings, journal)
    mine = Subject(student, teacher.input_size)
    around = windows.surroundings
    height, width = teacher.input_size
    for step in track(range(state.done, settings.steps), 'learning', transient=True):
        large = teacher.preprocess(windows.draw(step, settings.batch))
        window = large[..., around : around + height, around : around + width]
        ours = levels_of(student, mine.dense(window.contiguous(memory_format=torch.channels_last)))
        with torch.no_grad():
            theirs = levels_of(teacher.model, teacher.dense(large))
        aims = [within(aim, level, around, teacher.input_size) for aim, level in zip(theirs, ours)]
        loss = distance(ours, aims, teacher.input_size, settings.near)
        state.step(loss)
    return state.losses


class _State:
    """The optimiser, and what of a run is kept on disk.

    Attributes:
        done: Steps that are done.
        losses: (steps,) float32; NaN for steps to come.
    """

    def __init__(
        self, values: Sequence[Tensor], settings: AdaptSettings, journal: Journal | None
    ) -> None:
        self.values, self.settings, self.journal = values, settings, journal
        self.optimizer = torch.optim.Adam(values, settings.rate)
        self.losses = np.full(settings.steps, np.nan, np.float32)
        self.done = 0
        kept = None if journal is None else journal.read_array(_STATE, (len(self._flat()),))
        if kept is not None:
            self._restore(kept)

    def step(self, loss: Tensor) -> None:
        """One step down a loss."""
        rate = self.settings.rate * (1 + math.cos(math.pi * self.done / self.settings.steps)) / 2
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.losses[self.done] = loss.item()
        if not np.isfinite(self.losses[self.done]):
            raise UserError(
                f'learning diverged at step {self.done}: give a smaller `rate` than {self.settings.rate}'
            )
        self.done += 1
        if self.journal is not None and self.done % _STEPS_BETWEEN == 0:
            self.journal.write_array(_STATE, self._flat())

    def _tensors(self) -> list[Tensor]:
        """The values and their moments; moments that are not there yet are 0."""
        state = self.optimizer.state
        for value in self.values:
            if value not in state:
                zeros = {name: torch.zeros_like(value) for name in ('exp_avg', 'exp_avg_sq')}
                state[value] = {'step': torch.tensor(float(self.done)), **zeros}
        moments = [state[v][name] for v in self.values for name in ('exp_avg', 'exp_avg_sq')]
        return [*self.values, *moments]

    def _flat(self) -> np.ndarray:
        flat = [each.detach().flatten().cpu().numpy() for each in self._tensors()]
        return np.concatenate([np.float32([self.done]), self.losses, *flat])

    @torch.no_grad()
    def _restore(self, flat: np.ndarray) -> None:
        self.done = int(flat[0])
        self.losses[:] = flat[1 : 1 + self.settings.steps]
        at = 1 + self.settings.steps
        for each in self._tensors():
            each.copy_(torch.from_numpy(flat[at : at + each.numel()].copy()).view_as(each))
            at += each.numel()
        for value in self.values:
            self.optimizer.state[value]['step'].fill_(self.done)
