"""How the response to an object changes while the scene moves under the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.cannot_run import cannot_run_errors
from mindpad_mm.diagnose.checks.shift.plot import draw_shift
from mindpad_mm.diagnose.checks.shift.response import Response, find_response, is_detector
from mindpad_mm.diagnose.checks.shift.scene import ShiftScene, annotated_scene, pasted_scene
from mindpad_mm.diagnose.checks.shift.track import (
    COLUMNS,
    DIRECTIONS,
    ROWS,
    Track,
    mean_over_scenes,
)
from mindpad_mm.diagnose.inputs import photos_or_streets
from mindpad_mm.diagnose.progress import steps
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject

SHIFTS = 32
"""Maximum number of shifts per direction by default."""
SCENES = 3
UNKNOWN = 0.05
"""If all responses are lower, the network does not recognise the object."""


@dataclass
class ShiftResponse(Diagnosis):
    """The response along shifts in four directions, and with the object at nine places.

    Attributes:
        tracks: By direction of the scene's motion.
        nine: (scenes, 3, 3) response with the object at :data:`ROWS` x :data:`COLUMNS`, touching
            the border; NaN where the scene is too small.
        kind: ``score`` or ``probability``.
        label: The class.
        input_size: (height, width), pixels.
        box: (height, width) of the object, input pixels.
        example: (H, W, 3) uint8 BGR, the frame before any shift.
        place: (row, column) of the object's top-left pixel in it.
        source: Description of the object and the first scene.
    """

    check: ClassVar[str] = 'shift'
    title: ClassVar[str] = 'Response as the scene moves under the frame'

    tracks: dict[str, Track]
    nine: np.ndarray
    kind: str
    label: str
    input_size: tuple[int, int]
    box: tuple[int, int]
    example: np.ndarray
    place: tuple[int, int]
    source: str

    @property
    def start(self) -> float:
        """The response before any shift."""
        return float(next(iter(self.tracks.values())).scores[0])

    def nine_mean(self) -> np.ndarray:
        """(3, 3) mean of :attr:`nine` over the scenes that have a value; NaN where none has."""
        return mean_over_scenes(self.nine)

    def statistics(self, direction: str) -> dict[str, Any]:
        """:meth:`Track.statistics` of one direction."""
        axis = 0 if direction in ('up', 'down') else 1
        return self.tracks[direction].statistics(self.input_size[axis])

    def table(self) -> Table:
        def cell(value: float | None) -> str:
            return '-' if value is None else f'{value:.3f}'

        rows = []
        for direction, track in self.tracks.items():
            statistics = self.statistics(direction)
            rows.append(
                [
                    direction,
                    f'0 to {track.shifts[-1]} px',
                    *(cell(statistics[key]) for key in ('mean', 'far', 'near', 'min')),
                    f'{statistics["min_shift"]} px',
                    cell(statistics['flicker']),
                ]
            )
        return Table(
            ['scene moves', 'shifts', 'mean', 'far', 'near border', 'lowest', 'at', 'largest jump'],
            rows,
            f'{self.kind.capitalize()} of {self.label} while it is fully inside; '
            f'{self.start:.3f} before any shift',
        )

    def plot(self) -> Figure:
        return draw_shift(
            f'{self.title}: {self.kind} of {self.label}',
            self.kind,
            self.example,
            self.place,
            self.box,
            self.tracks,
            {direction: self.statistics(direction) for direction in self.tracks},
            self.nine,
        )

    def to_json(self) -> dict[str, Any]:
        nine = self.nine_mean()
        return {
            'kind': self.kind,
            'label': self.label,
            'input_size': list(self.input_size),
            'box': list(self.box),
            'source': self.source,
            'start': self.start,
            'tracks': {
                direction: {
                    'shifts': track.shifts.tolist(),
                    'scores': track.scores.tolist(),
                    'gaps': track.gaps.tolist(),
                    **self.statistics(direction),
                }
                for direction, track in self.tracks.items()
            },
            'scenes': len(self.nine),
            'nine': {
                f'{row} {column}': None if np.isnan(nine[y, x]) else float(nine[y, x])
                for y, row in enumerate(ROWS)
                for x, column in enumerate(COLUMNS)
            },
        }

    def advice(self) -> str:
        most = max(float(track.scores.max()) for track in self.tracks.values())
        if most < UNKNOWN:
            return (
                f'The {self.kind} of {self.label} is below {UNKNOWN} at all shifts: the network does not '
                'know the object, so the shifts show nothing. Use a trained checkpoint, or an object '
                'and a class that the network knows.'
            )
        statistics = {direction: self.statistics(direction) for direction in self.tracks}
        lowest = min(statistics, key=lambda direction: statistics[direction]['min'])
        jump = max(statistics, key=lambda direction: statistics[direction]['flicker'])
        digits = 2 if most > 0.2 else 3
        text = f'The {self.kind} of {self.label} is {self.start:.{digits}f} before any shift and '
        if statistics[lowest]['min_shift']:
            text += (
                f'falls to {statistics[lowest]["min"]:.{digits}f} when the scene has moved {lowest} by '
                f'{statistics[lowest]["min_shift"]} px, with the object still fully inside'
            )
        else:
            text += 'is never lower while the object is fully inside'
        change = statistics[jump]['flicker']
        text += f'; between neighbouring shifts it changes by up to {change:.{digits}f} ({jump}). '
        both = [s for s in statistics.values() if s['near'] is not None and s['far'] is not None]
        if both:
            near, far = (float(np.mean([s[key] for s in both])) for key in ('near', 'far'))
            text += f'On average it is {near:.{digits}f} close to the border '
            text += f'and {far:.{digits}f} further inside. '
            if far - near > 0.1 * far:
                text += (
                    'It is lower near the border, where the scene ends and padding begins; the check '
                    'does not tell the two apart. '
                )
            flicker = max(s['flicker_far'] for s in both)
            if flicker > 0.25 * far:
                text += (
                    f'Far from the border it still changes by up to {flicker:.2f} between neighbouring '
                    'shifts. This is due to the sampling grid of the strides; no padding mode avoids it. '
                )
        nine = self.nine_mean()
        if not np.isnan(nine).all():
            y, x = np.unravel_index(np.nanargmin(nine), nine.shape)
            text += (
                f'Of the nine places (mean over {len(self.nine)} scenes), the {self.kind} is lowest at '
                f'{ROWS[y]} {COLUMNS[x]} ({nine[y, x]:.{digits}f}; centre {nine[1, 1]:.{digits}f}).'
            )
        return text.strip()


def check_shift(
    subject: Subject,
    photos: Sequence[np.ndarray] = (),
    obj: ScanObject | None = None,
    size: int | None = None,
    from_coco: PathLike | None = None,
    ann_id: int | None = None,
    photo_root: PathLike | None = None,
    label: str | None = None,
    step: int | None = None,
    iou_thr: float = 0.5,
    seed: int = 0,
) -> ShiftResponse:
    """Move a scene under the network's frame and record the response to one object.

    Each frame is a crop of a scene that is larger than the input, so that a shift shows the real
    surroundings of the object. The object starts in the centre and moves up, down, left and right
    until it has left the frame or the scene ends. For a detector, the response is the score of the
    object after the detector's own post-processing, matched to the visible part of its box; for a
    classifier, it is the probability of a class.
    Source: Alsallakh et al., Mind the Pad, ICLR 2021, figure 1.

    Args:
        subject: The network.
        photos: (H, W, 3) uint8 BGR, scaled; the object is pasted in their centre. The first photo is
            used for the shifts, the first three for the nine places. Default: drawn streets.
        obj: The object to paste; default a drawn traffic light.
        size: Its longer side, input pixels; default an eighth of the input's shorter side for a
            detector, a third for a classifier.
        from_coco: COCO instances JSON: use an annotated object in its own photo instead.
        ann_id: Id of the annotation.
        photo_root: Folder of the photo.
        label: The class. Default for a detector: the annotation's class, else ``traffic light`` or
            the only class; for a classifier: the most probable class before any shift.
        step: Pixels between shifts. Default: the smallest odd number that gives at most 32 shifts
            per direction; an odd step covers all phases of a stride that is a power of two.
        iou_thr: Minimum IoU of a detection with the object, 0..1.
        seed: Seed of the drawn object and streets.

    Raises:
        UserError: The class, annotation or photo does not exist; the photo is smaller than the input
            or the object larger; the network is neither a detector nor a classifier, or cannot run
            at this size.
    """
    if step is not None and step < 1:
        raise UserError(f'`step` {step} is not possible: it must be at least 1 pixel')
    if (from_coco is None) != (ann_id is None):
        raise UserError('an annotated object needs both `from_coco` and `ann_id`')
    if from_coco is not None:
        scene, name = annotated_scene(Path(from_coco), ann_id, photo_root, subject.input_size)
        scenes, label = [scene], label or (name if is_detector(subject) else None)
    else:
        size = size or min(subject.input_size) // (8 if is_detector(subject) else 3)
        pixels = (obj or ScanObject.drawn(seed)).resized(size)
        # Streets are drawn at about the size of the scene, so that they need little scaling.
        street = tuple(2 * (side + size) for side in subject.input_size)
        backgrounds = photos_or_streets(photos, street, SCENES, seed)[:SCENES]
        scenes = [pasted_scene(photo, pixels, subject.input_size) for photo in backgrounds]
    first = scenes[0]
    top, left = first.start
    example = first.frame(top, left)
    with cannot_run_errors(subject.name, subject.input_size):
        respond = find_response(subject, label, iou_thr, example)
    if step is None:
        step = math.ceil((max(subject.input_size) // 2 + max(first.box[2:])) / SHIFTS)
        step += 1 - step % 2
    # The four directions in the first scene, and the nine places in each scene.
    tracks, nine = {}, []
    for work in steps([*DIRECTIONS, *scenes], 'directions and scenes'):
        if isinstance(work, ShiftScene):
            nine.append(_nine(work, respond))
        else:
            tracks[work] = _track(first, respond, DIRECTIONS[work], step)
    y, x = first.box[:2]
    return ShiftResponse(
        tracks,
        np.stack(nine),
        respond.kind,
        respond.label,
        subject.input_size,
        first.box[2:],
        example,
        (y - top, x - left),
        first.source,
    )


def _responses(
    scene: ShiftScene, respond: Response, corners: Sequence[tuple[int, int]]
) -> np.ndarray:
    boxes = np.array([scene.visible(*corner) for corner in corners], float).reshape(-1, 4)
    return respond([scene.frame(*corner) for corner in corners], boxes)


def _track(scene: ShiftScene, respond: Response, vector: tuple[int, int], step: int) -> Track:
    top, left = scene.start
    shifts = []
    corners = []
    shift = 0
    while True:
        # The scene moves in the opposite direction of the frame.
        corner = (top - vector[0] * shift, left - vector[1] * shift)
        if not scene.holds(*corner) or scene.visible(*corner) is None:
            break
        shifts.append(shift)
        corners.append(corner)
        shift += step
    gaps = np.array([scene.gap(*corner, vector) for corner in corners])
    return Track(np.array(shifts), _responses(scene, respond, corners), gaps)


def _nine(scene: ShiftScene, respond: Response) -> np.ndarray:
    responses = np.full((3, 3), np.nan)
    y, x, height, width = scene.box
    places = [
        (row, column, y - place_y, x - place_x)
        for row, place_y in enumerate(_three_places(scene.input_size[0], height))
        for column, place_x in enumerate(_three_places(scene.input_size[1], width))
    ]
    held = [place for place in places if scene.holds(*place[2:])]
    scores = _responses(scene, respond, [place[2:] for place in held])
    for (row, column, *_), score in zip(held, scores):
        responses[row, column] = score
    return responses


def _three_places(extent: int, box: int) -> tuple[int, int, int]:
    return 0, (extent - box) // 2, extent - box
