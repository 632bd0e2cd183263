"""The page of a diagnosis: every check with its advice, its picture and its figures."""

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
from mindpad_mm.core.files import save_json
from mindpad_mm.core.images import PathLike
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.suite import Suite
from mindpad_mm.report.render import write_html

_DOTS_PER_INCH = 110


def make_folder(out: PathLike) -> Path:
    """A folder to write to: made before the work, which may be long.

    Raises:
        UserError: It cannot be made or written to.
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
    """Write ``diagnosis.json``, a PNG for each check, and ``report.html`` to a folder that is there.

    Raises:
        UserError: The folder cannot be written to.
    """
    out = Path(out)
    pictures = {key: draw_png(diagnosis) for key, diagnosis in suite.diagnoses.items()}
    try:
        save_json(out / 'diagnosis.json', suite.to_json())
        for key, picture in pictures.items():
            (out / f'{key}.png').write_bytes(picture)
    except OSError as error:
        raise UserError(f'cannot write to {str(out)!r}: {error.strerror}') from error
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
    """Write one file that shows every check, with nothing to load from elsewhere.

    Args:
        diagnoses: In the order of the page.
        info: What was run, name to value; values are texts, numbers, lists or mappings. Its
            ``name`` or ``config`` heads the page.
        path: The HTML file.
        pictures: PNG files by the checks' keys; default drawn here.
        refused: Keys of checks that were not possible, and why. Default: none.

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
    """The picture of a check as a PNG file; the same figures give the same bytes."""
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
        # Said beforehand, the size keeps the page from jumping while it is decoded.
        'width': int.from_bytes(png[16:20], 'big'),
        'height': int.from_bytes(png[20:24], 'big'),
        'alt': f'Picture of the check "{diagnosis.title}"; its figures are in the table below.',
        'table': diagnosis.table(),
    }
