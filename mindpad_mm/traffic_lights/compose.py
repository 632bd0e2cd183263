"""Paste one traffic light into one scene: cut out, resize, match the lighting, blend, occlude.

Scenes are BGR, float32 in 0..255, ``[height, width, 3]``; cut-outs are BGRA, and their colours are not
multiplied by alpha.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

# Smallest alpha of a visible pixel. The box of an object is the extent of its visible pixels.
VISIBLE = 32


def cut_out(crop: np.ndarray) -> np.ndarray:
    """Separate a light from the background in the corners of its tight crop.

    GrabCut runs with the middle of the crop as foreground. If its result is implausible (housing and
    sky have the same colour), the light is taken to be a rectangle with rounded corners.

    Args:
        crop: uint8 BGR ``[h, w, 3]``, or BGRA, whose alpha is kept.

    Returns:
        uint8 BGRA, as large as the visible part of the crop.
    """
    if crop.shape[2] == 4:
        return trim(crop)
    h, w = crop.shape[:2]
    mask = np.full((h, w), cv2.GC_PR_BGD, np.uint8)
    mask[:, max(1, int(0.12 * w)) : min(w - 1, int(np.ceil(0.88 * w)))] = cv2.GC_PR_FGD
    mask[int(0.1 * h) : int(0.9 * h), int(0.35 * w) : int(np.ceil(0.65 * w))] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # GrabCut's clusters are random; the same crop must give the same cut-out
    cv2.grabCut(crop, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    front = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    front = cv2.morphologyEx(front, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    front = cv2.morphologyEx(front, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    labels = cv2.connectedComponents(front)[1]
    front = (labels == labels[h // 2, w // 2]) & (front > 0)
    alpha = cv2.GaussianBlur(front.astype(np.float32) * 255, (0, 0), max(0.5, 0.025 * w))
    spans = front.any(1).mean() > 0.75 and front.any(0).mean() > 0.45
    # A housing is about as wide in every row; a ragged shape means that GrabCut followed the sky.
    widths = front.sum(1)[front.any(1)]
    if not (spans and 0.35 < front.mean() < 0.97 and np.percentile(widths, 15) > 0.33 * w):
        alpha = _soft_rectangle(h, w) * 255
    return trim(np.dstack([crop, alpha.round().astype(np.uint8)]))


def _soft_rectangle(h: int, w: int) -> np.ndarray:
    """Alpha in 0..1, ``[h, w]``: 80 % of the width, with rounded corners and a soft edge."""
    ys = np.abs(np.arange(h) + 0.5 - h / 2)[:, None] - 0.47 * h + 0.2 * w
    xs = np.abs(np.arange(w) + 0.5 - w / 2)[None] - 0.2 * w
    distance = 0.2 * w - np.hypot(ys.clip(0), xs.clip(0))
    return (distance / max(1.0, 0.06 * w)).clip(0, 1)


def trim(bgra: np.ndarray) -> np.ndarray:
    """Crop a cut-out to its visible pixels (alpha >= VISIBLE) and clear the alpha of the others."""
    visible = bgra[..., 3] >= VISIBLE
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    if not len(rows):
        raise ValueError('the cut-out has no visible pixel')
    trimmed = bgra[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    trimmed[trimmed[..., 3] < VISIBLE, 3] = 0
    return trimmed


def resize(bgra: np.ndarray, height: int, widest: int, rng: np.random.Generator) -> np.ndarray:
    """Scale a cut-out, change its aspect ratio by up to 10 %, and mirror it half the time.

    Args:
        bgra: uint8 cut-out ``[h, w, 4]``.
        height: Height to scale to, pixels. The result is lower if it would be wider than
            ``widest``, and can be about a pixel lower after trimming.
        widest: Maximum width, pixels.
        rng: Random numbers.

    Returns:
        uint8 BGRA, trimmed to its visible pixels.
    """
    proportion = bgra.shape[1] / bgra.shape[0] * rng.uniform(0.9, 1.1)
    height = max(3, min(height, int(widest / proportion)))
    width = min(widest, max(3, round(height * proportion)))
    shrinks = height < bgra.shape[0]
    out = bgra.astype(np.float32)
    out[..., :3] *= out[..., 3:] / 255  # colours of transparent pixels must not bleed in
    out = cv2.resize(
        out, (width, height), None, 0, 0, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    out[..., :3] *= 255 / np.maximum(out[..., 3:], 1)
    if rng.random() < 0.5:
        out = out[:, ::-1]
    return trim(out.clip(0, 255).round().astype(np.uint8))


def match(bgra: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Match a cut-out to the scene around it: brightness, colour cast, haze, sharpness.

    Args:
        bgra: uint8 cut-out ``[h, w, 4]``.
        place: float32 BGR, the scene around the cut-out's position, of any size.
        rng: Random numbers.

    Returns:
        float32 BGRA of the same shape, with unchanged alpha.
    """
    alpha = bgra[..., 3:].astype(np.float32)
    colour = bgra[..., :3].astype(np.float32)
    around = place.reshape(-1, 3).mean(0)
    # Lit lamps are bright and saturated; the scene's lighting affects them less.
    peak = colour.max(2, keepdims=True)
    lamp = ((peak - colour.min(2, keepdims=True)) / 120).clip(0, 1) * (peak > 120)
    ambient = (around.mean() + 50) / (np.median(colour) + 90)
    gain = np.clip(ambient**0.5 * rng.uniform(0.8, 1.2), 0.45, 1.6)
    cast = ((around + 40) / (around.mean() + 40)) ** 0.6
    lit = colour * (1 + (1 - lamp) * (gain * cast - 1))
    lit = (lit - lit.mean()) * rng.uniform(0.85, 1.15) + lit.mean()
    haze = rng.uniform(0, 0.3) if rng.random() < 0.4 else rng.uniform(0, 0.1)
    lit += haze * (around - lit)
    if rng.random() < 0.4:
        lit = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.3, 0.4 + bgra.shape[0] / 60))
    return np.dstack([lit.clip(0, 255), alpha])


