"""Border loss of two detectors whose answer is known: trained with and without lights near borders."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindpad_mm.border import BorderResult, border_loss, percent, with_interval
from mindpad_mm.core.detector import DetectorFiles
from mindpad_mm.core.tables import Table
from mindpad_mm.report import report_border
from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights
from studies.evaluation import cut_objects
from studies.training import Training, train_all

# Distances of the lights from the borders in the two training sets, pixels.
MARGINS = (24, 0)
NAMES = {24: 'no lights within 24 px of a border', 0: 'lights everywhere'}
_EPOCHS = 6
_RECIPE = Recipe(num_train=1536, num_val=64, size=128, min_size=20, distractors=0.5, occluded=0.1)
# The photos in the training set are scaled by 0.27 to 0.53.
_ZOOM = 0.5
_CROPS = 24


@dataclasses.dataclass(frozen=True)
class ControlStudy:
    """The study's files.

    Attributes:
        config: Config of the detector, for images of 128 pixels.
        photos, crops: Photos and crops of lights that the sets are made of.
        data: Folder for the two sets.
        work_dir: Folder for the trainings and measurements.
        val_photos: Names of photos that are not trained on.
        minutes: Time of each measurement.
    """

    config: Path
    photos: Path
    crops: Path
    data: Path
    work_dir: Path
    val_photos: Sequence[str]
    minutes: float = 3

    def training(self, margin: int) -> Training:
        """The training on the set of one margin."""
        data = f'{self.data / f"margin{margin}"}/'
        parts = [f'{split}_dataloader.dataset.data_root' for split in ('train', 'val', 'test')]
        options: dict[str, Any] = dict.fromkeys(parts, data)
        options |= {
            f'{split}_evaluator.ann_file': f'{data}annotations/val.json'
            for split in ('val', 'test')
        }
        options |= {
            'train_cfg.max_epochs': _EPOCHS,
            'train_cfg.val_interval': _EPOCHS,
            'param_scheduler.1.end': _EPOCHS,
            'param_scheduler.1.T_max': _EPOCHS,
        }
        return Training(self.config, 0, self.work_dir / f'margin{margin}', options)

    def run(self, jobs: int = 1) -> dict[int, BorderResult]:
        """Make the sets, train, and measure; what is finished is reused.

        Args:
            jobs: Number of parallel trainings.

        Returns:
            The border loss by margin.
        """
        for margin in MARGINS:
            folder = self.data / f'margin{margin}'
            if not (folder / 'annotations' / 'val.json').is_file():
                recipe = dataclasses.replace(_RECIPE, margin=margin)
                make_traffic_lights(
                    folder, recipe, self.photos, self.crops, val_photos=self.val_photos, overwrite=True
                )  # fmt: skip
        train_all([self.training(margin) for margin in MARGINS], jobs)
        return {margin: self.measure(margin) for margin in MARGINS}

    def measure(self, margin: int) -> BorderResult:
        """Border loss of one training: held-out lights, pasted on held-out photos."""
        training = self.training(margin)
        meta = json.loads((self.data / f'margin{margin}' / 'meta.json').read_text('utf-8'))
        held_out = meta['lights']['val']
        crops = [self.crops / name for name in held_out[:: max(1, len(held_out) // _CROPS)]]
        out = self.work_dir / f'border_margin{margin}'
        result = border_loss(
            DetectorFiles(training.config, training.checkpoint, training.cfg_options),
            [self.photos / name for name in meta['photos']['val']],
            object=cut_objects(crops, self.work_dir / 'objects'),
            sizes=(20, 26, 32),
            zoom=_ZOOM,
            minutes=self.minutes,
            out=out,
            resume=out.is_dir(),
        )
        assert result is not None  # there is one process
        if not (out / 'report.html').is_file():
            report_border(result)
        return result


def control_markdown(results: dict[int, BorderResult]) -> str:
    """Verdicts and tables of the study."""
    parts = []
    for margin, result in results.items():
        rows = []
        for variant in result.info.variants:
            found = result.statistics[variant.name]['by_side']['all']
            cells = [with_interval(found['near']['open'])]
            cells += [
                with_interval(found[str(distance)]['padding_loss'])
                for distance in result.info.settings['distances']
            ]
            lost = found['0']
            cells.append(
                f'{percent(lost["lost_objects"]["mean"])} ({percent(lost["lost_in_control"]["mean"])})'
            )
            rows.append([variant.name, *cells])
        distances = [f'at {d} px' for d in result.info.settings['distances']]
        table = Table(['', 'open', *distances, 'lost at 0 px (in control)'], rows)
        verdict = '\n'.join(f'> {sentence}' for sentence in result.verdict)
        title = f'**Trained with {NAMES[margin]}**: padding loss by distance.'
        parts.append(f'{title}\n\n{verdict}\n\n{table.markdown()}')
    return '\n'.join(parts)
