"""The page of a diagnosis: every check with its advice, its picture and its figures."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any, Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg

from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.report.render import write_html
from mindpad_mm.scan.images import PathLike

_DOTS_PER_INCH = 110


def write_diagnosis_page(
    diagnoses: Sequence[Diagnosis], info: Mapping[str, Any], path: PathLike
) -> None:
    """Write one file that shows every check, with nothing to load from elsewhere.

    Args:
        diagnoses: In the order of the page.
        info: What was run, name to value; values are texts, numbers, lists or mappings. Its
            ``name`` or ``config`` heads the page.
        path: The HTML file.

    Raises:
        UserError: The file cannot be written.
    """
    write_html(
        path,
        'diagnosis.html',
        name=Path(info.get('name') or info.get('config') or 'a network').name,
        checks=[_check(diagnosis) for diagnosis in diagnoses],
        info=info,
    )


def _check(diagnosis: Diagnosis) -> dict[str, Any]:
    figure, picture = diagnosis.plot(), io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(picture, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
    png = picture.getvalue()
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
