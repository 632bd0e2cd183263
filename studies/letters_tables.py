"""Tables, claims and a figure of the letters study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mindpad_mm.core.intervals import t_interval
from mindpad_mm.core.tables import Table
from studies.letters import MODES, SIZES

Model = dict  # a result of letters.run_one
_NORMS = {False: 'no batch norm', True: 'batch norm'}


def letters_markdown(results: dict[str, Any]) -> str:
    """All results of the study as Markdown.

    Args:
        results: The results of :func:`studies.letters.run_letters`.
    """
    models = results['models']
    parts = [_summary(results), accuracy_table(models).markdown(), swap_table(models).markdown()]
    parts += [perplexity_table(models).markdown(), shift_table(models).markdown()]
    return '\n'.join([*parts, claims_table(models).markdown()])


def accuracy_table(models: Sequence[Model]) -> Table:
    """Accuracy by input size and mode."""
    rows = []
    for size in reversed(SIZES):
        own = _group(models, size=size)
        cells = [_mean_sd([_own(m) for m in _group(own, mode=mode)]) for mode in MODES]
        rows.append([f'{size} x {size}', *cells, _mean_sd([_own(m) for m in own])])
    return Table(
        ['input', *MODES, 'all'], rows, 'Accuracy in %, mean ± sd over seeds and batch norm'
    )


def swap_table(models: Sequence[Model]) -> Table:
    """Accuracy by input size in training and in the test."""
    rows = [
        [f'trained at {size}']
        + [
            _mean_sd([m['accuracy'][str(test)] for m in _group(models, size=size)])
            for test in SIZES
        ]
        for size in reversed(SIZES)
    ]
    return Table(['', *(f'tested at {size}' for size in SIZES)], rows, 'Accuracy in %, mean ± sd')


def perplexity_table(models: Sequence[Model]) -> Table:
    """Perplexity by batch norm and input size."""
    rows = [
        [_NORMS[norm]]
        + [
            _mean_sd([_perplexity(m) for m in _group(models, batch_norm=norm, size=size)], 1, 3)
            for size in SIZES
        ]
        for norm in (True, False)
    ]
    return Table(['', *map(str, SIZES)], rows, 'Perplexity on the test set, mean ± sd')


def shift_table(models: Sequence[Model]) -> Table:
    """Error of letters shifted to the border, by mode, and by batch norm and input size."""
    rows = []
    for name, members in shift_groups(models).items():
        errors = np.array([m['shift_errors'] for m in members])
        sides = errors[:, [0, 2, 1, 1], [1, 1, 0, 2]].mean(0) * 100
        corners = errors[:, [0, 0, 2, 2], [0, 2, 0, 2]].mean() * 100
        cells = [errors[:, 1, 1].mean() * 100, *sides, corners]
        rows.append([name, *(f'{value:.1f}' for value in cells), _mean_sd(_excess(members))])
    columns = ['models', 'not shifted', 'up', 'down', 'left', 'right', 'into corners']
    title = (
        'Error in % of letters shifted to the border; excess: mean of the shifts minus not shifted'
    )
    return Table([*columns, 'excess ± sd'], rows, title)


def claims_table(models: Sequence[Model]) -> Table:
    """The report's claims, each with the measured paired difference and its 95 % interval."""
    zeros = _pairs(models, 'mode', 'circular', 'zeros')
    norms, sizes = _pairs(models, 'batch_norm', True, False), _pairs(models, 'size', 29, 28)
    trained = [(m, m) for m in _group(models, size=28)]
    # One difference per circular model, from the mean of the three other modes: differences that
    # share a model are not independent.
    others = [
        (
            circular,
            [
                twin
                for mode in MODES
                if mode != 'circular'
                for one, twin in _pairs(models, 'mode', 'circular', mode)
                if one is circular
            ],
        )
        for circular in _group(models, mode='circular')
    ]
    rows = [
        _claim('even input (29) is more accurate', '+0.8 points', sizes, _own, _own, 1),
        _claim('trained uneven, tested even: much worse', '-19 points', trained, _at_even, _own, -1),
        _claim('circular is a little less accurate than zeros', '-0.3 points', zeros, _own, _own, -1),
        _claim('batch norm does not change accuracy', 'about 0', norms, _own, _own, 0),
        _claim(
            'batch norm lowers perplexity', '-5 %', norms, _log_perplexity, _log_perplexity, -1
        ),
        _claim(
            'circular is the most robust to shifts (excess error, against the mean of the others)',
            'much lower', others, _one_excess, lambda twins: float(np.mean(_excess(twins))), -1,
        ),
        _claim('even input is more robust to shifts', 'a little', sizes, _one_excess, _one_excess, -1),
        _claim('batch norm is more robust to shifts', 'a little', norms, _one_excess, _one_excess, -1),
    ]  # fmt: skip
    columns = [
        'claim',
        'reported',
        'found, points (perplexity: %)',
        '95 % interval',
        'pairs',
        'here',
    ]
    return Table(columns, rows)


