"""All checks of a network in one run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from mindpad_mm.core.detector import versions
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.weights import NotFinite, finite_outputs
from mindpad_mm.diagnose.checks.registry import CHECKS
from mindpad_mm.diagnose.inputs import photos_or_streets
from mindpad_mm.diagnose.progress import showing
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.verdict import MEASURE, Verdict, verdict
from mindpad_mm.padding.hidden import hidden_padding
from mindpad_mm.padding.modes import modes_to_swap_to
from mindpad_mm.padding.report import SkippedLayer
from mindpad_mm.settings.diagnose import DiagnoseSettings


@dataclass
class Suite:
    """The results of all checks.

    Attributes:
        diagnoses: Results by the keys of the checks, in the order they ran.
        refused: By the keys of checks that are not possible for this network, the reason in one line.
        seconds: Wall time of each check.
        info: Name of the network, input size, photos, seed, versions.
        verdict: What the checks say together, and what to do next.
    """

    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)

    def to_json(self) -> dict[str, Any]:
        """``verdict``, one key for each check, and ``info``; for a check not possible, the reason."""
        found = {key: diagnosis.to_json() for key, diagnosis in self.diagnoses.items()}
        refused = {key: {'not_possible': reason} for key, reason in self.refused.items()}
        info = {**self.info, 'seconds': self.seconds}
        return {'verdict': self.verdict.to_json(), **found, **refused, 'info': info}

    def print(self, console: Console | None = None, verbose: bool = False) -> None:
        """Print the verdict, and a sentence on each check.

        Args:
            console: Where to. Default: stdout.
            verbose: Whether to print the tables and all that each check found as well.
        """
        if console is None:
            console = Console(soft_wrap=True, highlight=False)
        for diagnosis in self.diagnoses.values() if verbose else ():
            console.print(Text(diagnosis.title, 'bold'))
            console.print(diagnosis.table().rich(), soft_wrap=False)
            console.print(Text(f'{diagnosis.advice()} {diagnosis.worth}'), end='\n\n')
        for sentence in (*self.verdict.findings, *self.verdict.advice):
            console.print(Text(sentence))
        if self.verdict.command:
            console.print(Text(f'\n  {self.verdict.command}'))
        console.print()
        for diagnosis in self.diagnoses.values():
            console.print(Text(f'{diagnosis.title}: {first_sentence(diagnosis.advice())}'))
        for key, reason in self.refused.items():
            console.print(Text(f'{key}: not possible: {reason}'))

    def insist_on(self, keys: Sequence[str]) -> None:
        """Require that these checks were possible, and at least one check at all.

        Raises:
            UserError: One of ``keys`` was not possible, or no check was.
        """
        missed = [key for key in self.refused if key in keys or not self.diagnoses]
        if missed:
            raise UserError(f'{missed[0]}: not possible: {self.refused[missed[0]]}')


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence."""
    return re.split(r'(?<=[.!?])\s', text, maxsplit=1)[0]


def check_names(settings: DiagnoseSettings) -> None:
    """Check that the checks and padding modes of the settings exist.

    Raises:
        UserError: One does not.
    """
    unknown = [key for key in settings.checks or () if key not in CHECKS]
    if unknown:
        raise UserError(f'`checks`: no check {unknown[0]!r}; choose from {", ".join(CHECKS)}')
    for mode in settings.modes or ():
        modes_to_swap_to(mode)


def diagnose(
    subject: Subject,
    settings: DiagnoseSettings | None = None,
    photos: Sequence[np.ndarray] = (),
    info: Mapping[str, Any] | None = None,
    *,
    random: bool = False,
    command: str = MEASURE,
) -> Suite:
    """Run checks on a network.

    A check that is not possible for this network does not stop the others: the reason is in
    :attr:`Suite.refused`, and :meth:`Suite.insist_on` turns it into an error.

    Args:
        subject: The network.
        settings: Which checks to run, and how. Default: all checks with their defaults.
        photos: (H, W, 3) uint8 BGR, any size. Default: drawn streets.
        info: Further entries for :attr:`Suite.info`.
        random: Whether the weights are random, for the verdict.
        command: The command that measures the network's border loss, for the verdict.

    Raises:
        UserError: A check or mode does not exist, or a layer's output is NaN or infinite.
    """
    settings = settings or DiagnoseSettings()
    check_names(settings)
    keys = [key for key in CHECKS if settings.checks is None or key in settings.checks]
    suite = Suite(
        info={
            'name': subject.name,
            'input_size': list(subject.input_size),
            'photos': len(photos) or 'drawn streets',
            'seed': settings.seed,
            **(info or {}),
            'versions': versions(),
        }
    )
    hidden = _first_run(subject, photos, settings.seed)
    if hidden:
        suite.info['padding that no swap changes'] = [str(each) for each in hidden]
    console = Console(stderr=True)
    with showing(console) as progress:
        for key in progress.track(keys, description='diagnosing'):
            started = time.perf_counter()
            try:
                suite.diagnoses[key] = CHECKS[key](subject, settings, photos)
            except UserError as error:
                suite.refused[key] = ' '.join(str(error).split())
                message = Text(f'{key}: not possible: {suite.refused[key]}')
                console.print(message, soft_wrap=True)
                continue
            suite.seconds[key] = round(time.perf_counter() - started, 3)
            console.print(f'{key}: {suite.seconds[key]:.1f} s')
    suite.verdict = verdict(subject.model, suite.diagnoses.values(), random, command)
    return suite


def _first_run(subject: Subject, photos: Sequence[np.ndarray], seed: int) -> Sequence[SkippedLayer]:
    """What pads outside of layers in a run on one photo; empty if the network does not run.

    Raises:
        NotFinite: A layer's output is NaN or infinite.
    """
    photo = photos_or_streets(photos[:1], subject.input_size, 1, seed)[0]
    try:
        image = subject.preprocess([subject.fitted(photo)])
        with finite_outputs(subject.model):
            return hidden_padding(subject.model, lambda: subject.dense(image))
    except NotFinite:
        raise
    except UserError:
        return ()  # the checks say so
