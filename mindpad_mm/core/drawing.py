"""Drawings of traffic lights and street scenes, which need no photos."""

from __future__ import annotations

import cv2
import numpy as np

LIT = ('red', 'yellow', 'green')
# BGR of a lit lamp. Unlit lamps have a dark shade of the same colour.
_LAMP_BGR = {'red': (40, 45, 245), 'yellow': (40, 185, 255), 'green': (165, 230, 60)}
Seed = int | np.random.Generator | None


def draw_light(height: int, lit: str = 'red', rng: Seed = None) -> np.ndarray:
    """Draw a vertical traffic light with three lamps, anti-aliased.

    Args:
        height: Height in pixels, at least 4.
        lit: The lamp that is on: ``'red'`` (default), ``'yellow'`` or ``'green'``.
        rng: Generator or seed of proportions and colours. Default: seed 0. The same seed gives the
            same pixels.

    Returns:
        (height, width, 4) uint8 BGRA with straight alpha, cropped to the light. The width is 0.36
        to 0.46 of the height.

    Raises:
        ValueError: The height is below 4, or ``lit`` is unknown.
    """
    if height < 4:
        raise ValueError(f'height is {height}: a traffic light needs at least 4 pixels')
    if lit not in LIT:
        raise ValueError(f'lit is {lit!r}: choose one of {", ".join(LIT)}')
    rng = np.random.default_rng(0 if rng is None else rng)
    width = max(2, round(height * rng.uniform(0.36, 0.46)))
    # Drawn large and shrunk by area averaging, so that shapes are the same at every size and alpha
    # is the share of a pixel that the light covers.
    factor = max(2, -(-160 // height))
    h, w = height * factor, width * factor

    shade = rng.uniform(18, 60)
    body = np.array([shade * rng.uniform(0.9, 1.15), shade, shade * rng.uniform(0.9, 1.15)])
    if rng.random() < 0.2:  # the yellow housings of some towns
        body = np.array([30, 150, 190]) * rng.uniform(0.6, 1.0)
    has_plate = rng.random() < 0.35
    alpha = _rounded_rectangle(h, w, (0, 0, w, h), 0.12 * w if has_plate else 0.22 * w)
    picture = np.empty((h, w, 3), np.float32)
    picture[:] = rng.uniform(8, 35) if has_plate else body
    inset = (0.14 * w if has_plate else 0.0, 0.05 * h if has_plate else 0.0)
    box = (inset[0], inset[1], w - inset[0], h - inset[1])
    if has_plate:
        housing = _rounded_rectangle(h, w, box, 0.15 * w)[..., None]
        picture += housing * (body - picture)
    # Shading from side to side, as on a cylinder.
    side = np.linspace(-1, 1, w, dtype=np.float32)[None, :, None] * rng.uniform(-0.25, 0.25)
    picture *= 1 + side

    pitch = (box[3] - box[1]) / 3
    radius = min(0.40 * pitch, 0.40 * (box[2] - box[0]))
    for index, colour in enumerate(LIT):
        centre = ((box[0] + box[2]) / 2, box[1] + (index + 0.5) * pitch)
        _draw_lamp(picture, centre, radius, np.array(_LAMP_BGR[colour]), colour == lit, rng)

    out = np.dstack([picture, alpha * 255])
    out = cv2.resize(
        out.clip(0, 255).astype(np.float32), (width, height), None, 0, 0, cv2.INTER_AREA
    )
    return out.round().astype(np.uint8)


def _rounded_rectangle(
    h: int, w: int, box: tuple[float, float, float, float], radius: float
) -> np.ndarray:
    """(h, w) float32 in 0..1: coverage of each pixel by a rectangle with round corners.

    Args:
        h, w: Size of the result, pixels.
        box: x0, y0, x1, y1, pixels.
        radius: Of the corners, pixels.
    """
    ys, xs = np.mgrid[0.5:h, 0.5:w].astype(np.float32)
    dx = np.maximum(np.maximum(box[0] + radius - xs, xs - box[2] + radius), 0)
    dy = np.maximum(np.maximum(box[1] + radius - ys, ys - box[3] + radius), 0)
    return (radius + 0.5 - np.hypot(dx, dy)).clip(0, 1)


def _draw_lamp(
    picture: np.ndarray,
    centre: tuple[float, float],
    radius: float,
    colour: np.ndarray,
    on: bool,
    rng: np.random.Generator,
) -> None:
    """Draw one lamp with its visor into ``picture`` ((h, w, 3) float32), in place."""
    h, w = picture.shape[:2]
    ys, xs = np.mgrid[0.5:h, 0.5:w].astype(np.float32)
    distance = np.hypot(xs - centre[0], ys - centre[1])
    disc = (radius + 0.5 - distance).clip(0, 1)[..., None]
    if not on:
        picture += disc * (colour * rng.uniform(0.08, 0.2) + 8 - picture)
    else:
        # A bright lamp saturates the camera: its middle is nearly white.
        bleach = rng.uniform(0.1, 0.8) * np.exp(-((distance / (0.7 * radius)) ** 2))[..., None]
        picture += disc * (colour + bleach * (255 - colour) - picture)
        halo = np.exp(-np.maximum(distance - radius, 0) / (0.35 * radius))[..., None]
        picture += (1 - disc) * halo * rng.uniform(0.15, 0.45) * colour
    # The visor is a dark arc above the lamp.
    ring = (1 - np.abs(distance - 1.08 * radius) / (0.10 * radius)).clip(0, 1)
    picture *= 1 - (0.7 * ring * (ys < centre[1]))[..., None]


def draw_street(height: int, width: int, rng: Seed) -> np.ndarray:
    """Draw a street scene without traffic lights: sky, houses, a road, trees, poles and cars.

    Args:
        height, width: Size in pixels, each at least 16.
        rng: Generator or seed; None is seed 0. The same seed gives the same pixels.

    Returns:
        (height, width, 3) uint8 BGR.

    Raises:
        ValueError: A side is below 16.
    """
    if min(height, width) < 16:
        raise ValueError(f'a street of {height}x{width} is too small: at least 16 pixels a side')
    rng = np.random.default_rng(0 if rng is None else rng)
    # Drawn at twice the size and shrunk, so that edges are as soft as in a photo.
    h, w = 2 * height, 2 * width
    horizon = int(h * rng.uniform(0.5, 0.72))
    vanish = int(w * rng.uniform(0.3, 0.7))
    scene = _sky(h, w, horizon, rng)
    _houses(scene, horizon, rng)
    _road(scene, horizon, vanish, rng)
    for _ in range(rng.integers(1, 5)):
        _tree(scene, horizon, rng)
    for _ in range(rng.integers(1, 5)):
        _car(scene, horizon, vanish, rng)
    for _ in range(rng.integers(1, 4)):
        _pole(scene, horizon, rng)
    scene = cv2.resize(scene, (width, height), None, 0, 0, cv2.INTER_AREA).astype(np.float32)
    grain = rng.normal(0, 1, (height, width, 1)) * 3 + rng.normal(0, 1, (height, width, 3)) * 2
    texture = 1 + 0.08 * smooth_noise(height, width, 6, rng)[..., None]
    return (scene * texture * rng.uniform(0.6, 1.1) + grain).clip(0, 255).astype(np.uint8)


def smooth_noise(h: int, w: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Random smooth pattern, which looks like clouds.

    Args:
        h, w: Size in pixels.
        cells: Number of blobs along each axis in the coarsest of three octaves.
        rng: Generator.

    Returns:
        (h, w) float32 with a mean of about 0 and a standard deviation of about 1.
    """
    total = np.zeros((h, w), np.float32)
    for octave in range(3):
        grid = rng.normal(0, 1, (cells * 2**octave, cells * 2**octave)).astype(np.float32)
        total += cv2.resize(grid, (w, h), None, 0, 0, cv2.INTER_CUBIC) / 2**octave
    return total


def _colour(rng: np.random.Generator, low: float, high: float, tint: float = 0.15) -> tuple:
    """A greyish BGR colour.

    Args:
        rng: Generator.
        low, high: Range of the brightness, in 0..255.
        tint: Largest relative deviation of a channel from the brightness.
    """
    bgr = rng.uniform(low, high) * rng.uniform(1 - tint, 1 + tint, 3)
    return tuple(bgr.clip(0, 255).tolist())


def _sky(h: int, w: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
    red = rng.uniform(60, 170)
    green = red + rng.uniform(0, 50)
    zenith = np.array([green + rng.uniform(0, 50), green, red], np.float32)
    haze = np.array(_colour(rng, 190, 245, 0.08), np.float32)
    depth = np.clip(np.arange(h, dtype=np.float32) / horizon, 0, 1)[:, None, None]
    sky = np.repeat(zenith + depth * (haze - zenith), w, axis=1)
    cloud = (smooth_noise(h, w, 3, rng) * 0.5).clip(0, 1)[..., None] * rng.uniform(0, 0.9)
    return (sky + cloud * (245 - sky)).clip(0, 255).astype(np.uint8)


def _houses(scene: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    w = scene.shape[1]
    x = -int(rng.integers(0, w // 6))
    while x < w:
        wide = int(w * rng.uniform(0.12, 0.32))
        top = int(horizon * rng.uniform(0.15, 0.85))
        if rng.random() < 0.8:
            wall = np.array(_colour(rng, 50, 190, 0.25))
            cv2.rectangle(scene, (x, top), (x + wide, horizon), wall.tolist(), -1)
            _windows(scene, (x, top, x + wide, horizon), wall, rng)
            cv2.rectangle(
                scene, (x - 3, top - 3), (x + wide + 3, top + 5), (wall * 0.6).tolist(), -1
            )
        x += int(wide * rng.uniform(0.8, 1.2))


def _windows(
    scene: np.ndarray, box: tuple[int, int, int, int], wall: np.ndarray, rng: np.random.Generator
) -> None:
    h = scene.shape[0]
    step_x, step_y = (max(8, int(h * rng.uniform(0.03, 0.08))) for _ in range(2))
    wide, tall = int(step_x * rng.uniform(0.4, 0.7)), int(step_y * rng.uniform(0.4, 0.75))
    for y in range(box[1] + step_y // 2, box[3] - tall, step_y):
        for x in range(box[0] + step_x // 3, box[2] - wide, step_x):
            pane = np.array(_colour(rng, 25, 90, 0.3)) if rng.random() < 0.8 else wall * 1.3
            if rng.random() < 0.06:  # a lit window
                pane = np.array([120, 210, 250]) * rng.uniform(0.7, 1.0)
            cv2.rectangle(scene, (x, y), (x + wide, y + tall), pane.clip(0, 255).tolist(), -1)


def _road(scene: np.ndarray, horizon: int, vanish: int, rng: np.random.Generator) -> None:
    h, w = scene.shape[:2]
    scene[horizon:] = np.array(_colour(rng, 90, 170, 0.12))
    asphalt = _colour(rng, 55, 115, 0.05)
    left, right = -int(w * rng.uniform(0.0, 0.6)), w + int(w * rng.uniform(0.0, 0.6))
    near = int(w * 0.02) + 1
    corners = np.array([[vanish - near, horizon], [vanish + near, horizon], [right, h], [left, h]])
    cv2.fillPoly(scene, [corners.astype(np.int32)], asphalt)
    for lane in (0.33, 0.66):
        foot = left + lane * (right - left)
        for start in np.arange(0.08, 1.0, 0.16):
            ends = [
                (vanish + t * (foot - vanish), horizon + t * (h - horizon), t)
                for t in (start, start + 0.07)
            ]
            strip = [
                (x + s * t * 0.012 * w, y)
                for (x, y, t), s in ((ends[0], -1), (ends[0], 1), (ends[1], 1), (ends[1], -1))
            ]
            cv2.fillPoly(scene, [np.array(strip).astype(np.int32)], (205, 210, 210))


def _tree(scene: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    h, w = scene.shape[:2]
    x, foot = int(rng.uniform(0, w)), int(horizon + rng.uniform(0, 0.06) * h)
    crown = h * rng.uniform(0.06, 0.18)
    middle = foot - int(crown * rng.uniform(1.5, 2.4))
    cv2.line(scene, (x, foot), (x, middle), _colour(rng, 25, 70), max(2, int(crown * 0.12)))
    green = np.array([rng.uniform(20, 60), rng.uniform(60, 130), rng.uniform(30, 90)])
    for dx, dy in rng.normal(0, 0.45, (60, 2)) * crown:
        leaf = (green * rng.uniform(0.5, 1.3)).tolist()
        cv2.circle(scene, (int(x + dx), int(middle + dy)), max(2, int(crown * 0.16)), leaf, -1)


def _pole(scene: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    h, w = scene.shape[:2]
    x, foot = int(rng.uniform(0, w)), int(horizon + rng.uniform(0, 0.2) * h)
    top = int(foot - h * rng.uniform(0.3, 0.6))
    thick, grey = max(2, int(h * rng.uniform(0.006, 0.014))), _colour(rng, 30, 130)
    cv2.line(scene, (x, foot), (x, top), grey, thick)
    arm = x + int(w * rng.uniform(-0.25, 0.25))
    cv2.line(scene, (x, top), (arm, top - int(0.01 * h)), grey, max(1, thick // 2))


def _car(scene: np.ndarray, horizon: int, vanish: int, rng: np.random.Generator) -> None:
    h, w = scene.shape[:2]
    near = rng.uniform(0.05, 0.6)  # 0 at the horizon, 1 at the camera
    y = int(horizon + near * (h - horizon))
    x = int(vanish + near * rng.uniform(-0.7, 0.7) * w)
    size = max(6, int(near * 0.28 * w))
    paint = np.array(_colour(rng, 30, 210, 0.5))
    tall = int(size * 0.45)
    cv2.rectangle(
        scene, (x - size // 2, y - tall), (x + size // 2, y), paint.clip(0, 255).tolist(), -1
    )
    cv2.rectangle(
        scene,
        (x - size // 3, y - int(1.7 * tall)),
        (x + size // 3, y - tall),
        (paint * 0.35).clip(0, 255).tolist(),
        -1,
    )
    lamp = (40, 30, 225) if rng.random() < 0.6 else (225, 240, 250)
    for side in (-1, 1):
        centre = (x + int(side * 0.4 * size), y - int(0.65 * tall))
        cv2.circle(scene, centre, max(2, size // 14), lamp, -1, cv2.LINE_AA)
        cv2.circle(scene, (x + int(side * 0.33 * size), y), max(2, size // 9), (15, 15, 15), -1)


def random_lit(rng: np.random.Generator) -> str:
    """Draw one of :data:`LIT`; yellow is half as likely as each of the others."""
    return str(rng.choice(LIT, p=(0.4, 0.2, 0.4)))