def shift_groups(models: Sequence[Model]) -> dict[str, list[Model]]:
    """The models by mode, and by batch norm and input size."""
    groups = {mode: _group(models, mode=mode) for mode in MODES}
    for norm in (False, True):
        for size in SIZES:
            groups[f'{_NORMS[norm]}, {size}'] = _group(models, batch_norm=norm, size=size)
    return groups


def draw_shifts(models: Sequence[Model], path: Path) -> None:
    """Save a PNG with the nine shift errors of each group as a heatmap."""
    groups = shift_groups(models)
    errors = {n: np.mean([m['shift_errors'] for m in g], 0) * 100 for n, g in groups.items()}
    figure = Figure((11, 6), layout='constrained')
    FigureCanvasAgg(figure)
    highest = max(error.max() for error in errors.values())
    for axes, (name, error) in zip(figure.subplots(2, 4).flat, errors.items()):
        image = axes.imshow(error, cmap='magma_r', vmin=0, vmax=highest)
        for (y, x), value in np.ndenumerate(error):
            colour = 'white' if value > highest / 2 else 'black'
            axes.text(x, y, f'{value:.0f}', ha='center', va='center', color=colour)
        axes.set(title=name, xticks=range(3), yticks=range(3))
        axes.set_xticklabels(['left', 'centre', 'right'])
        axes.set_yticklabels(['up', 'centre', 'down'])
    figure.colorbar(image, ax=figure.axes, label='error, %', shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _claim(
    claim: str,
    reported: str,
    pairs: Sequence[tuple[Model, Any]],
    ours: Callable[[Model], float],
    theirs: Callable[[Any], float],
    sign: int,
) -> list[str]:
    change = np.array([ours(one) - theirs(other) for one, other in pairs]) * 100
    interval = t_interval(change)
    if interval is None:
        return [claim, reported, f'{change.mean():+.2f}', '-', str(len(change)), 'undecided']
    low, high = interval
    if sign == 0:
        verdict = 'reproduced' if low <= 0 <= high else 'not reproduced'
    elif low <= 0 <= high:
        verdict = 'undecided'
    else:
        verdict = 'reproduced' if (low > 0) == (sign > 0) else 'not reproduced'
    found = f'[{low:+.2f}, {high:+.2f}]'
    return [claim, reported, f'{change.mean():+.2f}', found, str(len(change)), verdict]


def _pairs(models: Sequence[Model], field: str, one: Any, other: Any) -> list[tuple[Model, Model]]:
    """Pairs of models that differ only in one field: (with value ``one``, with value ``other``)."""
    fields = ('mode', 'batch_norm', 'size', 'seed')
    by_key = {tuple(m[f] for f in fields): m for m in models}
    pairs = []
    for model in _group(models, **{field: one}):
        twin = by_key.get(tuple(other if f == field else model[f] for f in fields))
        if twin is not None:
            pairs.append((model, twin))
    return pairs


def _group(models: Sequence[Model], **fields: Any) -> list[Model]:
    return [m for m in models if all(m[name] == value for name, value in fields.items())]


def _own(model: Model) -> float:
    return model['accuracy'][str(model['size'])]


def _at_even(model: Model) -> float:
    return model['accuracy'][str(SIZES[1])]


def _perplexity(model: Model) -> float:
    return model['perplexity'][str(model['size'])]


def _log_perplexity(model: Model) -> float:
    return float(np.log(_perplexity(model)))


def _one_excess(model: Model) -> float:
    errors = np.array(model['shift_errors'])
    return float((errors.sum() - errors[1, 1]) / 8 - errors[1, 1])


def _excess(models: Sequence[Model]) -> list[float]:
    return [_one_excess(model) for model in models]


def _mean_sd(values: Sequence[float], scale: float = 100, digits: int = 1) -> str:
    array = np.asarray(values) * scale
    spread = f' ± {array.std(ddof=1):.{digits}f}' if len(array) > 1 else ''
    return f'{array.mean():.{digits}f}{spread}'


def _summary(results: dict[str, Any]) -> str:
    source, models = results['source'], results['models']
    counts = ', '.join(f'{number} {part}' for part, number in source['counts'].items())
    seeds = sorted({model['seed'] for model in models})
    fonts = ''
    if 'fonts' in source:
        kinds = ', '.join(f'{len(names)} {part}' for part, names in source['fonts'].items())
        fonts = f' ({source["faces"]} font files; kinds of fonts, none in two splits: {kinds})'
    epochs = np.mean([model['epochs'] for model in models])
    return (
        f'{len(models)} models, seeds {", ".join(map(str, seeds))}. Data: {source["name"]}{fonts}; '
        f'images: {counts}. {epochs:.1f} epochs per model on average, '
        f'{results["cpu_seconds"] / 60:.0f} minutes of CPU time in total.\n'
    )
