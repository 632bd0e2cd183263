"""Backgrounds, and the scenes made from them, into which objects are pasted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mindpad_mm.core.drawing import draw_street
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import list_images, read_image
from mindpad_mm.core.loading import config_faults
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.weights import check_detections, finite_outputs

DRAWN_SIZE = (480, 640)
# In pixels. The object's blurred edge lies outside its mask, so a larger area is inpainted.
_HOLE_MARGIN = 3
_INPAINT_RADIUS = 5


@dataclass(frozen=True)
class Background:
    """A photo.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        source: Description of where the photo comes from.
    """

    pixels: np.ndarray
    source: str

    @classmethod
    def drawn(cls, seed: int = 0) -> Background:
        """Draw a street of 480 x 640 pixels; the same seed gives the same pixels."""
        street = draw_street(*DRAWN_SIZE, np.random.default_rng([seed, 0]))
        return cls(street, f'drawn street {seed}')


def load_backgrounds(
    paths: Sequence[PathLike], holes: Mapping[Path, np.ndarray] | None = None
) -> list[Background]:
    """Read photos, and inpaint the holes that cut-out objects left in them.

    Args:
        paths: Image files, or folders of image files.
        holes: (H, W) bool masks of cut-out objects by resolved path of the photo. Default: none.

    Raises:
        UserError: A file is missing or not a readable image.
    """
    backgrounds = []
    for path in list_images(paths):
        pixels, source = read_image(path, what='background'), str(path)
        hole = (holes or {}).get(path.resolve())
        if hole is not None:
            size = 2 * _HOLE_MARGIN + 1
            grown = cv2.dilate(hole.astype(np.uint8), np.ones((size, size), np.uint8))
            pixels = cv2.inpaint(pixels, grown, _INPAINT_RADIUS, cv2.INPAINT_NS)
            source += ' with the object taken out'
        backgrounds.append(Background(pixels, source))
    return backgrounds


def paste(scene: np.ndarray, pixels: np.ndarray, row: int, col: int) -> np.ndarray:
    """Blend an object into a copy of a scene.

    With the object's alpha ``a`` (0..255), each channel becomes
    ``(a * object + (255 - a) * scene + 127) // 255``. This is integer arithmetic, so that the
    result can be reproduced exactly.

    Args:
        scene: (H, W, 3) uint8 BGR.
        pixels: (h, w, 4) uint8 BGRA with straight alpha.
        row, col: The scene's pixel at the object's top left. The object must lie inside the scene.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    height, width = pixels.shape[:2]
    pasted = scene.copy()
    window = pasted[row : row + height, col : col + width]
    alpha = pixels[..., 3:].astype(np.uint32)
    window[...] = (alpha * pixels[..., :3] + (255 - alpha) * window + 127) // 255
    return pasted


