"""All checks of a network in one go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from mindpad_mm.core.detector import versions
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike
from mindpad_mm.diagnose.artifacts import check_artifacts
from mindpad_mm.diagnose.evenness import check_evenness
from mindpad_mm.diagnose.filters import check_filters
from mindpad_mm.diagnose.foveation import check_foveation
from mindpad_mm.diagnose.maps import own_mode
from mindpad_mm.diagnose.padding_error import check_padding_error
from mindpad_mm.diagnose.progress import showing
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.shift import check_shift
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import FULL, VALID
from mindpad_mm.padding.modes import PADDING_MODES, ModeSpec, describe, get_modes, parse_modes


@dataclass(frozen=True)
class Request:
    """What the checks are asked; each takes what concerns it.

    Attributes:
        photos: (H, W, 3) uint8 BGR, any size; none stand for drawn streets.
        modes: Padding modes to compare; None leaves the choice to each check.
        label: The class that the shift check follows.
        from_coco, ann_id, photo_root: The annotated object that it follows, see
            :func:`mindpad_mm.diagnose.check_shift`.
        seed: Of all that is drawn.
    """

    photos: Sequence[np.ndarray] = ()
    modes: Sequence[ModeSpec] | None = None
    label: str | None = None
    from_coco: PathLike | None = None
    ann_id: int | None = None
    photo_root: PathLike | None = None
    seed: int = 0


def _evenness(subject: Subject, ask: Request) -> Diagnosis:
    return check_evenness(subject)


def _artifacts(subject: Subject, ask: Request) -> Diagnosis:
    return check_artifacts(subject, ask.photos, ask.modes, seed=ask.seed)


def _foveation(subject: Subject, ask: Request) -> Diagnosis:
    # No padding and full padding swap nothing: they are the ends between which the modes stand.
    return check_foveation(subject, None if ask.modes is None else (*ask.modes, VALID, FULL))


def _filters(subject: Subject, ask: Request) -> Diagnosis:
    return check_filters(subject)


def _shift(subject: Subject, ask: Request) -> Diagnosis:
    return check_shift(
        subject,
        ask.photos,
        from_coco=ask.from_coco,
        ann_id=ask.ann_id,
        photo_root=ask.photo_root,
        label=ask.label,
        seed=ask.seed,
    )


def _padding_error(subject: Subject, ask: Request) -> Diagnosis:
    modes = None if ask.modes is None else list(ask.modes)
    own = own_mode(subject.model)
    # Without the network's own mode there is nothing to recommend a change from.
    known = own and all(name in PADDING_MODES for name in own.split('/'))
    if modes and known and own not in [describe(get_modes(mode)) for mode in modes]:
        modes.insert(0, parse_modes(own))
    return check_padding_error(subject, ask.photos, modes, seed=ask.seed)


Check = Callable[[Subject, Request], Diagnosis]

CHECKS: dict[str, Check] = {
    'evenness': _evenness,
    'artifacts': _artifacts,
    'foveation': _foveation,
    'filters': _filters,
    'shift': _shift,
    'padding_error': _padding_error,
}
"""Checks by key, in the order they run. Add your own."""

_WIDTH = 160
_LONG = 24


@dataclass
class Suite:
    """What the checks found.

    Attributes:
        diagnoses: By the checks' keys, in the order they ran.
        refused: By the keys of checks that are not possible for this network, the reason in a line.
        seconds: Wall time of each.
        info: What was run.
    """

    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A key a check, and ``info``; of a check that is not possible, why."""
        found = {key: diagnosis.to_json() for key, diagnosis in self.diagnoses.items()}
        refused = {key: {'not_possible': reason} for key, reason in self.refused.items()}
        return {**found, **refused, 'info': {**self.info, 'seconds': self.seconds}}

    def print(self, console: Console | None = None) -> None:
        """Print the table and the advice of each check, and which were not possible."""
        if console is None:
            console = Console()
            if not console.is_terminal:
                console = Console(width=_WIDTH)
        for diagnosis in self.diagnoses.values():
            console.rule(f'[bold]{escape(diagnosis.title)}')
            table = diagnosis.table()
            if len(table.rows) > _LONG:
                # It would push the advice of the checks before it out of sight.
                console.print(escape(f'{table.title}: {len(table.rows)} rows, in the report'))
            else:
                console.print(table.rich())
            console.print(escape(diagnosis.advice()), end='\n\n')
        for key, reason in self.refused.items():
            console.print(escape(f'{key}: not possible: {reason}'), soft_wrap=True, end='\n\n')

    def insist_on(self, keys: Sequence[str]) -> None:
        """See that what was asked for by name was possible, and anything at all.

        Raises:
            UserError: It was not.
        """
        missed = [key for key in self.refused if key in keys or not self.diagnoses]
        if missed:
            raise UserError(f'{missed[0]}: not possible: {self.refused[missed[0]]}')


def diagnose(
    subject: Subject,
    checks: Sequence[str] | None = None,
    photos: Sequence[np.ndarray] = (),
    seed: int = 0,
    info: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Suite:
    """Run checks on a network.

    One that is not possible for this network does not keep the others from running: the reason is in
    :attr:`Suite.refused`, and :meth:`Suite.insist_on` makes an error of it.

    Args:
        subject: The network.
        checks: Keys of :data:`CHECKS`; default all. They run in its order.
        photos: (H, W, 3) uint8 BGR, any size. Default: drawn streets.
        seed: Of all that is drawn.
        info: What else to note of the run.
        **asked: What else there is in a :class:`Request`.

    Raises:
        UserError: No such check or padding mode.
    """
    unknown = [key for key in checks or () if key not in CHECKS]
    if unknown:
        raise UserError(f'no check {unknown[0]!r}; choose from {", ".join(CHECKS)}')
    ask = Request(photos, seed=seed, **asked)
    for mode in ask.modes or ():
        get_modes(mode)
    keys = [key for key in CHECKS if checks is None or key in checks]
    suite = Suite(
        info={
            'name': subject.name,
            'input_size': list(subject.input_size),
            'photos': len(photos) or 'drawn streets',
            'seed': seed,
            **(info or {}),
            'versions': versions(),
        }
    )
    console = Console(stderr=True)
    with showing(console) as progress:
        for key in progress.track(keys, description='diagnosing'):
            started = time.perf_counter()
            try:
                suite.diagnoses[key] = CHECKS[key](subject, ask)
            except UserError as error:
                suite.refused[key] = ' '.join(str(error).split())
                told = escape(f'{key}: not possible: {suite.refused[key]}')
                console.print(told, soft_wrap=True)
                continue
            suite.seconds[key] = round(time.perf_counter() - started, 3)
            console.print(f'{key}: {suite.seconds[key]:.1f} s')
    return suite
