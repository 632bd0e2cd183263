"""Which figure of ``diagnose`` tells how much padding costs near a border."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from mindpad_mm.border.losses import measures
from mindpad_mm.core.tables import Table
from studies.border_estimates import NEAR
from studies.border_grid import UNIFORM, Cell, grid
from studies.border_results import FOUND_THR, BorderResults
from studies.traffic_lights import MODES

NAMES = {
    'border_bias': 'border-bias index, random inputs',
    'border_bias_photos': 'border-bias index, photos',
    'padding_error': 'padding error',
    'foveation': 'foveation (most / least used pixel)',
}
FIGURES = tuple(NAMES)
_DRAWS = 1000


@dataclasses.dataclass(frozen=True)
class Tested:
    """One training under one mode.

    Attributes:
        cell: The training.
        mode: The mode of the test.
        figures: What ``diagnose`` says, by :data:`FIGURES`.
        padding_loss: To :data:`NEAR` pixels.
        cut: Mean score near the border.
    """

    cell: Cell
    mode: str
    figures: dict[str, float]
    padding_loss: float
    cut: float


def all_tests(results: BorderResults, cells: Sequence[Cell]) -> list[Tested]:
    """All measured trainings under the modes that they were tested in."""
    found = []
    for cell in cells:
        near = results.probes(cell.size)['distance'] <= NEAR
        for mode in results.content['trainings'][cell.key]['tests']:
            values = measures(results.scores(cell, mode), FOUND_THR)
            found.append(
                Tested(
                    cell,
                    mode,
                    results.content['trainings'][cell.key]['diagnosis'][mode],
                    float(values['padding_loss'][near].mean()),
                    float(values['cut'][near].mean()),
                )
            )
    return found


def correlation(pairs: Sequence[Tested], figure: str, seed: int = 0) -> tuple[float, float, float]:
    """Spearman's rank correlation of a figure with padding loss, with a 95 % interval.

    The interval is a bootstrap over trainings, with all of their tests.

    Returns:
        The correlation, low and high; NaN where the figure does not vary.
    """
    keys = sorted({pair.cell.key for pair in pairs})
    rows = {
        key: np.array([(p.figures[figure], p.padding_loss) for p in pairs if p.cell.key == key])
        for key in keys
    }
    rng = np.random.default_rng(seed)
    whole = _rank_correlation(np.concatenate(list(rows.values())))
    drawn = []
    for _ in range(_DRAWS):
        chosen = rng.integers(len(keys), size=len(keys))
        drawn.append(_rank_correlation(np.concatenate([rows[keys[index]] for index in chosen])))
    known = np.array(drawn)[np.isfinite(drawn)]
    if not len(known):
        return whole, np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return whole, float(low), float(high)


def _rank_correlation(pairs: np.ndarray) -> float:
    if any(np.ptp(column) == 0 for column in pairs.T):
        return np.nan
    # Five times as fast as scipy's spearmanr, which also computes a p-value.
    return float(np.corrcoef(stats.rankdata(pairs, axis=0).T)[0, 1])


def gain_of_choice(pairs: Sequence[Tested], figure: str | None) -> tuple[np.ndarray, list[str]]:
    """What it gains to swap each training to the mode that a figure favours.

    Args:
        pairs: All tested modes of each training.
        figure: The mode with the least of it is chosen. None: the mode with the best score, which only
            hindsight knows.

    Returns:
        (trainings,) change of the mean score near the border, and the modes chosen.
    """
    by_training: dict[str, list[Tested]] = {}
    for pair in pairs:
        by_training.setdefault(pair.cell.key, []).append(pair)
    gains, chosen = [], []
    for tests in by_training.values():
        own = next(test for test in tests if test.mode == test.cell.mode)
        best = (
            max(tests, key=lambda test: test.cut)
            if figure is None
            else min(tests, key=lambda test: test.figures[figure])
        )
        gains.append(best.cut - own.cut)
        chosen.append(best.mode)
    return np.array(gains), chosen


def prediction_tables(results: BorderResults) -> list[str]:
    """How well each figure predicts, and what it gains to follow it; none of fewer than 3 trainings."""
    cells = [cell for cell in grid() if results.done(cell) and cell.size == 128]
    if len(cells) < 3:
        return []
    pairs = all_tests(results, cells)
    own = [pair for pair in pairs if pair.mode == pair.cell.mode]
    zeros = [pair for pair in own if pair.mode == 'zeros']
    groups = {
        f'all {len(pairs)} pairs of training and test mode': pairs,
        f'{len(own)} trainings in their own mode': own,
        f'{len(zeros)} trained and tested with zeros': zeros,
    }
    rows = []
    for figure in FIGURES:
        cells_of = []
        for chosen in groups.values():
            mean, low, high = correlation(chosen, figure)
            text = 'does not vary' if np.isnan(mean) else f'{mean:+.2f} [{low:+.2f}, {high:+.2f}]'
            cells_of.append(f'**{text}**' if low > 0 or high < 0 else text)
        rows.append([NAMES[figure], *cells_of])
    first = Table(
        ['', *groups],
        rows,
        f"**Which figure of `diagnose` predicts padding loss within {NEAR} px**: Spearman's rank "
        'correlation [95 % interval over trainings]; evenness does not vary at 128 px',
    ).markdown()
    return [_side_by_side(own), first, _choices(pairs)]


def _side_by_side(own: Sequence[Tested]) -> str:
    """The figures of the trainings in their own mode, beside their losses."""
    groups: dict[tuple[str, str], list[Tested]] = {}
    for pair in own:
        groups.setdefault((pair.cell.lights.description, pair.mode), []).append(pair)
    rows = []
    for (lights, mode), pairs in groups.items():
        columns = [[pair.figures[figure] for pair in pairs] for figure in FIGURES]
        columns.append([pair.padding_loss for pair in pairs])
        cells = [
            f'{np.mean(column):.2f}'
            + (f' ({min(column):.2f} to {max(column):.2f})' if len(column) > 1 else '')
            for column in columns
        ]
        rows.append([lights, mode, str(len(pairs)), *cells])
    return Table(
        ['lights in training', 'mode', 'seeds', *NAMES.values(), f'padding loss within {NEAR} px'],
        rows,
        '**What `diagnose` says of each training in its own mode**: mean (least to most of the seeds)',
    ).markdown()


def _choices(pairs: Sequence[Tested]) -> str:
    sets = {
        'lights off the borders in training': [
            p for p in pairs if p.cell.lights.positions == 'centre' and not p.cell.lights.share
        ],
        'lights everywhere': [p for p in pairs if p.cell.lights == UNIFORM],
    }
    sets = {name: [p for p in chosen if p.cell.mode == 'zeros'] for name, chosen in sets.items()}
    rows = []
    for figure in (*FIGURES, None):
        row = ['the best, in hindsight' if figure is None else f'least {NAMES[figure]}']
        for chosen in sets.values():
            if not chosen:
                row.append('')
                continue
            gains, modes = gain_of_choice(chosen, figure)
            counts = ', '.join(f'{modes.count(m)} {m}' for m in MODES if m in modes)
            row.append(f'{gains.mean():+.2f} [{gains.min():+.2f} to {gains.max():+.2f}]: {counts}')
        rows.append(row)
    return Table(
        ['mode chosen by', *sets],
        rows,
        f'**What it gains to swap a zeros-padded detector to the mode that a figure favours**: change of '
        f'the mean score within {NEAR} px [least to most of the trainings]',
    ).markdown()
