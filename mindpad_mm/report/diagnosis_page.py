"""The HTML page of a diagnosis: the advice, plot and table of every check."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_bytes, save_json
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.tables import write_csv
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.suite import Suite, first_sentence
from mindpad_mm.diagnose.verdict import Verdict
from mindpad_mm.report.paths import without_folders
from mindpad_mm.report.pictures import Picture, picture
from mindpad_mm.report.render import write_html


def make_folder(out: PathLike) -> Path:
    """Create an output folder, before a run that may be long.

    Raises:
        UserError: The folder cannot be created or written to.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make folder {str(out)!r}: {error.strerror}') from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise UserError(f'cannot write to folder {str(out)!r}')
    return out


def report_diagnosis(suite: Suite, out: PathLike) -> None:
    """Write ``diagnosis.json``, a PNG and a CSV file for each check, and ``report.html``.

    Args:
        suite: The results of the checks.
        out: An existing folder.

    Raises:
        UserError: The folder cannot be written to.
    """
    out = Path(out)
    pictures = {key: picture(diagnosis.plot) for key, diagnosis in suite.diagnoses.items()}
    save_json(out / 'diagnosis.json', suite.to_json())
    for key, each in pictures.items():
        save_bytes(out / f'{key}.png', each.png)
        table = suite.diagnoses[key].table()
        write_csv(out / f'{key}.csv', table.columns, table.rows)
    seconds = {key: f'{value:.1f} s' for key, value in suite.seconds.items()}
    info = {**suite.info, 'wall time': seconds}
    diagnoses = [*suite.diagnoses.values()]
    write_diagnosis_page(
        diagnoses, info, out / 'report.html', pictures, suite.refused, suite.verdict
    )


def write_diagnosis_page(
    diagnoses: Sequence[Diagnosis],
    info: Mapping[str, Any],
    path: PathLike,
    pictures: Mapping[str, Picture] | None = None,
    refused: Mapping[str, str] | None = None,
    verdict: Verdict | None = None,
) -> None:
    """Write a self-contained HTML file that shows every check.

    Args:
        diagnoses: Results of the checks, in the order of the page.
        info: Details of the run by name; values are strings, numbers, lists or mappings. Its
            ``name`` or ``config`` is the title of the page.
        path: The HTML file.
        pictures: Pictures by the keys of the checks; default: drawn here.
        refused: Keys of checks that were not possible, with the reason. Default: none.
        verdict: What the checks say together. Default: nothing.

    Raises:
        UserError: The file cannot be written.
    """
    if pictures is None:
        pictures = {diagnosis.check: picture(diagnosis.plot) for diagnosis in diagnoses}
    write_html(
        path,
        'diagnosis.html',
        name=Path(info.get('name') or info.get('config') or 'a network').name,
        checks=[_check(diagnosis, pictures[diagnosis.check]) for diagnosis in diagnoses],
        refused=without_folders(refused or {}),
        verdict=verdict or Verdict(),
        command=without_folders(verdict.command) if verdict else '',
        info=without_folders(info),
    )


def _check(diagnosis: Diagnosis, drawn: Picture) -> dict[str, Any]:
    advice = diagnosis.advice()
    return {
        'key': diagnosis.check,
        'title': diagnosis.title,
        'advice': advice,
        'first_sentence': first_sentence(advice),
        'worth': diagnosis.worth,
        'picture': drawn,
        'alt': f'Picture of the check "{diagnosis.title}"; its numbers are in the table below.',
        'table': diagnosis.table(),
    }
