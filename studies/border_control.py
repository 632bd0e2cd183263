"""When padding blinds a detector: border loss by where lights stood in training, and by padding mode.

Every training of :mod:`studies.border_grid` is tested in all modes on the same held-out photos with the
same held-out lights, and what ``diagnose`` says of it is kept beside its losses.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

from mindpad_mm.border import BorderResult, border_loss
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.diagnose import Subject, check_artifacts, check_foveation, check_padding_error
from mindpad_mm.traffic_lights.write import make_traffic_lights
from studies.border_grid import EPOCHS, LEAST_OPEN, RECIPE, UNIFORM, Cell, Lights
from studies.border_results import FOUND_THR, BorderResults
from studies.evaluation import cut_objects
from studies.traffic_lights import MODES
from studies.training import Training, train_all

# The photos in the training set are scaled by 0.27 to 0.53.
_ZOOM = 0.5
_SIZES = (20, 26, 32)
_CROPS = 24
_DIAGNOSED_PHOTOS = 4


@dataclasses.dataclass(frozen=True)
class ControlStudy:
    """The study's files.

    Attributes:
        config: Config of the detector.
        photos, crops: Photos and crops of lights that the sets are made of.
        data: Folder for the sets.
        work_dir: Folder for the trainings and measurements.
        val_photos: Names of photos that are not trained on.
        out: The JSON file of the results.
    """

    config: Path
    photos: Path
    crops: Path
    data: Path
    work_dir: Path
    val_photos: Sequence[str]
    out: Path

    def results(self) -> BorderResults:
        """The results so far."""
        return BorderResults.open(
            self.out,
            {
                'recipe': RECIPE.to_json(),
                'measurement': {'zoom': _ZOOM, 'sizes': list(_SIZES), 'found_thr': FOUND_THR},
            },
        )

    def training(self, cell: Cell, epochs: int = EPOCHS[0]) -> Training:
        """The training of a cell. All are validated on lights everywhere."""
        train, val = (f'{self.data / lights.name}/' for lights in (cell.lights, UNIFORM))
        options: dict[str, Any] = {
            'model.padding_cfg.mode': cell.mode,
            'custom_hooks': [{'type': 'ChannelsLast'}],
            'train_dataloader.dataset.data_root': train,
            'train_dataloader.dataset.pipeline.2.scale': (cell.size, cell.size),
            'train_cfg.max_epochs': epochs,
            'train_cfg.val_interval': epochs,
            'param_scheduler.1.end': epochs,
            'param_scheduler.1.T_max': epochs,
        }
        for split in ('val', 'test'):
            options[f'{split}_dataloader.dataset.data_root'] = val
            options[f'{split}_dataloader.dataset.pipeline.1.scale'] = (cell.size, cell.size)
            options[f'{split}_evaluator.ann_file'] = f'{val}annotations/val.json'
        more = '' if epochs == EPOCHS[0] else f'_{epochs}_epochs'
        return Training(self.config, cell.seed, self.work_dir / f'{cell.key}{more}', options)

    def make_set(self, lights: Lights) -> dict[str, Any]:
        """Make a set, or reuse it; its ``meta.json``."""
        folder = self.data / lights.name
        if not (folder / 'annotations' / 'val.json').is_file():
            make_traffic_lights(
                folder, lights.recipe, self.photos, self.crops, val_photos=self.val_photos, overwrite=True
            )  # fmt: skip
        return json.loads((folder / 'meta.json').read_text('utf-8'))

    def run(self, cells: Iterable[Cell], minutes: float = float('inf')) -> BorderResults:
        """Train and measure what is missing; results are kept after each training.

        Args:
            cells: The trainings, in this order.
            minutes: No further training is started after this time.
        """
        end = time.monotonic() + minutes * 60
        for cell in cells:
            if time.monotonic() > end:
                break
            if self.results().done(cell):
                continue
            for lights in (UNIFORM, cell.lights):
                self.make_set(lights)
            for epochs in cell.epochs:
                training = self.training(cell, epochs)
                train_all([training])
                begin = time.process_time()
                result = self.measure(training, cell)
                if open_score(result) >= LEAST_OPEN:
                    break
            diagnosis = self.diagnosis(training, cell)
            figures = {
                'epochs': training.epochs,
                'cpu_seconds': json.loads(training.cost.read_text('utf-8'))['cpu_seconds']
                if training.cost.is_file()
                else None,
                'measured_cpu_seconds': round(time.process_time() - begin, 1),
                'ap': validated(training.work_dir),
                'diagnosis': diagnosis,
            }
            # Read again: another process may have added its own.
            results = self.results()
            results.add(cell, result, **figures)
            results.save()
            print_log(f'{cell.key}: measured', 'current')
        return self.results()

    def measure(self, training: Training, cell: Cell) -> BorderResult:
        """Border loss of one training in all modes: held-out lights, pasted on held-out photos."""
        meta = self.make_set(cell.lights)
        held_out = meta['lights']['val']
        crops = [self.crops / name for name in held_out[:: max(1, len(held_out) // _CROPS)]]
        out = training.work_dir / 'border'
        result = border_loss(
            DetectorFiles(training.config, training.checkpoint, training.cfg_options),
            [self.photos / name for name in meta['photos']['val']],
            object=cut_objects(crops, self.work_dir / 'objects'),
            padding=[mode for mode in cell.test_modes if mode != cell.mode],
            sizes=_SIZES,
            zoom=_ZOOM,
            found_thr=FOUND_THR,
            max_objects=1,
            minutes=0,
            draws=100,
            batch_size=32,
            out=out,
            resume=out.is_dir(),
        )
        assert result is not None  # there is one process
        return result

    def diagnosis(self, training: Training, cell: Cell) -> dict[str, Any]:
        """What ``diagnose`` says of a training under each mode, on held-out photos.

        Returns:
            By mode: ``border_bias`` on random inputs and ``border_bias_photos``, the mean index over
            layers; ``padding_error``; ``foveation``, uses of the most used pixel divided by those of
            the least used one, smoothed over the stride.
        """
        subject = Subject.load(
            str(training.config), str(training.checkpoint), cfg_options=dict(training.cfg_options)
        )
        names = self.make_set(cell.lights)['photos']['val'][:_DIAGNOSED_PHOTOS]
        photos = [cv2.imread(str(self.photos / name)) for name in names]
        others = [mode for mode in MODES if mode != cell.mode]
        artifacts = check_artifacts(subject, photos, modes=others)
        errors = check_padding_error(subject, photos, modes=MODES)
        schemes = check_foveation(subject, modes=MODES).schemes
        used = {scheme.label.removesuffix(' (as it is)'): scheme for scheme in schemes}
        found: dict[str, Any] = {}
        for mode in MODES:
            layers = artifacts.responses[mode]
            bias = {
                kind: [b for b in (layer.overall(kind) for layer in layers) if b is not None]
                for kind in ('random', 'photos')
            }
            usage = used[mode].usage
            assert usage is not None
            ratio = usage.smooth_disparity(used[mode].stride)
            found[mode] = {
                'border_bias': round(float(np.mean(bias['random'])), 4),
                'border_bias_photos': round(float(np.mean(bias['photos'])), 4),
                'padding_error': round(errors.score(mode), 4),
                'foveation': round(float(ratio), 3) if np.isfinite(ratio) else None,
            }
        return found


def open_score(result: BorderResult) -> float:
    """Mean score of the lights far from every border, in the mode of the training."""
    return float(result.values[0, :, result.info.views.index('open'), 0].mean())


def validated(work_dir: Path) -> dict[str, float]:
    """``mAP`` and ``AP.50`` of the last validation that a Runner logged in its work dir."""
    found: dict[str, float] = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text('utf-8').splitlines():
            entry = json.loads(line)
            if 'coco/bbox_mAP' in entry:
                found = {'mAP': entry['coco/bbox_mAP'], 'AP.50': entry['coco/bbox_mAP_50']}
    return found
