"""A detector that is blind at its borders, its cure by one config line, and one with nothing to cure."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mindpad_mm import zoo
from mindpad_mm.border import BorderResult, border_loss, percent, with_interval
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.drawing import draw_street
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json, save_bytes, save_json
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.tables import Table
from mindpad_mm.evaluation import evaluate
from mindpad_mm.report import report_border, report_scan, write_page
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.traffic_lights.dataset import SPLITS, Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights
from mindpad_mm.zoo.demo_plot import draw_demo

CURE = 'circular'
# Streets are drawn larger than the network's input of 128 px: windows are cut out of them.
_STREETS, _STREET_SIDE = 40, 288
_LIGHTS, _LIGHT_SIZES = 4, (20, 28)
_SCANNED_SIZE = 24


@dataclass(frozen=True)
class DemoDetector:
    """A detector of the demo.

    Attributes:
        key: Name of its files.
        title: Name in tables and pictures.
        border: ``key`` of the border loss that it is measured in.
        variant: Its name in that border loss.
        family: Family of its checkpoint in the zoo.
        cfg_options: Overrides of its config.
    """

    key: str
    title: str
    border: str
    variant: str
    family: str
    cfg_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> DetectorFiles:
        """The config, with its overrides, and the checkpoint."""
        return DetectorFiles(*zoo.model_files('zeros', self.family), dict(self.cfg_options))


DETECTORS = (
    DemoDetector('blind', 'blind at its borders', 'blind', 'as trained', 'ssd128-centre'),
    DemoDetector('cured', f'the same, swapped to {CURE}', 'blind', CURE, 'ssd128-centre',
        {'model.padding_cfg.mode': CURE}),
    DemoDetector('sighted', 'nothing to cure', 'sighted', 'as trained', 'ssd128-everywhere'),
)  # fmt: skip
_STORY = {
    'blind': 'A detector that was trained on lights 24 px or more off every border:',
    'sighted': 'The same network, trained on the same lights everywhere:',
}


def run_demo(out: Path, stride: int, num_images: int) -> list[dict[str, Any]]:
    """Measure border loss, scan and test two shipped detectors on drawn streets, and say what was found.

    What is complete in ``out`` is used again.

    Args:
        out: Folder for all results. The picture of all is ``demo.png``, the scans side by side are in
            ``report.html``, the figures in ``demo.json``.
        stride: Pixels between positions of a scan.
        num_images: Number of drawn images to measure mAP on.

    Returns:
        One row per detector, as in ``demo.json``: padding loss near the border and the share of lights
        lost at the border, each with its interval, mAP, AP.50, and the scan's blind fraction.

    Raises:
        UserError: A number is out of range, or ``out`` has other content.
    """
    if num_images < 1:
        raise UserError(f'`num_images` {num_images}: at least 1')
    options = _test_set(out / 'set', num_images)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    borders = {}
    for detector in DETECTORS:
        if detector.border != detector.key:
            continue
        console.print(f'\n{_STORY[detector.key]}')
        borders[detector.key] = _border(detector, out / f'border_{detector.key}')
        report_border(borders[detector.key])
    scans = [_scan(detector, out / f'scan_{detector.key}', stride) for detector in DETECTORS]
    rows = []
    for detector, scan in zip(DETECTORS, scans):
        metrics = _test(detector, out / f'test_{detector.key}', options)
        rows.append(_row(detector, borders[detector.border], scan, metrics))
    titles = [detector.title for detector in DETECTORS]
    write_page(scans, out / 'report.html', titles)
    losses = {each.title: (borders[each.border], each.variant) for each in DETECTORS}
    save_bytes(out / 'demo.png', draw_demo(dict(zip(titles, scans)), losses))
    save_json(out / 'demo.json', rows)
    _print(console, rows, num_images, out)
    return rows


def _border(detector: DemoDetector, folder: Path) -> BorderResult:
    streets = [
        draw_street(_STREET_SIDE, _STREET_SIDE, np.random.default_rng([1, index]))
        for index in range(_STREETS)
    ]
    result = border_loss(
        detector.files,
        streets,
        object=[ScanObject.drawn(seed).pixels for seed in range(_LIGHTS)],
        padding=(CURE,),
        sizes=_LIGHT_SIZES,
        max_objects=1,
        minutes=0,
        batch_size=32,
        out=folder,
        resume=folder.is_dir(),
    )
    assert result is not None  # there is one process
    return result


def _scan(detector: DemoDetector, folder: Path, stride: int) -> ScanResult:
    scan = blindspot_scan(
        detector.files, out=folder, stride=stride, sizes=(_SCANNED_SIZE,), resume=folder.is_dir()
    )
    report_scan(scan)
    return scan


def _test(detector: DemoDetector, folder: Path, options: Mapping[str, Any]) -> dict[str, float]:
    files = detector.files
    with contextlib.redirect_stdout(io.StringIO()):  # the tables of pycocotools
        return evaluate(files.config, files.checkpoint, folder, {**options, **detector.cfg_options})


def _test_set(folder: Path, num_images: int) -> dict[str, Any]:
    """Make the set of drawn images, or use it again; the options that test a detector on it."""
    # Lights of the sizes that the detectors were trained on, everywhere.
    recipe = Recipe(num_train=1, num_val=num_images, size=128, min_size=20, most_lights=1, seed=1)
    if not _is_made(folder / 'meta.json', recipe):
        make_traffic_lights(folder, recipe, overwrite=True)
    return {
        'test_dataloader.dataset.data_root': f'{folder}/',
        'test_evaluator.ann_file': str(folder / 'annotations' / 'val.json'),
    }


def _is_made(meta: Path, recipe: Recipe) -> bool:
    """Whether a complete set of this recipe exists."""
    try:
        made = read_json(meta) if meta.is_file() else {}
    except UserError:  # torn: it is made anew
        return False
    if not isinstance(made, dict) or made.get('recipe') != recipe.to_json():
        return False
    return set(made['counts']) == set(SPLITS)


def _row(
    detector: DemoDetector, border: BorderResult, scan: ScanResult, metrics: dict[str, float]
) -> dict[str, Any]:
    found = border.statistics[detector.variant]['by_side']['all']
    (statistics,) = scan.info.statistics['maps']
    return {
        'detector': detector.title,
        'padding loss': found['near']['padding_loss'],
        'lost at the border': found['0']['lost_objects'],
        'blind fraction': statistics['blind_fraction'],
        'mAP': metrics['coco/bbox_mAP'],
        'AP.50': metrics['coco/bbox_mAP_50'],
        'report': str(scan.folder / 'report.html'),
    }


def _print(console: Console, rows: list[dict[str, Any]], num_images: int, out: Path) -> None:
    columns = ['detector', 'padding loss', 'lost', 'blind', 'mAP']
    shown = [
        [
            row['detector'],
            with_interval(row['padding loss']),
            percent(row['lost at the border']['mean']),
            percent(row['blind fraction']),
            f'{row["mAP"]:.3f}',
        ]
        for row in rows
    ]
    title = (
        'Drawn lights on drawn streets: padding loss to 16 px, lights lost at the border, positions '
        f'of the map that are blind, mAP on {num_images} images'
    )
    console.print(Table(columns, shown, title).rich(), soft_wrap=False)
    console.print(f'all in one picture: {out / "demo.png"}')
    console.print(f'maps side by side: {out / "report.html"}')
