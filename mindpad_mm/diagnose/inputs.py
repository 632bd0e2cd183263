"""Input images of the checks: drawn streets, crops of photos, and random images."""

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
    """The given photos; if there are none, drawn streets.

    Args:
        photos: (H, W, 3) uint8 BGR, of any sizes.
        size: (height, width) of a drawn street, pixels; raised to at least 16.
        count: Number of streets to draw.
        seed: Seed of the streets.
    """
    height, width = (max(side, _SMALLEST_STREET) for side in size)
    return list(photos) or [
        draw_street(height, width, np.random.default_rng([seed, index])) for index in range(count)
    ]


def cover(photo: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Scale a photo to fill a window, keeping the aspect ratio, and crop its centre.

    Args:
        photo: (H, W, 3) uint8.
        size: (height, width) of the window, pixels.

    Returns:
        (height, width, 3) uint8, and the scale (above 1 if the photo was enlarged).
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
    """Stationary noise with the amplitude spectrum of natural images.

    The amplitude falls as 1 / frequency (Field, 1987), from four waves per image on. Deep layers
    respond to it; white noise would be averaged out by the first layers. The noise is stationary and
    periodic in the image size, so any difference between border and interior is caused by the
    network.

    Args:
        size: (height, width), pixels.
        count: Number of images.
        seed: The same seed gives the same images.

    Returns:
        (height, width, 3) uint8 BGR, mean about 128.
    """
    rng = np.random.default_rng([seed, 2])
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1]))
    # Longer waves would make opposite ends of a small map differ.
    frequency = np.maximum(frequency, _LONGEST_WAVES / min(size))
    frequency[0, 0] = np.inf
    images = []
    for _ in range(count):
        # Four fields: one common to all channels, and a weaker one for each channel.
        white = np.fft.rfft2(rng.normal(size=(4, *size)))
        fields = np.fft.irfft2(white / frequency, s=size)
        fields /= fields.std((1, 2), keepdims=True) + np.finfo(float).tiny
        pixels = _GREY + _CONTRAST * (fields[:1] + _COLOURED * fields[1:])
        images.append(pixels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    return images
