"""How a network's answer changes as the whole scene moves under its frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.tables import Table
from mindpad_mm.diagnose.inputs import photos_or_streets
from mindpad_mm.diagnose.progress import steps
from mindpad_mm.diagnose.refusal import refusals_told
from mindpad_mm.diagnose.response import Response, find_response
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.shift_scene import ShiftScene, annotated_scene, pasted_scene
from mindpad_mm.diagnose.subject import Subject

DIRECTIONS = {'up': (-1, 0), 'down': (1, 0), 'left': (0, -1), 'right': (0, 1)}
ROWS, COLUMNS = ('top', 'centre', 'bottom'), ('left', 'centre', 'right')
SHIFTS = 32
"""Most shifts a direction by default."""
SCENES = 3
UNKNOWN = 0.05
"""Response below which an object counts as unknown to the network."""


@dataclass
class Track:
    """The response along a shift in one direction.

    Attributes:
        shifts: (K,) int, pixels the scene has moved, from 0.
        scores: (K,) float, 0..1.
        gaps: (K,) int, pixels between the object and the border it moves to; negative where it is
            cut by it.
    """

    shifts: np.ndarray
    scores: np.ndarray
    gaps: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """(K,) bool: where the object lies fully inside."""
        return self.gaps >= 0


@dataclass
class ShiftResponse(Diagnosis):
    """The response along four shifts, and at nine places.

    Attributes:
        tracks: By direction of the scene's motion.
        nine: (scenes, 3, 3) response with the object at :data:`ROWS` x :data:`COLUMNS`, flush with
            the border; NaN where a scene does not reach so far.
        kind: ``score`` or ``probability``.
        label: The class followed.
        input_size: (height, width), pixels.
        box: (height, width) of the object, input pixels.
        example: (H, W, 3) uint8 BGR, the frame before any shift.
        place: (row, column) of the object's top-left pixel in it.
        source: Of the object and the first scene, to read.
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
        """(3, 3) mean over the scenes that reach; NaN where none does."""
        reached = ~np.isnan(self.nine)
        count = reached.sum(0)
        total = np.where(reached, self.nine, 0).sum(0)
        return np.where(count, total / np.maximum(count, 1), np.nan)

    def figures(self, direction: str) -> dict[str, Any]:
        """Of one track, while the object lies fully inside.

        Returns:
            ``mean`` and ``min``; ``min_shift`` (pixels) of the latter; ``flicker``, the largest
            change between neighbouring shifts, and ``flicker_far``, away from the border; ``near``
            and ``far``, means where the gap to the border is at most, or more than, a sixteenth of
            the input (None where there is no such).
        """
        track = self.tracks[direction]
        scores, gaps = track.scores[track.whole], track.gaps[track.whole]
        near = gaps <= self.input_size[0 if direction in ('up', 'down') else 1] / 16
        means = [float(scores[part].mean()) if part.any() else None for part in (near, ~near)]
        return {
            'mean': float(scores.mean()),
            'min': float(scores.min()),
            'min_shift': int(track.shifts[scores.argmin()]),
            'flicker': float(np.abs(np.diff(scores)).max(initial=0)),
            'flicker_far': float(np.abs(np.diff(scores[~near])).max(initial=0)),
            'near': means[0],
            'far': means[1],
        }

    def table(self) -> Table:
        def cell(value: float | None) -> str:
            return '-' if value is None else f'{value:.3f}'

        rows = []
        for direction, track in self.tracks.items():
            figures = self.figures(direction)
            rows.append(
                [
                    direction,
                    f'0 to {track.shifts[-1]} px',
                    *(cell(figures[key]) for key in ('mean', 'far', 'near', 'min')),
                    f'{figures["min_shift"]} px',
                    cell(figures['flicker']),
                ]
            )
        return Table(
            ['scene moves', 'shifts', 'mean', 'far', 'near border', 'lowest', 'at', 'largest jump'],
            rows,
            f'{self.kind.capitalize()} of {self.label} while it is fully inside; '
            f'{self.start:.3f} before any shift',
        )

    def plot(self) -> Figure:
        from mindpad_mm.diagnose.shift_plot import draw_shift

        return draw_shift(self)

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
                    **self.figures(direction),
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
                f'Wherever the scene stands, the {self.kind} of {self.label} stays below {UNKNOWN}: '
                'the network does not know the object, and there is nothing to follow. Give it its '
                'weights, or an object and a class that it knows.'
            )
        figures = {direction: self.figures(direction) for direction in self.tracks}
        lowest = min(figures, key=lambda d: figures[d]['min'])
        jump = max(figures, key=lambda d: figures[d]['flicker'])
        digits = 2 if most > 0.2 else 3
        text = f'The {self.kind} of {self.label} is {self.start:.{digits}f} before any shift and '
        if figures[lowest]['min_shift']:
            text += (
                f'falls to {figures[lowest]["min"]:.{digits}f} as the scene moves {lowest} by '
                f'{figures[lowest]["min_shift"]} px, the object still fully inside'
            )
        else:
            text += 'never less while the object is fully inside'
        change = figures[jump]['flicker']
        text += f'; from one shift to the next it changes by up to {change:.{digits}f} ({jump}). '
        both = [f for f in figures.values() if f['near'] is not None and f['far'] is not None]
        if both:
            near, far = (float(np.mean([f[key] for f in both])) for key in ('near', 'far'))
            text += f'Close to the border it is {near:.{digits}f} on average, '
            text += f'further in {far:.{digits}f}. '
            if far - near > 0.1 * far:
                text += (
                    'It loses at the border, where padding stands in for the surroundings: the '
                    'padding error tells which mode stands in best. '
                )
            flicker = max(f['flicker_far'] for f in both)
            if flicker > 0.25 * far:
                text += (
                    f'Far from the border it still changes by up to {flicker:.2f} from one shift to '
                    'the next: that is sampling, the phase of the grid, and no padding will cure it. '
                )
        nine = self.nine_mean()
        if not np.isnan(nine).all():
            y, x = np.unravel_index(np.nanargmin(nine), nine.shape)
            text += (
                f'Of the nine places over {len(self.nine)} scenes, {ROWS[y]} {COLUMNS[x]} answers '
                f'least ({nine[y, x]:.{digits}f}; centre {nine[1, 1]:.{digits}f}).'
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
    """Move a scene under the network's frame and follow its answer to one object.

    Each frame is a crop of a scene that is larger than the input, so that a shift brings in what
    really lies beyond the border, and the object keeps its surroundings. The object starts in the
    middle and moves up, down, left and right until it has left the frame (or the scene ends). A
    detector is asked through its own post-processing for the score of the object, what of it is
    still in the frame being its box; a classifier for the probability of a class. Source:
    Alsallakh et al., Mind the Pad, ICLR 2021, figure 1.

    Args:
        subject: The network.
        photos: (H, W, 3) uint8 BGR, to paste the object in the middle of, scaled to let it leave
            the frame. The first carries the shifts, the first three the nine places. Default:
            drawn streets.
        obj: What to paste; default a drawn traffic light.
        size: Its longer side, input pixels; default an eighth of the input's shorter side for a
            detector, a third for a classifier.
        from_coco: COCO instances JSON: follow an annotated object in its own photo instead.
        ann_id: Which annotation of it.
        photo_root: Folder of its photo.
        label: The class to ask for. Default: the annotation's; else ``traffic light`` or the only
            class of a detector, and what a classifier calls the object in the centre.
        step: Pixels between shifts, 1 for every pixel. Default: the least odd number that gives at
            most 32 shifts a direction; odd, for then no phase of a grid of a power of two is missed.
        iou_thr: IoU from which a detection counts as the object's, 0..1.
        seed: Of the drawn object and streets.

    Raises:
        UserError: No such class, annotation or photo; a photo that is smaller than the input; an object
            that is larger; a network that is neither detector nor classifier, or cannot run at this size.
    """
    if step is not None and step < 1:
        raise UserError(f'step {step} is not possible: it must be at least 1 pixel')
    if (from_coco is None) != (ann_id is None):
        raise UserError('an annotated object needs both its COCO file and its annotation id')
    if from_coco is not None:
        scene, name = annotated_scene(Path(from_coco), ann_id, photo_root, subject.input_size)
        scenes, label = [scene], label or (name if _is_detector(subject) else None)
    else:
        size = size or min(subject.input_size) // (8 if _is_detector(subject) else 3)
        pixels = (obj or ScanObject.drawn(seed)).resized(size)
        # Drawn at their own scale, the scenes have things of the size they have in any photo.
        street = tuple(2 * (side + size) for side in subject.input_size)
        backgrounds = photos_or_streets(photos, street, SCENES, seed)[:SCENES]
        scenes = [pasted_scene(photo, pixels, subject.input_size) for photo in backgrounds]
    first = scenes[0]
    top, left = first.start
    example = first.frame(top, left)
    with refusals_told(subject.name, subject.input_size):
        respond = find_response(subject, label, iou_thr, example)
    if step is None:
        step = math.ceil((max(subject.input_size) // 2 + max(first.box[2:])) / SHIFTS)
        step += 1 - step % 2
    # The nine places last: they are of all scenes.
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


def _is_detector(subject: Subject) -> bool:
    return hasattr(subject.model, 'extract_feat') and hasattr(subject.model, 'test_step')


def _ask(scene: ShiftScene, respond: Response, corners: Sequence[tuple[int, int]]) -> np.ndarray:
    boxes = np.array([scene.visible(*corner) for corner in corners], float).reshape(-1, 4)
    return respond([scene.frame(*corner) for corner in corners], boxes)


def _track(scene: ShiftScene, respond: Response, vector: tuple[int, int], step: int) -> Track:
    top, left = scene.start
    shifts = []
    corners = []
    shift = 0
    while True:
        # The scene moves one way when the frame moves the other.
        corner = (top - vector[0] * shift, left - vector[1] * shift)
        if not scene.holds(*corner) or scene.visible(*corner) is None:
            break
        shifts.append(shift)
        corners.append(corner)
        shift += step
    gaps = np.array([scene.gap(*corner, vector) for corner in corners])
    return Track(np.array(shifts), _ask(scene, respond, corners), gaps)


def _nine(scene: ShiftScene, respond: Response) -> np.ndarray:
    answers = np.full((3, 3), np.nan)
    y, x, height, width = scene.box
    places = [
        (row, column, y - place_y, x - place_x)
        for row, place_y in enumerate(_three_places(scene.input_size[0], height))
        for column, place_x in enumerate(_three_places(scene.input_size[1], width))
    ]
    held = [place for place in places if scene.holds(*place[2:])]
    scores = _ask(scene, respond, [place[2:] for place in held])
    for (row, column, *_), score in zip(held, scores):
        answers[row, column] = score
    return answers


def _three_places(extent: int, box: int) -> tuple[int, int, int]:
    return 0, (extent - box) // 2, extent - box
