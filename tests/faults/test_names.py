"""Names that read as markup, as a formula or as no text are shown as they are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.core.style import as_it_is
from mindpad_mm.report import report_scan
from mindpad_mm.testing.scans import finished_scan

NAMES = (
    '[/b]', '[bold]x', '[', '[[/]]', '[link=x]y', '[red]', 'a\\', 'x[/b]\\', '$\\foo{$', '$', '$$', '$x$',
    'a$b', '_hidden', '__', '^{', '%s', '{0}', '{x}', '<b>x</b>', "'", '"', 'a\nb', '\x1b[31m', '\t',
    'caf\u00e9 \udcff', '\U0001f6a6', '\u4fe1\u53f7', '', ' ', '\\$', '\\', '`out`',
)  # fmt: skip


def drawn(name: str) -> str:
    """What matplotlib draws for a name, or its complaint."""
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=as_it_is(name))
    axes.set_title(as_it_is(name))
    legend = axes.legend()
    figure.savefig(io.BytesIO())
    assert len(legend.get_texts()) == 1
    text = legend.get_texts()[0]
    return Text(text=text.get_text())._preprocess_math(text.get_text())[0]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', [n for n in NAMES if n and '\udcff' not in n])
def test_a_name_is_drawn_as_it_is(name):
    assert drawn(name).replace('\u200b', '') == name


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', NAMES)
def test_a_scan_of_a_class_of_any_name_is_reported(scan, tmp_path, capsys, name):
    shape = scan.scores.shape
    arrays = [
        getattr(scan, key) for key in ('scores', 'ious', 'boxes', 'flags', 'clean', 'rows', 'cols')
    ]
    assert shape[0] == 2
    result = finished_scan(
        scan.folder,
        arrays,
        [dict(vars(each), source=name) for each in scan.info.backgrounds],
        [dict(vars(each), source=name) for each in scan.info.objects],
        label=name,
        config=f'{name}/{name}.py',
        cfg_options={'x': name, name: np.float32('nan'), 'path': Path('x')},
        periods=[[8, 8]],
    )
    with one_line_errors():  # as all commands do
        report_scan(result)
    assert (scan.folder / 'report.html').stat().st_size > 10_000
    assert result.load(scan.folder).info.label == name
    if name.isascii() and name.isprintable():
        assert repr(name) in capsys.readouterr().out
