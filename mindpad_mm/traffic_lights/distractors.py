"""Objects that resemble traffic lights, as BGRA cut-outs.

They are pasted into the scene like the lights, so that neither a pasted edge nor a bright red spot
identifies a traffic light.
"""

from __future__ import annotations

import cv2
import numpy as np

from mindpad_mm.core.drawing import smooth_noise

_SIDE = 64  # height of the drawn cut-outs, pixels; they are scaled down later


def distractor(scene: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make one distractor of a random kind.

    Args:
        scene: float32 BGR ``[H, W, 3]``, each side at least 16; decoys are cut from it.
        light: uint8 BGRA cut-out of a light; decoys take its outline.
        rng: Random numbers.

    Returns:
        uint8 BGRA.
    """
    kind = rng.choice(6, p=(0.16, 0.12, 0.16, 0.16, 0.16, 0.24))
    if kind == 5:
        return _decoy(scene, light, rng)
    return (_round_sign, _plate, _street_lamp, _tail_light, _dark_box)[kind](rng)


def _canvas(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)


def _join(colour: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add dirt to the colours and join them with alpha (0..1)."""
    dirt = 1 + 0.08 * smooth_noise(*alpha.shape, 4, rng)[..., None]
    bgr = (colour * dirt).clip(0, 255)
    return np.dstack([bgr, alpha.clip(0, 1) * 255]).round().astype(np.uint8)


def _bright(rng: np.random.Generator) -> tuple[float, ...]:
    """A signal colour: red, amber, green, blue or white (BGR)."""
    base = [(40, 40, 235), (30, 170, 250), (150, 215, 60), (210, 110, 40), (245, 245, 240)]
    colour = np.array(base[rng.integers(len(base))]) * rng.uniform(0.7, 1.05, 3)
    return tuple(colour.clip(0, 255).tolist())


def _round_sign(rng: np.random.Generator) -> np.ndarray:
    colour, alpha = _canvas(_SIDE, _SIDE)
    corners = int(rng.choice([3, 8, 60]))
    turn = rng.uniform(0, 2 * np.pi) if corners == 60 else np.pi / corners * (corners == 8)
    angles = turn - np.pi / 2 + 2 * np.pi * np.arange(corners) / corners
    for radius, paint in ((31, _bright(rng)), (23, _bright(rng))):
        points = 32 + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        points = [points.round().astype(np.int32)]
        cv2.fillPoly(colour, points, paint)
        if radius == 31:
            cv2.fillPoly(alpha, points, 1.0, cv2.LINE_AA)
    if rng.random() < 0.7:
        x = int(rng.integers(14, 40))
        dark = tuple(rng.uniform(0, 60, 3).tolist())
        cv2.rectangle(colour, (x, 26), (x + int(rng.integers(4, 24)), 38), dark, -1)
    return _join(colour, alpha, rng)


def _plate(rng: np.random.Generator) -> np.ndarray:
    """A street sign or poster: a coloured rectangle with rows of marks."""
    colour, alpha = _canvas(_SIDE, int(_SIDE * rng.uniform(0.4, 1.8)))
    alpha[:] = 1
    colour[:] = _bright(rng)
    marks = _bright(rng)
    for y in range(8, 56, int(rng.integers(10, 26))):
        for x in range(5, alpha.shape[1] - 8, int(rng.integers(8, 16))):
            cv2.rectangle(colour, (x, y), (x + 5, y + 6), marks, -1)
    return _join(colour, alpha, rng)


def _street_lamp(rng: np.random.Generator) -> np.ndarray:
    """A glowing globe on a post, sometimes in a signal's colour."""
    width = int(_SIDE * rng.uniform(0.35, 0.6))
    colour, alpha = _canvas(_SIDE, width)
    middle, radius = width // 2, int(width * rng.uniform(0.3, 0.48))
    colour[:] = rng.uniform(15, 70)
    cv2.rectangle(alpha, (middle - 2, radius), (middle + 2, _SIDE), 1.0, -1)
    cv2.circle(alpha, (middle, radius), radius, 1.0, -1, cv2.LINE_AA)
    glow = np.array(_bright(rng) if rng.random() < 0.6 else (190, 230, 255))
    ys, xs = np.mgrid[:_SIDE, :width]
    near = np.hypot(ys - radius, xs - middle) / radius
    colour += (near <= 1)[..., None] * (glow - colour)
    colour += np.exp(-4 * near**2)[..., None] * (255 - colour) * rng.uniform(0.2, 0.9)
    return _join(colour, alpha, rng)


def _tail_light(rng: np.random.Generator) -> np.ndarray:
    """A car's tail light: red or amber, without a housing around each lamp."""
    width = int(_SIDE * rng.uniform(0.4, 1.4))
    colour, alpha = _canvas(_SIDE, width)
    cv2.ellipse(alpha, (width // 2, 32), (width // 2 - 1, 31), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    colour[:] = np.array((25, 20, 150)) * rng.uniform(0.5, 1.2)
    if rng.random() < 0.5:
        colour[: int(rng.integers(15, 40))] = (20, 110, 200)
    lens = (int(rng.integers(8, 56)), int(rng.integers(4, max(5, width - 4))))
    near = np.hypot(*(np.mgrid[:_SIDE, :width] - np.array(lens)[:, None, None])) / 18
    colour += np.exp(-(near**2))[..., None] * (np.array((120, 110, 255)) - colour)
    return _join(colour, alpha, rng)


def _dark_box(rng: np.random.Generator) -> np.ndarray:
    """A dark upright box as high as a light: plain, or with a loudspeaker, slats or a lit window."""
    width = int(_SIDE * rng.uniform(0.3, 0.6))
    colour, alpha = _canvas(_SIDE, width)
    alpha[:] = 1
    colour[:] = rng.uniform(12, 75)
    kind = rng.integers(4)
    if kind == 1:  # a loudspeaker: grey rings
        for y in rng.choice([12, 32, 52], 2, replace=False):
            grey = float(rng.uniform(20, 150))
            cv2.circle(colour, (width // 2, int(y)), int(width * 0.36), (grey,) * 3, 2, cv2.LINE_AA)
    elif kind == 2:  # slats
        for y in range(6, _SIDE - 4, int(rng.integers(6, 12))):
            cv2.line(colour, (3, y), (width - 4, y), (float(rng.uniform(60, 130)),) * 3, 2)
    elif kind == 3:  # a lit window
        x, y = int(width * 0.2), int(rng.integers(6, 30))
        pale = (150 * rng.uniform(0.6, 1.4), 215.0, 235.0)
        cv2.rectangle(colour, (x, y), (width - x, y + int(rng.integers(10, 28))), pale, -1)
    return _join(colour, alpha, rng)


def _decoy(scene: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A piece of the scene with the outline of a light, half the time with one bright spot."""
    h, w = scene.shape[:2]
    ph, pw = int(rng.integers(8, h // 2 + 1)), int(rng.integers(8, w // 2 + 1))
    y, x = int(rng.integers(0, h - ph + 1)), int(rng.integers(0, w - pw + 1))
    size = (light.shape[1], light.shape[0])
    piece = cv2.resize(scene[y : y + ph, x : x + pw], size, None, 0, 0, cv2.INTER_AREA)
    if rng.random() < 0.5:
        rows, columns = np.mgrid[: size[1], : size[0]]
        centre = rng.uniform(0.1, 0.9, 2) * light.shape[:2]
        near = np.hypot(rows - centre[0], columns - centre[1]) / (0.2 * size[0])
        piece = piece + np.exp(-(near**2))[..., None] * (np.array(_bright(rng)) - piece)
    return np.dstack([piece.clip(0, 255), light[..., 3]]).round().astype(np.uint8)
