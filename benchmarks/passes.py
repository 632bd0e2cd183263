"""Speed of whole passes as border loss and ``compare`` run them, against a loop and plain batches."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
from mmdet.apis import inference_detector
from mmengine.structures import InstanceData

from benchmarks.engines import LOOP
from benchmarks.goals import Metric
from benchmarks.real import real_detector
from benchmarks.timing import Turns, in_turns
from mindpad_mm.border.inputs import WindowInputs
from mindpad_mm.core.detector import in_channels_last
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.scenes import detect_images, paste
from mindpad_mm.incremental.whole_passes import faster_whole_passes
from mindpad_mm.scan.positions import position_boxes, scene_positions
from mindpad_mm.settings.border import BorderSettings

_PREDICT = 'batches of test_step'
_BORDER, _COMPARE = 'border loss', 'compare'
_COUNT = 16
_BATCH_SIZES = (1, 2, 4, 8, 16)


def measure(name: str, title: str, repeats: int, device: str = 'cpu') -> list[Metric]:
    """Time whole passes on windows with an object, and compare the scores of the object.

    Args:
        name: A detector of :mod:`benchmarks.real`.
        title: Its name in the metrics.
        repeats: Number of turns.
        device: Torch device of the detector.
    """
    model, scene, label = real_detector(name)
    model.to(device)
    ours = in_channels_last(copy.deepcopy(model))
    pixels = ScanObject.drawn(0).resized(32)
    positions = scene_positions(scene.photo, pixels.shape[:2], 1)
    chosen = positions[np.random.default_rng(0).choice(len(positions), _COUNT, replace=False)]
    boxes = position_boxes(chosen, pixels.shape[:2])
    windows = [paste(scene.pixels, pixels, row, col) for row, col in chosen]
    inputs = WindowInputs(ours, scene.pixels.shape[:2])
    found: dict[str, list[InstanceData]] = {}

    def loop() -> list[InstanceData]:
        return [inference_detector(model, window).pred_instances for window in windows]

    def predict(size: int) -> Callable[[], list[InstanceData]]:
        return lambda: [
            each
            for start in range(0, _COUNT, size)
            for each in detect_images(model, scene, windows[start : start + size])
        ]

    def border() -> list[InstanceData]:
        size = BorderSettings().batch_size
        results: list[InstanceData] = []
        for start in range(0, _COUNT, size):

            def floor(image: int, known: InstanceData, start: int = start) -> float:
                return float(match_each([known], label, boxes[[start + image]], 0.5).scores[0])

            results += inputs.detect(ours, windows[start : start + size], floor)
        return results

    def compare(size: int) -> list[InstanceData]:
        with faster_whole_passes(model):  # all detections, the model as it is loaded
            return predict(size)()

    def run(variant: str, function: Callable[[], list[InstanceData]]) -> Callable[[int], int]:
        def timed(turn: int) -> int:
            found[variant] = function()
            return _COUNT

        timed(-1)
        return timed

    sizes = {f'{_PREDICT}, {size}': run(_PREDICT, predict(size)) for size in _BATCH_SIZES}
    best = min(sizes, key=in_turns(sizes, 2, device).milliseconds)
    # compare takes the batches of the config: here the best one of plain batches.
    batch = int(best.split(', ')[1])
    runs = {LOOP: run(LOOP, loop), best: sizes[best]}
    runs |= {_BORDER: run(_BORDER, border), _COMPARE: run(_COMPARE, lambda: compare(batch))}
    turns: Turns = in_turns(runs, repeats, device)
    scores = {
        variant: match_each(each, label, boxes, 0.5).scores for variant, each in found.items()
    }
    apart = max(float(np.abs(scores[each] - scores[LOOP]).max()) for each in (_BORDER, _COMPARE))
    return [
        Metric(f'{title}: {each} / {over}', 1, True, turns.speed_ups(each, over),
               note=f'{turns.summary(each, over)} per window')
        for each in (_BORDER, _COMPARE)
        for over in (LOOP, best)
    ] + [
        Metric(f'{title}: whole passes, largest score difference', 1e-6, False, [apart], '')
    ]  # fmt: skip
