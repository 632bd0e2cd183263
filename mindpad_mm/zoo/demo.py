"""Compare the shipped checkpoints: a scan of each, and its mAP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mindpad_mm import zoo
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json, save_json
from mindpad_mm.evaluation import evaluate
from mindpad_mm.report import report_scan, write_page
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.traffic_lights.dataset import SPLITS, Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights


def run_demo(out: Path, stride: int, num_images: int) -> list[dict[str, Any]]:
    """Scan and test the ``ssdlite256`` checkpoints on drawn streets, and print a table.

    Complete scans and a complete test set in ``out`` are used again.

    Args:
        out: Folder for the scans, the test set, ``demo.json`` and ``report.html``, which shows the
            scans side by side.
        stride: Pixels between positions of a scan.
        num_images: Number of drawn images to measure mAP on.

    Returns:
        One row per checkpoint, as in ``demo.json``: mAP, AP.50, and the scan's mean score, blind
        fraction and worst strip.

    Raises:
        UserError: A number is out of range, or ``out`` has other content.
    """
    if num_images < 1:
        raise UserError(f'`num_images` {num_images}: at least 1')
    data, recipe = out / 'set', Recipe(num_train=1, num_val=num_images, seed=1)
    if not _is_made(data / 'meta.json', recipe):
        make_traffic_lights(data, recipe, overwrite=True)
    options = {
        'test_dataloader.dataset.data_root': f'{data}/',
        'test_evaluator.ann_file': str(data / 'annotations' / 'val.json'),
    }
    rows, scans = [], []
    for mode in zoo.modes():
        config, checkpoint = zoo.model_files(mode)
        folder = out / f'scan_{mode}'
        scan = blindspot_scan(
            (config, checkpoint), out=folder, stride=stride, resume=folder.is_dir()
        )
        report_scan(scan)
        metrics = evaluate(config, checkpoint, out / f'test_{mode}', options)
        rows.append(_row(mode, scan, metrics))
        scans.append(scan)
    write_page(scans, out / 'report.html', zoo.modes())
    save_json(out / 'demo.json', rows)
    _print(rows, num_images, out / 'report.html')
    return rows


def _is_made(meta: Path, recipe: Recipe) -> bool:
    """Whether a complete set of this recipe exists."""
    try:
        made = read_json(meta) if meta.is_file() else {}
    except UserError:  # torn: it is made anew
        return False
    if not isinstance(made, dict) or made.get('recipe') != recipe.to_json():
        return False
    return set(made['counts']) == set(SPLITS)


def _row(mode: str, scan: ScanResult, metrics: dict[str, float]) -> dict[str, Any]:
    (statistics,) = scan.info.statistics['maps']
    strips = {name: statistics[name] for name in ('worst_row', 'worst_col')}
    worst = min(strips, key=lambda name: strips[name]['mean'])
    return {
        'padding': mode,
        'mAP': metrics['coco/bbox_mAP'],
        'AP.50': metrics['coco/bbox_mAP_50'],
        'mean score': statistics['mean'],
        'blind fraction': statistics['blind_fraction'],
        'worst strip': {'axis': worst[len('worst_') :], **strips[worst]},
        'report': str(scan.folder / 'report.html'),
    }


def _print(rows: list[dict[str, Any]], num_images: int, page: Path) -> None:
    table = Table(title=f'drawn lights on drawn streets: one scan, and mAP on {num_images} images')
    for name in ('padding', 'mAP', 'AP.50', 'mean score', 'blind fraction', 'worst strip'):
        table.add_column(name, justify='left' if name in ('padding', 'worst strip') else 'right')
    for row in rows:
        strip = row['worst strip']
        where = f'{strip["distance"]} px from {strip["side"]}: {strip["mean"]:.3f}'
        table.add_row(
            row['padding'],
            *(f'{row[name]:.3f}' for name in ('mAP', 'AP.50', 'mean score')),
            f'{row["blind fraction"]:.3f}',
            where,
        )
    console = Console()
    console.print(table)
    for row in rows:
        report = Path(row['report'])
        files = f'{report} and {report.with_name("heatmap.png")}'
        console.print(f'{row["padding"]}: {files}', soft_wrap=True, markup=False)
    console.print(f'side by side: {page}', soft_wrap=True, markup=False)
