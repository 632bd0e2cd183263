"""The HTML page of a diagnosis: the advice, plot and table of every check."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_bytes, save_json
from mindpad_mm.core.names import PathLike
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.suite import Suite
from mindpad_mm.report.render import write_html

_DOTS_PER_INCH = 110


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
    """Write ``diagnosis.json``, a PNG for each check and ``report.html``.

    Args:
        suite: The results of the checks.
        out: An existing folder.

    Raises:
        UserError: The folder cannot be written to.
    """
    out = Path(out)
    pictures = {key: draw_png(diagnosis) for key, diagnosis in suite.diagnoses.items()}
    save_json(out / 'diagnosis.json', suite.to_json())
    for key, picture in pictures.items():
        save_bytes(out / f'{key}.png', picture)
    seconds = {key: f'{value:.1f} s' for key, value in suite.seconds.items()}
    info = {**suite.info, 'wall time': seconds}
    diagnoses = [*suite.diagnoses.values()]
    write_diagnosis_page(diagnoses, info, out / 'report.html', pictures, suite.refused)


def write_diagnosis_page(
    diagnoses: Sequence[Diagnosis],
    info: Mapping[str, Any],
    path: PathLike,
    pictures: Mapping[str, bytes] | None = None,
    refused: Mapping[str, str] | None = None,
) -> None:
    """Write a self-contained HTML file that shows every check.

    Args:
        diagnoses: Results of the checks, in the order of the page.
        info: Details of the run by name; values are strings, numbers, lists or mappings. Its
            ``name`` or ``config`` is the title of the page.
        path: The HTML file.
        pictures: PNG files by the keys of the checks; default: drawn here.
        refused: Keys of checks that were not possible, with the reason. Default: none.

    Raises:
        UserError: The file cannot be written.
    """
    if pictures is None:
        pictures = {diagnosis.check: draw_png(diagnosis) for diagnosis in diagnoses}
    write_html(
        path,
        'diagnosis.html',
        name=Path(info.get('name') or info.get('config') or 'a network').name,
        checks=[_check(diagnosis, pictures[diagnosis.check]) for diagnosis in diagnoses],
        refused=refused or {},
        info=info,
    )


def draw_png(diagnosis: Diagnosis) -> bytes:
    """The plot of a check as a PNG file; equal results give equal bytes."""
    figure, picture = diagnosis.plot(), io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(picture, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
    return picture.getvalue()


def _check(diagnosis: Diagnosis, png: bytes) -> dict[str, Any]:
    advice = diagnosis.advice()
    return {
        'key': diagnosis.check,
        'title': diagnosis.title,
        'advice': advice,
        'first_sentence': re.split(r'(?<=[.!?])\s', advice, maxsplit=1)[0],
        'picture': base64.b64encode(png).decode(),
        # With a given size, the page layout does not change while the image loads.
        'width': int.from_bytes(png[16:20], 'big'),
        'height': int.from_bytes(png[20:24], 'big'),
        'alt': f'Picture of the check "{diagnosis.title}"; its numbers are in the table below.',
        'table': diagnosis.table(),
    }
