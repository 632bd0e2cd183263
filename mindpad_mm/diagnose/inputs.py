"""What the checks feed a network: streets, windows of photos, and random images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mindpad_mm.core.drawing import draw_street

_GREY, _CONTRAST, _COLOURED = 127.5, 48.0, 0.35
_LONGEST_WAVES = 4
_SMALLEST_STREET = 16


def photos_or_streets(
    photos: Sequence[np.ndarray], size: tuple[int, int], count: int, seed: int
) -> list[np.ndarray]:
    """The photos as they are; without any, drawn streets.

    Args:
        photos: (H, W, 3) uint8 BGR, of any sizes.
        size: (height, width) of a drawn street, pixels; at least 16 are drawn.
        count: How many streets to draw.
        seed: Of the streets.
    """
    height, width = (max(side, _SMALLEST_STREET) for side in size)
    return list(photos) or [
        draw_street(height, width, np.random.default_rng([seed, index])) for index in range(count)
    ]


def cover(photo: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The middle of a photo, scaled just enough to fill a window; its aspect is kept.

    Args:
        photo: (H, W, 3) uint8.
        size: (height, width) of the window, pixels.

    Returns:
        (height, width, 3) uint8, and the scale; above 1 the photo was enlarged.
    """
    height, width = size
    scale = max(height / photo.shape[0], width / photo.shape[1])
    if scale != 1:
        shape = (
            max(width, round(photo.shape[1] * scale)),
            max(height, round(photo.shape[0] * scale)),
        )
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        photo = cv2.resize(photo, shape, interpolation=interpolation)
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return np.ascontiguousarray(photo[top : top + height, left : left + width]), scale


def random_images(size: tuple[int, int], count: int, seed: int) -> list[np.ndarray]:
    """Noise with the spectrum of photos, in which no place differs from any other.

    Amplitude falls as 1 / frequency, as in natural images (Field, 1987), from four waves an image
    on, so deep layers respond to
    it, where white noise is averaged away by the first ones. It is periodic in the image's size:
    there is no border in it, and what a network shows at the border is the network's doing.

    Args:
        size: (height, width), pixels.
        count: How many.
        seed: The same seed gives the same images.

    Returns:
        (height, width, 3) uint8 BGR, mean about 128.
    """
    rng = np.random.default_rng([seed, 2])
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1]))
    # Waves longer than a quarter of the image would make one end of a small map unlike the other.
    frequency = np.maximum(frequency, _LONGEST_WAVES / min(size))
    frequency[0, 0] = np.inf
    images = []
    for _ in range(count):
        # Four fields: one in common, and a fainter one for each channel.
        white = np.fft.rfft2(rng.normal(size=(4, *size)))
        fields = np.fft.irfft2(white / frequency, s=size)
        fields /= fields.std((1, 2), keepdims=True) + np.finfo(float).tiny
        pixels = _GREY + _CONTRAST * (fields[:1] + _COLOURED * fields[1:])
        images.append(pixels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    return images
