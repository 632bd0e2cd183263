"""Windows as a detector's input: through its own test pipeline, or padded as an image first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mindpad_mm.border.probes import Size
from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.scenes import (
    Background,
    Scene,
    black_and_white,
    detect_images,
    in_grey,
    make_scene,
    photo_part,
)
from mindpad_mm.core.weights import check_detections, finite_outputs
from mindpad_mm.incremental.whole_batch import ScoreFloor
from mindpad_mm.incremental.whole_passes import faster_whole_passes
from mindpad_mm.padding.hidden import hidden_padding
from mindpad_mm.settings.border import AUTO, INPUT_PADDING

# The grey that MMDetection's own configs pad with.
_GREY = 114


def _scene(model: nn.Module, pixels: np.ndarray) -> Scene:
    background = Background(pixels, 'a window')
    if isinstance(model, CallableDetector):
        return model.make_scene(background, 'image')
    return make_scene(background, model.cfg, 'image')


def _canvases(model: nn.Module, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """(C, H, W) inputs that the test pipeline makes of a black and of a white image."""
    return black_and_white(_scene(model, np.zeros((*size, 3), np.uint8)).pipeline, size)


def window_size(model: nn.Module, photo: Size, wanted: Size | None = None) -> Size:
    """The size of windows, which the network sees pixel for pixel.

    Args:
        model: The detector.
        photo: (height, width) of the photo, pixels.
        wanted: The size to check. Default: the part of the network's input that the photo fills,
            letterbox bars and other padding not counted.

    Raises:
        UserError: The test pipeline resizes images of that size.
    """
    size = wanted or _part_size(model, photo)
    again = _part_size(model, size)
    if again != size:
        advice = (
            'choose that' if wanted else 'windows need a pipeline that leaves its own output alone'
        )
        raise UserError(
            f'`window`: the test pipeline resizes {size[0]} x {size[1]} pixels (height x width) to '
            f'{again[0]} x {again[1]}: {advice}'
        )
    return size


def _part_size(model: nn.Module, size: Size) -> Size:
    return photo_part(*_canvases(model, size)).lengths


def fill_value(model: nn.Module, fill: str, window: Size) -> tuple[int, int, int]:
    """The colour beyond the cut, (B, G, R) in 0..255; see :class:`BorderSettings`.

    Raises:
        UserError: The detector has no such value.
    """
    if fill.isdecimal():
        return (int(fill),) * 3
    pad, mean = _pad_value(model, window), _mean(model)
    if fill == 'pad' and pad is None:
        raise UserError("`fill`: the test pipeline pads with nothing: choose 'mean' or a number")
    if fill == 'mean' and mean is None:
        raise UserError("`fill`: the data preprocessor has no mean: choose 'pad' or a number")
    chosen = {'pad': [pad], 'mean': [mean], AUTO: [pad, mean, (_GREY,) * 3]}[fill]
    return next(value for value in chosen if value is not None)


def _pad_value(model: nn.Module, window: Size) -> tuple[int, int, int] | None:
    for size in ((window[0], window[1] // 2), (window[0] // 2, window[1])):
        first, second = _canvases(model, size)
        same = (first == second).all(0)
        if same.any() and first.dtype == np.uint8 and len(first) in (1, 3):
            blue, green, red = np.broadcast_to(first[:, same][:, 0], 3).tolist()
            return blue, green, red
    return None


def _mean(model: nn.Module) -> tuple[int, int, int] | None:
    preprocessor = getattr(model, 'data_preprocessor', None)
    if not getattr(preprocessor, '_enable_normalize', False):
        return None
    mean = preprocessor.mean.flatten().expand(3).tolist()  # type: ignore[union-attr]
    if preprocessor._channel_conversion:  # type: ignore[union-attr]
        mean = mean[::-1]
    blue, green, red = (int(np.clip(round(value), 0, 255)) for value in mean)
    return blue, green, red


def hidden_in(model: nn.Module, window: Size) -> tuple[str, ...]:
    """Where a detector pads in its own code, where no swap reaches; with module, file and line.

    Args:
        model: The detector.
        window: (height, width) of the windows, pixels.
    """
    inputs = WindowInputs(model, window)
    black = np.zeros((*window, 3), np.uint8)
    return tuple(map(str, hidden_padding(model, lambda: inputs.detect(model, [black]))))


class WindowInputs:
    """Runs a detector on windows of one size.

    Args:
        model: The detector, or one of the same config.
        window: (height, width) of the windows, pixels.
        padding: How the windows are padded as images, a key of ``INPUT_PADDING``. Default: not at all;
            they go through the test pipeline.
        width: Of that padding, pixels on every side.
        fill: (B, G, R) of the padding ``'constant'``.
    """

    def __init__(
        self,
        model: nn.Module,
        window: Size,
        padding: str | None = None,
        width: int = 0,
        fill: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        self._scene = _scene(model, np.zeros((*window, 3), np.uint8))
        self._padding, self._width, self._fill = padding, width, fill
        self._checked = False
        if padding is None:
            return
        first, second = _canvases(model, window)
        if first.dtype != np.uint8:
            raise UserError(
                '`input_padding`: the test pipeline gives no 8-bit input that could be padded'
            )
        self._photo = photo_part(first, second)
        grown = (first.shape[0], first.shape[1] + 2 * width, first.shape[2] + 2 * width)
        bars = first[:, (first == second).all(0)]
        self._canvas = np.zeros(grown, np.uint8)
        if bars.size:
            self._canvas[:] = bars[:, :1, None]
        sample = self._scene.pack([np.zeros((*window, 3), np.uint8)])['data_samples'][0]
        size = grown[1:]
        shapes = dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), size)
        self._metainfo = {**sample.metainfo, **shapes, 'scale_factor': (1.0, 1.0)}

    def detect(
        self,
        model: nn.Module,
        windows: Sequence[np.ndarray],
        score_floor: ScoreFloor = lambda index, found: 0.0,
    ) -> list[InstanceData]:
        """Final detections of each window, boxes in its pixels.

        Args:
            model: The detector.
            windows: (H, W, 3) uint8 BGR.
            score_floor: From the index of a window and its detections so far to a score: detections
                below it may be missing. Default: none is.

        Raises:
            UserError: At the first call, the outputs of the detector cannot be right.
        """
        if self._checked:
            return self._detect(model, windows, score_floor)
        with finite_outputs(model):
            found = self._detect(model, windows, score_floor)
        for each in found:
            check_detections(each)
        self._checked = True
        return found

    def _detect(
        self, model: nn.Module, windows: Sequence[np.ndarray], score_floor: ScoreFloor
    ) -> list[InstanceData]:
        if self._padding is None:
            with faster_whole_passes(model, score_floor):
                return detect_images(model, self._scene, windows)
        inputs = [torch.from_numpy(self._padded(window)) for window in windows]
        samples = [DetDataSample(metainfo=self._metainfo) for _ in windows]
        offset = [self._photo.left + self._width, self._photo.top + self._width] * 2

        def moved(found: InstanceData) -> InstanceData:
            boxes = found.bboxes - found.bboxes.new_tensor(offset)
            return InstanceData(bboxes=boxes, scores=found.scores, labels=found.labels)

        def floor(index: int, found: InstanceData) -> float:
            return score_floor(index, moved(found))

        with torch.inference_mode(), faster_whole_passes(model, floor):
            results = model.test_step({'inputs': inputs, 'data_samples': samples})
        return [moved(result.pred_instances) for result in results]

    def _padded(self, window: np.ndarray) -> np.ndarray:
        n = self._width
        widths = ((n, n), (n, n))
        if self._padding == 'constant':
            planes = [
                np.pad(window[..., c], widths, constant_values=self._fill[c]) for c in range(3)
            ]
            image = np.stack(planes)
        else:
            mode = INPUT_PADDING[str(self._padding)]
            image = np.pad(window, (*widths, (0, 0)), mode=mode).transpose(2, 0, 1)  # type: ignore[call-overload]
        canvas = self._canvas.copy()
        if len(canvas) == 1:
            image = in_grey(np.ascontiguousarray(image.transpose(1, 2, 0)))[None]
        (top, left), (height, width) = self._photo.starts, image.shape[1:]
        canvas[:, top : top + height, left : left + width] = image
        return canvas
