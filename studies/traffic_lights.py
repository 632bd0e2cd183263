"""Effects of padding on a small SSD for traffic lights, with several trainings per setting."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from mindpad_mm.core.detector import versions
from mindpad_mm.core.errors import UserError
from studies.evaluation import METRICS, Evaluation, cut_objects
from studies.paired_tests import paired_difference, summary
from studies.training import Training, train_all

MODES = ('zeros', 'reflect', 'symmetric', 'replicate', 'circular', 'partial')
# (input size, mode): all modes at 128, where padding is uneven, and two at 129, where it is even.
SETTINGS = (*((128, mode) for mode in MODES), (129, 'zeros'), (129, 'reflect'))
REFERENCE = 'zeros'
DRAWS = 500
# Names of the scan's overall statistics that the study uses.
SCAN_STATISTICS = (
    'mean', 'blind_fraction', 'zero_fraction', 'worst_row.mean', 'worst_col.mean', 'flicker.max',
    'flicker.mean', 'edge_drop.top', 'edge_drop.bottom', 'edge_drop.left', 'edge_drop.right',
    'grid_phase.share', 'grid_phase.amplitude',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Study:
    """The study's files and seeds.

    Attributes:
        configs: Folder of ``ssd<size>_<mode>_traffic-light.py``.
        work_dir: Folder of the trainings, which are in ``<config>/seed<seed>``.
        data: Folder of the traffic-light set that the configs name, with ``meta.json``.
        photos: Folder of the set's photos.
        crops: Folder of the set's crops of lights.
        seeds: Seeds of the trainings.
    """

    configs: Path
    work_dir: Path
    data: Path
    photos: Path
    crops: Path
    seeds: Sequence[int] = (0, 1, 2)

    def training(self, size: int, mode: str, seed: int) -> Training:
        """One training of the study."""
        config = self.configs / f'ssd{size}_{mode}_traffic-light.py'
        return Training(config, seed, self.work_dir / config.stem / f'seed{seed}')

    def trainings(self) -> list[Training]:
        """All trainings: every setting with the first seed, then with the next."""
        return [self.training(*setting, seed) for seed in self.seeds for setting in SETTINGS]

    def backgrounds(self) -> list[Path]:
        """The photos to scan: three streets of the val split.

        Raises:
            UserError: The set does not exist, or they are not in its val split.
        """
        wanted = ('000000000064.jpg', '000000000471.jpg', '000000000532.jpg')
        held_out = self._held_out('photos')
        missing = [name for name in wanted if name not in held_out]
        if missing:
            raise UserError(f'{self.data}: photo {missing[0]} must be in the val split')
        return [self.photos / name for name in wanted]

    def scan_options(self) -> dict[str, Any]:
        """Arguments of the scans: a red and a green light of the val split, 20 px high, on three streets.

        A stride of 3 px meets all phases of grids of 4, 8 and 16 px.
        """
        held_out = self._held_out('lights')
        crops = [
            self.crops / next(name for name in held_out if name.startswith(colour))
            for colour in ('red', 'green')
        ]
        return {
            'scene': [str(path) for path in self.backgrounds()],
            'object': cut_objects(crops, self.work_dir / 'objects'),
            'sizes': [20],
            'stride': 3,
        }

    def _held_out(self, kind: str) -> list[str]:
        path = self.data / 'meta.json'
        try:
            meta = json.loads(path.read_text('utf-8'))
        except OSError as error:
            raise UserError(
                f'{path}: {error.strerror}; make the set with tools/make_traffic_lights.py'
            ) from error
        return (meta[kind] or {}).get('val', [])  # None if photos or lights are drawn


def run_study(study: Study, jobs: int = 1) -> dict[str, Any]:
    """Train and evaluate all settings. Existing results are reused.

    Args:
        study: The study.
        jobs: Number of parallel trainings.

    Returns:
        The results as JSON types, see :func:`collect`.
    """
    study.scan_options()  # report faults of the data before hours of training
    train_all(study.trainings(), jobs)
    return collect(study)


def collect(study: Study) -> dict[str, Any]:
    """Evaluate the finished trainings and compare settings by seed.

    Returns:
        ``runs``: setting (``128 zeros``) -> seed -> ``figures`` (the metrics), ``scan`` and
        ``layers``; ``settings``: means and standard deviations over seeds; ``differences`` of the
        :func:`comparisons`, see :func:`paired_difference`; ``missing``: trainings that are not
        finished; ``cpu_seconds``: their ``mean`` over the ``trainings`` that were not interrupted;
        ``seeds``, ``draws``, ``scan`` arguments and ``versions``.
    """
    options, photos = study.scan_options(), study.backgrounds()
    runs: dict[str, dict[str, Any]] = {}
    drawn: dict[str, dict[int, np.ndarray]] = {}
    missing, costs = [], []
    pairs = [(s, seed) for seed in study.seeds for s in SETTINGS]
    for (size, mode), seed in track(pairs, 'evaluating'):
        name = setting_name(size, mode)
        training = study.training(size, mode, seed)
        if not training.checkpoint.is_file():
            missing.append(f'{name} seed {seed}')
            continue
        evaluation = Evaluation(training)
        metrics, resampled = evaluation.metrics(DRAWS)
        overall = evaluation.scan(options)['overall']
        runs.setdefault(name, {})[str(seed)] = {
            'figures': metrics,
            'scan': {k: overall[k]['mean'] for k in SCAN_STATISTICS if k in overall},
            'layers': evaluation.layers(photos),
        }
        drawn.setdefault(name, {})[seed] = resampled
        if training.cost.is_file():
            costs.append(json.loads(training.cost.read_text('utf-8'))['cpu_seconds'])
    return {
        'runs': runs,
        'settings': {name: _summaries(by_seed.values()) for name, by_seed in runs.items()},
        'differences': dict(_differences(runs, drawn)),
        'missing': missing,
        'cpu_seconds': {
            'trainings': len(costs),
            'mean': round(float(np.mean(costs)), 1) if costs else None,
        },
        'seeds': list(study.seeds),
        'draws': DRAWS,
        'scan': {k: _file_names(v) for k, v in options.items()},
        'versions': versions(),
    }


def setting_name(size: int, mode: str) -> str:
    """Name of a setting in the results."""
    return f'{size} {mode}'


def comparisons() -> list[tuple[str, str]]:
    """(setting, reference): each mode with zeros at its size, and the even with the uneven size."""
    to_zeros = [((size, mode), (size, REFERENCE)) for size, mode in SETTINGS if mode != REFERENCE]
    to_uneven = [((size, mode), (128, mode)) for size, mode in SETTINGS if size != 128]
    return [(setting_name(*one), setting_name(*other)) for one, other in to_zeros + to_uneven]


def _differences(
    runs: dict[str, Any], drawn: dict[str, dict[int, np.ndarray]]
) -> Iterable[tuple[str, dict[str, Any]]]:
    for one, other in comparisons():
        seeds = [s for s in runs.get(one, {}) if s in runs.get(other, {})]
        if not seeds:
            continue
        found: dict[str, Any] = {}
        for column, name in enumerate(METRICS):
            values = _values(runs, one, seeds, 'figures', name)
            theirs = _values(runs, other, seeds, 'figures', name)
            if values is None or theirs is None:
                continue
            draws = [np.stack([drawn[k][int(s)][:, column] for s in seeds]) for k in (one, other)]
            found[name] = paired_difference(values, theirs, *draws)
        for part in ('scan', 'layers'):
            for name in runs[one][seeds[0]][part]:
                values = _values(runs, one, seeds, part, name)
                theirs = _values(runs, other, seeds, part, name)
                if values is not None and theirs is not None:
                    found[_key(part, name)] = paired_difference(values, theirs)
        yield f'{one} - {other}', found


def _values(
    runs: dict[str, Any], setting: str, seeds: Sequence[str], part: str, name: str
) -> list[float] | None:
    values = [runs[setting][seed][part].get(name) for seed in seeds]
    return None if None in values else values


def _summaries(by_seed: Iterable[dict[str, dict[str, float | None]]]) -> dict[str, Any]:
    by_seed = list(by_seed)
    summaries: dict[str, Any] = {'seeds': len(by_seed)}
    for part in ('figures', 'scan', 'layers'):
        for name in by_seed[0][part]:
            values = [run[part].get(name) for run in by_seed]
            if None not in values:
                summaries[_key(part, name)] = summary(values)
    return summaries


def _key(part: str, name: str) -> str:
    return name if part == 'figures' else f'{part}.{name}'


def _file_names(value: Any) -> Any:
    """Reduce paths to file names; other values stay unchanged."""
    if isinstance(value, (list, tuple)):
        return [_file_names(one) for one in value]
    return Path(value).name if isinstance(value, str) else value
