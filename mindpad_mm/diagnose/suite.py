"""All checks of a network in one go, with everything they found in one folder."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from mindpad_mm.diagnose.artifacts import check_artifacts
from mindpad_mm.diagnose.evenness import check_evenness
from mindpad_mm.diagnose.filters import check_filters
from mindpad_mm.diagnose.foveation import check_foveation
from mindpad_mm.diagnose.padding_error import check_padding_error
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.shift import check_shift
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.errors import UserError
from mindpad_mm.report.diagnosis_page import write_diagnosis_page
from mindpad_mm.scan.detector import versions
from mindpad_mm.scan.images import PathLike

Check = Callable[[Subject, Sequence[np.ndarray], int], Diagnosis]

CHECKS: dict[str, Check] = {
    'evenness': lambda subject, photos, seed: check_evenness(subject),
    'artifacts': lambda subject, photos, seed: check_artifacts(subject, photos, seed=seed),
    'foveation': lambda subject, photos, seed: check_foveation(subject),
    'filters': lambda subject, photos, seed: check_filters(subject),
    'shift': lambda subject, photos, seed: check_shift(subject, photos, seed=seed),
    'padding_error': lambda subject, photos, seed: check_padding_error(subject, photos, seed=seed),
}
"""Checks by key, in the order they run: ``check(subject, photos, seed)``. Add your own."""

_DOTS_PER_INCH = 110
_WIDTH = 140


@dataclass
class Suite:
    """What the checks found.

    Attributes:
        diagnoses: By the checks' keys, in the order they ran.
        seconds: Wall time of each.
        info: What was run.
    """

    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A key a check, and ``info``."""
        found = {key: diagnosis.to_json() for key, diagnosis in self.diagnoses.items()}
        return {**found, 'info': {**self.info, 'seconds': self.seconds}}

    def write(self, out: PathLike) -> None:
        """Write ``diagnosis.json``, a PNG for each check, and ``report.html`` to a folder that is there.

        Raises:
            UserError: The folder cannot be written to.
        """
        out = Path(out)
        try:
            text = json.dumps(self.to_json(), indent=1, allow_nan=False)
            (out / 'diagnosis.json').write_text(text + '\n', encoding='utf-8')
            for key, diagnosis in self.diagnoses.items():
                figure = diagnosis.plot()
                figure.savefig(out / f'{key}.png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
        except OSError as error:
            raise UserError(f'cannot write to {str(out)!r}: {error.strerror}') from error
        seconds = {key: f'{value:.1f} s' for key, value in self.seconds.items()}
        info = {**self.info, 'wall time': seconds}
        write_diagnosis_page([*self.diagnoses.values()], info, out / 'report.html')

    def print(self, console: Console | None = None) -> None:
        """Print the table and the advice of each check."""
        if console is None:
            console = Console()
            if not console.is_terminal:
                console = Console(width=_WIDTH)
        for diagnosis in self.diagnoses.values():
            console.rule(f'[bold]{escape(diagnosis.title)}')
            console.print(diagnosis.table().rich())
            console.print(escape(diagnosis.advice()), end='\n\n')


def diagnose(
    subject: Subject,
    checks: Sequence[str] | None = None,
    photos: Sequence[np.ndarray] = (),
    out: PathLike | None = None,
    seed: int = 0,
    info: Mapping[str, Any] | None = None,
) -> Suite:
    """Run checks on a network.

    Args:
        subject: The network.
        checks: Keys of :data:`CHECKS`; default all. They run in its order.
        photos: (H, W, 3) uint8 BGR, any size. Default: drawn streets.
        out: Folder for ``diagnosis.json``, a PNG for each check and ``report.html``. Default: none.
        seed: Of all that is drawn.
        info: What else to note of the run.

    Raises:
        UserError: No such check, or a network that one of them cannot examine.
    """
    unknown = [key for key in checks or () if key not in CHECKS]
    if unknown:
        raise UserError(f'no check {unknown[0]!r}; choose from {", ".join(CHECKS)}')
    if out is not None:
        # Before the work, which may be long.
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'cannot make folder {str(out)!r}: {error.strerror}') from error
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
    for key in track(keys, 'diagnosing', console=console):
        started = time.perf_counter()
        suite.diagnoses[key] = CHECKS[key](subject, photos, seed)
        suite.seconds[key] = round(time.perf_counter() - started, 3)
        console.print(f'{key}: {suite.seconds[key]:.1f} s')
    if out is not None:
        suite.write(out)
    return suite