class Part(NamedTuple):
    """A rectangle of a scene, pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def starts(self) -> tuple[int, int]:
        """(top, left)."""
        return self.top, self.left

    @property
    def lengths(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


@dataclass(frozen=True)
class Scene:
    """Pixels to paste objects into, and how pasted images become the detector's input.

    In space ``input``, the scene is the network's input: the background after the config's test
    pipeline and before the data preprocessor. In space ``image``, the scene is the background
    itself, and the pipeline runs on every pasted image.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        source: The background's source.
        space: ``'input'`` or ``'image'``.
        pipeline: The config's test pipeline, with arrays as input instead of files.
        metainfo: Space ``input`` only: the pipeline's metainfo for the scene as an input image.
            Original and input shape are those of the scene, and the scale factor is 1.
        scale: Pixels of the network's input per pixel of the scene, (vertical, horizontal).
        photo: The part of the scene that the photo fills. The rest is what the test pipeline pads.
            Default: the whole scene.
        grey: Space ``input`` only: whether the network's input has one channel. The scene then has three
            equal ones.
    """

    pixels: np.ndarray
    source: str
    space: str
    pipeline: Compose = field(repr=False, compare=False)
    metainfo: dict[str, Any] = field(repr=False, compare=False)
    scale: tuple[float, float] = (1.0, 1.0)
    photo: Part = None  # type: ignore[assignment]  # filled in below
    grey: bool = False

    def __post_init__(self) -> None:
        if self.photo is None:
            object.__setattr__(self, 'photo', Part(0, 0, *self.size))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def pack(self, images: Sequence[np.ndarray]) -> dict[str, Any]:
        """Make a batch for ``model.test_step``, whose detections will be in pixels of the scene.

        Args:
            images: (H, W, 3) uint8 BGR images of the scene's size.
        """
        if self.space == 'image':
            packed = [self.pipeline({'img': image, 'img_id': 0}) for image in images]
            return {key: [data[key] for data in packed] for key in ('inputs', 'data_samples')}
        planes = [in_grey(image)[..., None] if self.grey else image for image in images]
        inputs = [torch.from_numpy(plane).permute(2, 0, 1).contiguous() for plane in planes]
        samples = [DetDataSample(metainfo=self.metainfo) for _ in images]
        return {'inputs': inputs, 'data_samples': samples}


def make_scene(background: Background, config: Config, space: str = 'input') -> Scene:
    """Make a scene from a background with a config's test pipeline.

    Args:
        background: The photo.
        config: An MMDetection config with a ``test_dataloader``.
        space: ``'input'`` (default) or ``'image'``, see :class:`Scene`.

    Raises:
        UserError: The pipeline cannot be built or run, or does not give a single model input. For
            space ``input``: the pipeline does not give 8-bit BGR pixels, or changes them if they
            pass through it again.
    """
    pipeline = _array_pipeline(config)
    with config_faults(f'the test pipeline in the config fails on {background.source}'):
        data = pipeline({'img': background.pixels, 'img_id': 0})
    advice = "use `space='image'`"
    if not isinstance(data, dict) or 'inputs' not in data:
        raise UserError(
            'the test pipeline gives no model input: its last step must be PackDetInputs'
        )
    if not isinstance(data['inputs'], torch.Tensor):
        raise UserError(
            'the test pipeline makes several inputs from one image (test-time augmentation): '
            'a scan needs a pipeline that makes one'
        )
    inputs = data['inputs'].permute(1, 2, 0).contiguous().numpy()
    size = background.pixels.shape[0], background.pixels.shape[1]
    photo = photo_part(*black_and_white(pipeline, size))
    if space == 'image':
        scale = (photo.height / size[0], photo.width / size[1])
        return Scene(background.pixels, background.source, space, pipeline, {}, scale)
    channels = inputs.shape[2]
    if channels == 1:
        inputs = np.repeat(inputs, 3, axis=2)
    if inputs.dtype != np.uint8 or inputs.shape[2] != 3:
        raise UserError(
            f'the test pipeline gives {inputs.dtype} pixels in {inputs.shape[2]} channels, '
            f'not 8-bit BGR or grey, so objects cannot be pasted into the input: {advice}'
        )
    again = pipeline({'img': inputs, 'img_id': 0})
    if not np.array_equal(again['inputs'].permute(1, 2, 0).numpy(), inputs[..., :channels]):
        raise UserError(
            f'the test pipeline changes its own output when that passes through it again, so '
            f'MMDetection alone could not reproduce a pasted scene: {advice}'
        )
    metainfo = again['data_samples'].metainfo
    return Scene(
        inputs, background.source, space, pipeline, metainfo, photo=photo, grey=channels == 1
    )


def black_and_white(pipeline: Compose, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The network's inputs (C, H, W) that a test pipeline makes of a black and of a white photo.

    Args:
        pipeline: As in :attr:`Scene.pipeline`.
        size: (height, width) of the photos, pixels.
    """
    black, white = (
        pipeline({'img': np.full((*size, 3), value, np.uint8), 'img_id': 0})['inputs'].numpy()
        for value in (0, 255)
    )
    return black, white


def photo_part(black: np.ndarray, white: np.ndarray) -> Part:
    """The part of the network's input that depends on the photo.

    Args:
        black, white: What :func:`black_and_white` gives.

    Raises:
        UserError: No part depends on it.
    """
    differing = (black != white).any(0)
    rows, cols = (np.flatnonzero(differing.any(axis)).tolist() for axis in (1, 0))
    if not rows:
        raise UserError(
            'the test pipeline makes the same input of a black and of a white photo, so the photo '
            'cannot be told from what is padded around it'
        )
    return Part(rows[0], cols[0], rows[-1] + 1 - rows[0], cols[-1] + 1 - cols[0])


def _array_pipeline(config: Config) -> Compose:
    steps = [dict(step) for step in get_test_pipeline_cfg(config) or ()]
    if not steps:
        raise UserError('the test pipeline in the config is empty: it must load and pack an image')
    loading: list[Any] = []
    if steps[0].get('color_type') == 'grayscale':
        loading = [_load_in_grey]
    steps[0]['type'] = 'mmdet.LoadImageFromNDArray'
    steps = [step for step in steps if 'Annotations' not in str(step['type'])]
    scope = DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmdet'))
    with scope, config_faults('the test pipeline in the config cannot be built'):
        return Compose([*loading, *steps])


def _load_in_grey(results: dict[str, Any]) -> dict[str, Any]:
    """A step of a pipeline: what loading with ``color_type='grayscale'`` does to a photo."""
    return {**results, 'img': in_grey(results['img'])}


def in_grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of (H, W, 3) BGR, as OpenCV reads a photo in grey; equal channels stay as they are."""
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)


def detect_images(
    model: nn.Module, scene: Scene, images: Sequence[np.ndarray]
) -> list[InstanceData]:
    """Run a detector's test step on one batch of images.

    Args:
        model: The detector.
        scene: The scene that the images were made from.
        images: N (H, W, 3) uint8 BGR images of the scene's size.

    Returns:
        Final detections of the N images; boxes are in pixels of the scene.
    """
    with torch.inference_mode():
        results = model.test_step(scene.pack(images))
    return [result.pred_instances for result in results]


def detect_first(model: nn.Module, scene: Scene) -> InstanceData:
    """The detections in a scene, with a check that the detector's outputs can be right.

    Raises:
        UserError: A layer's output, a box or a score is not finite.
    """
    with finite_outputs(model):
        found = detect_images(model, scene, [scene.pixels])[0]
    check_detections(found)
    return found
