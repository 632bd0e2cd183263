"""Try everything on one config of MMDetection."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmdet
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from benchmarks.agreement import compare_engines
from benchmarks.ties import Query
from breadth.configs import SIZE, size_of, small_config
from mindpad_mm import swap_padding
from mindpad_mm.border import border_loss
from mindpad_mm.core.detector import detector_classes, lowered_thresholds
from mindpad_mm.core.errors import UserError, one_line
from mindpad_mm.core.loading import load_detector
from mindpad_mm.core.scenes import Background, Scene, make_scene
from mindpad_mm.diagnose import DiagnoseSettings, Subject, diagnose
from mindpad_mm.padding.layers import PaddedLayer
from mindpad_mm.scan.engines import FullEngine, IncrementalEngine
from mindpad_mm.testing.detectors import dense_head, random_object, settle

_MODE = 'reflect'
# Random weights rarely give a box with a high IoU.
_IOU_THR = 0.1
_DIAGNOSED = 64
"""Side of the input for the diagnosis, pixels."""
CHECKS = ('evenness', 'foveation', 'filters', 'padding_error')
"""The checks that need no more than a few forward passes."""
_BATCH = 4

_INSTALLED = f'{Path(mmdet.__file__).parents[1]}/'


class Probe:
    """One config, and the detector that it gives; each method is a step.

    A step returns what it found as JSON types, and raises what goes wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = size_of(path)
        self.config: Config
        self.model: nn.Module
        self.scene: Scene | None = None

    def builds(self) -> dict[str, Any]:
        """Whether it builds, as it is and with ``padding_cfg``, with the same initial weights."""
        self.config = small_config(self.path)
        self.config.merge_from_dict(lowered_thresholds(self.config))
        self.model = load_detector(self.config, None)
        padded = self.config.copy()
        padded.model['padding_cfg'] = _MODE
        other = load_detector(padded, None)
        weights, others = self.model.state_dict(), other.state_dict()
        equal = weights.keys() == others.keys() and all(
            torch.equal(weights[key], others[key]) for key in weights
        )
        swapped = sum(isinstance(module, PaddedLayer) for module in other.modules())
        kind = self.config.model.type
        return {
            'type': kind if isinstance(kind, str) else kind.__name__,
            'equal_weights': equal,
            'swapped_by_config': swapped,
        }

    def swaps(self) -> dict[str, Any]:
        """Layers swapped and named; shapes and, back in zeros, values of the dense outputs."""
        self._settle()
        before = self._dense()
        report = swap_padding(self.model, _MODE)
        swapped = self._dense()
        reasons: dict[str, int] = {}
        for layer in report.skipped:
            reason = f'{layer.kind}: {layer.reason}'
            reasons[reason] = reasons.get(reason, 0) + 1
        swap_padding(self.model, 'zeros')
        after = self._dense()
        return {
            'swapped': len(report.swapped),
            'named': len(report.skipped),
            'reasons': reasons,
            'outputs': len(before),
            'shapes_equal': [x.shape for x in before] == [x.shape for x in swapped],
            'values_changed': any(
                x.shape != y.shape or not torch.equal(x, y) for x, y in zip(before, swapped)
            ),
            'zeros_bit_equal': all(map(torch.equal, before, after)),
        }

    def engines(self) -> dict[str, Any]:
        """The incremental engine against the full engine at borders and in the middle."""
        scene = self._scene()
        pixels = random_object()
        last = np.array(scene.size) - pixels.shape[:2]
        positions = np.array([(0, 0), last // 2, (last[0], 3), last])
        label = self._label(scene, pixels, positions)
        swap_padding(self.model, _MODE)
        arguments = self.model, scene, pixels, _BATCH, label, _IOU_THR
        agreement = compare_engines(
            self.path.parent.name,
            _MODE,
            FullEngine(*arguments),
            IncrementalEngine(*arguments),
            Query(label, _IOU_THR),
            positions,
        )
        swap_padding(self.model, 'zeros')
        return {**agreement.to_json(), 'unexplained': len(agreement.unexplained)}

    def diagnoses(self) -> dict[str, Any]:
        """The checks that ran, and the reasons of those that are not possible."""
        photo = Background.drawn(1).pixels
        side = self.size if self.size > SIZE else _DIAGNOSED
        subject = Subject(self.model, (side, side), self.path.stem)
        suite = diagnose(subject, DiagnoseSettings(checks=CHECKS, modes=(_MODE,)), [photo])
        return {'ran': list(suite.diagnoses), 'refused': suite.refused, 'seconds': suite.seconds}

    def border(self) -> dict[str, Any]:
        """A border loss of a pasted object in one photo."""
        classes = detector_classes(self.model)
        result = border_loss(
            self.model,
            # Some test pipelines keep the photo's size; windows of that size need room in it.
            [np.tile(Background.drawn(1).pixels, (2, 2, 1))],
            object=[random_object()],
            label=classes[0],
            distances=(0,),
            sides=('top', 'bottom'),
            zoom=1.0,
            iou_thr=_IOU_THR,
            minutes=0,
            draws=100,
            max_objects=1,
        )
        assert result is not None
        return {'variants': [variant.name for variant in result.info.variants]}

    def _scene(self) -> Scene:
        if self.scene is None:
            self.scene = make_scene(Background.drawn(1), self.config)
        return self.scene

    def _settle(self) -> None:
        """Weights whose scores vary; those of the config's initialisation where that fails."""
        if not (hasattr(self.model, 'bbox_head') or hasattr(self.model, 'rpn_head')):
            return
        weights = {key: value.clone() for key, value in self.model.state_dict().items()}
        try:
            settle(self.model, self._scene(), least_variance=1)
        except Exception as error:  # heads that take more than feature maps
            print(f'{self.path.stem}: initial weights: {one_line(error)}', file=sys.stderr)
            self.model.load_state_dict(weights)
            self.model.eval()

    def _dense(self) -> list[Tensor]:
        subject = Subject(self.model, (self.size, self.size))
        photo = subject.fitted(Background.drawn(1).pixels)
        with torch.inference_mode():
            outputs = tree_flatten(subject.dense(subject.preprocess([photo])))[0]
        return [output.clone() for output in outputs if isinstance(output, Tensor)]

    def _label(self, scene: Scene, pixels: np.ndarray, positions: np.ndarray) -> int:
        """The class that the detector sees most surely in the middle."""
        dense_head(self.model)  # engines are compared on its outputs
        found = FullEngine(self.model, scene, pixels).detect(positions[1:2])[0]
        return int(found.labels[found.scores.argmax()]) if len(found.scores) else 0


STEPS: tuple[str, ...] = ('builds', 'swaps', 'engines', 'border', 'diagnoses')
"""Methods of :class:`Probe` in the order they run."""


def run(path: Path) -> Iterator[dict[str, Any]]:
    """What each step finds, or why not; nothing follows a config that does not build."""
    probe = Probe(path)
    for name in STEPS:
        step: Callable[[], dict[str, Any]] = getattr(probe, name)
        started = time.perf_counter()
        try:
            found: dict[str, Any] = {'found': step()}
        except Exception as error:  # every kind of failure is what this program looks for
            kind = 'refused' if isinstance(error, UserError) else 'failed'
            # The reasons are read on other machines.
            found = {kind: one_line(error).replace(_INSTALLED, '')}
        yield {'step': name, 'seconds': round(time.perf_counter() - started, 1), **found}
        if name == 'builds' and 'found' not in found:
            return