def blend(scene: np.ndarray, bgra: np.ndarray, top: int, left: int) -> None:
    """Paste a cut-out into ``scene``, in place, its top-left pixel at (top, left)."""
    h, w = bgra.shape[:2]
    window = scene[top : top + h, left : left + w]
    window += (bgra[..., 3:].astype(np.float32) / 255) * (bgra[..., :3] - window)


def surroundings(scene: np.ndarray, top: int, left: int, h: int, w: int) -> np.ndarray:
    """The part of ``scene`` within half the object's size of its box, clipped to the scene."""
    dy, dx = h // 2 + 1, w // 2 + 1
    return scene[max(0, top - dy) : top + h + dy, max(0, left - dx) : left + w + dx]


def occlude(
    scene: np.ndarray, bgra: np.ndarray, top: int, left: int, rng: np.random.Generator
) -> float:
    """Hide part of a light at (top, left) behind a pole, leaves or a piece of the scene, in place.

    Returns:
        Hidden share of the light's visible pixels, 0..0.5. An occluder that would hide more is not
        drawn; 0 is returned.
    """
    h, w = bgra.shape[:2]
    shape = _OCCLUDERS[rng.integers(len(_OCCLUDERS))]
    cover, paint = shape(scene, h, w, top, left, rng)
    pad = (cover.shape[0] - h) // 2
    inside = cover[pad : pad + h, pad : pad + w]
    visible = bgra[..., 3] >= VISIBLE
    hidden = float(inside[visible].mean())
    if hidden > 0.5:
        return 0.0
    y0, x0 = max(0, pad - top), max(0, pad - left)
    window = scene[max(0, top - pad) : top + h + pad, max(0, left - pad) : left + w + pad]
    part = np.s_[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]]
    window += cover[part][..., None] * (paint[part] - window)
    return hidden


def _pole(
    scene: np.ndarray, h: int, w: int, top: int, left: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    pad = h // 4
    cover = np.zeros((h + 2 * pad, w + 2 * pad), np.float32)
    x = pad + rng.uniform(0.1, 0.9) * w
    lean = rng.uniform(-0.5, 0.5) * w
    thick = max(1, round(rng.uniform(0.15, 0.4) * w))
    ends = (round(x - lean), -2), (round(x + lean), cover.shape[0] + 2)
    cv2.line(cover, *ends, 1.0, thick, cv2.LINE_AA)
    shade = rng.uniform(0.5, 1.4, (1, cover.shape[1], 1))  # streaks along the pole
    colour = scene[top : top + h, left : left + w].mean((0, 1)) * rng.uniform(0.3, 1.1)
    return cover.clip(0, 1), np.broadcast_to(colour * shade, (*cover.shape, 3)).clip(0, 255)


def _leaves(
    scene: np.ndarray, h: int, w: int, top: int, left: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    pad = h // 3
    cover = np.zeros((h + 2 * pad, w + 2 * pad), np.float32)
    paint = np.zeros((*cover.shape, 3), np.float32)
    green = np.array([rng.uniform(15, 60), rng.uniform(60, 130), rng.uniform(30, 110)])
    middle = np.array([pad + rng.choice([0.0, 1.0]) * w, pad + rng.uniform(0, 1) * h])
    paint[:] = green * 0.6
    for x, y in middle + rng.normal(0, 0.22, (40, 2)) * (h + w) / 2:
        axes = (
            max(1, round(rng.uniform(0.03, 0.1) * h)),
            max(1, round(rng.uniform(0.02, 0.05) * h)),
        )
        leaf = (round(x), round(y)), axes, rng.uniform(0, 180), 0, 360
        cv2.ellipse(cover, *leaf, 1.0, -1, cv2.LINE_AA)
        cv2.ellipse(paint, *leaf, (green * rng.uniform(0.4, 1.4)).clip(0, 255).tolist(), -1)
    return cover.clip(0, 1), paint


def _piece(
    scene: np.ndarray, h: int, w: int, top: int, left: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A piece of the same scene covers the object from one side."""
    cover = np.zeros((h, w), np.float32)
    share = rng.uniform(0.15, 0.5)
    if rng.random() < 0.5:
        cover[: max(1, round(share * h))] = 1
    else:
        cover[:, : max(1, round(share * w))] = 1
    if rng.random() < 0.5:
        cover = cover[::-1, ::-1]
    y = rng.integers(0, scene.shape[0] - h + 1)
    x = rng.integers(0, scene.shape[1] - w + 1)
    soft = cv2.GaussianBlur(np.ascontiguousarray(cover), (0, 0), 0.6)
    return soft, scene[y : y + h, x : x + w].copy()


_OCCLUDERS: tuple[Callable, ...] = (_pole, _leaves, _piece)


def develop(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply a camera's exposure, white balance, blur and noise to a scene with its lights.

    Scene and lights get the same noise and sharpness, so that these do not give the lights away.

    Returns:
        uint8 BGR of the same shape.
    """
    if rng.random() < 0.25:
        scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.3, 0.8))
    gamma = rng.uniform(0.75, 1.35)
    out = 255 * (scene.clip(0, 255) / 255) ** gamma * rng.uniform(0.92, 1.08, 3)
    out += rng.normal(0, rng.uniform(0.5, 6), scene.shape)
    return out.clip(0, 255).round().astype(np.uint8)
