"""Scores of every probe's windows under every variant, planned to a time, kept as they come."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.structures import InstanceData
from rich.markup import escape
from torch import nn

from mindpad_mm.border.inputs import WindowInputs, fill_value
from mindpad_mm.border.objects import BorderObject
from mindpad_mm.border.photos import Photo
from mindpad_mm.border.probes import (
    CONTROL,
    CUT,
    OPEN,
    PLACEBO,
    Probe,
    clip_boxes,
    fill_beyond,
    probes_of,
    take,
)
from mindpad_mm.border.variants import Variant
from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import in_channels_last
from mindpad_mm.core.journal import Journal
from mindpad_mm.core.matching import Matches, match_each
from mindpad_mm.core.processes import gathered
from mindpad_mm.core.progress import ProgressBar
from mindpad_mm.settings.border import BorderSettings

# Probes scored, and kept, as one.
_CHUNK = 16
_TIMED_PROBES = 4
_COLUMNS = 6


def views_of(settings: BorderSettings) -> list[str]:
    """The windows of a probe: cut, open, placebo if asked for, and a control for each fill."""
    placebo = [PLACEBO] if settings.placebo else []
    return [CUT, OPEN, *placebo, *control_views(settings)]


def control_views(settings: BorderSettings) -> list[str]:
    """``'control'`` for the first fill, ``'control FILL'`` for further ones."""
    return [CONTROL, *(f'{CONTROL} {fill}' for fill in settings.fill[1:])]


def ordered_probes(
    photos: Sequence[Photo], objects: Sequence[BorderObject], settings: BorderSettings
) -> list[Probe]:
    """All probes, so ordered that the first N are spread over photos, objects, sides and distances.

    Photos take turns; within a photo the order is random.
    """
    by_photo: dict[int, list[Probe]] = {}
    for number, obj in enumerate(objects):
        photo = photos[obj.photo]
        rng = np.random.default_rng([settings.seed, 3, number])
        by_photo.setdefault(obj.photo, []).extend(
            probes_of(
                obj.photo,
                number,
                obj.box,
                photo.size,
                photo.window,
                settings.sides,
                settings.distances,
                photo.far,
                rng,
            )
        )
    turns = []
    for number, probes in sorted(by_photo.items()):
        rng = np.random.default_rng([settings.seed, 4, number])
        turns += [
            (turn, number, probes[index]) for turn, index in enumerate(rng.permutation(len(probes)))
        ]
    return [probe for _, _, probe in sorted(turns, key=lambda each: each[:2])]


class Chunk(NamedTuple):
    """Probes of one photo under one variant: numbers in the list of all probes."""

    variant: int
    probes: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its name in the journal; no other chunk has it."""
        return f'{self.variant}-{self.probes[0]}'


def cut_into_chunks(variants: Sequence[int], probes: Sequence[Probe]) -> list[Chunk]:
    """All probes under some variants, variant by variant and photo by photo."""
    by_photo: dict[int, list[int]] = {}
    for number, probe in enumerate(probes):
        by_photo.setdefault(probe.photo, []).append(number)
    pieces = [
        tuple(numbers[start : start + _CHUNK])
        for numbers in by_photo.values()
        for start in range(0, len(numbers), _CHUNK)
    ]
    return [Chunk(variant, piece) for variant in variants for piece in pieces]


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        model: The detector as trained.
        device: For other checkpoints.
        photos, objects: What is cut.
        probes: Where; may be extended until the measurement starts.
        settings: How.
    """

    model: nn.Module
    device: str
    photos: Sequence[Photo]
    objects: Sequence[BorderObject]
    probes: Sequence[Probe]
    settings: BorderSettings


class Scorer:
    """Scores probes under one variant.

    Args:
        subject: What is measured.
        variant: The variant.
        model: Its model.
    """

    def __init__(self, subject: Subject, variant: Variant, model: nn.Module) -> None:
        self._subject, self._variant, self._model = subject, variant, model
        if not isinstance(model, CallableDetector):
            # oneDNN and cuDNN run convolutions up to five times faster in this format.
            in_channels_last(model)
        self._inputs: dict[tuple[int, int], WindowInputs] = {}
        self._fills: dict[tuple[tuple[int, int], str], tuple[int, int, int]] = {}
        self._photo: tuple[int, np.ndarray] | None = None

    def score(self, probes: Sequence[Probe]) -> Matches:
        """The best detection of each probe's object in each view, one view after the other by probe.

        Boxes are in pixels of the photo. NaN where a probe has no such window.
        """
        settings = self._subject.settings
        views = views_of(settings)
        images: list[np.ndarray] = []
        places: list[tuple[int, int]] = []
        for index, probe in enumerate(probes):
            pixels = self._pixels(probe)
            for number, view in enumerate(views):
                image = self._image(pixels, probe, view)
                if image is not None:
                    images.append(image)
                    places.append((index, number))
        found: list[InstanceData] = []
        inputs = self._inputs_of(self._subject.photos[probes[0].photo].window)

        def match(number: int, instances: InstanceData) -> Matches:
            index, view = places[number]
            return self._match(probes[index], views[view], instances)

        def best_match(start: int, index: int, known: InstanceData) -> float:
            return float(match(start + index, known).scores[0])

        for start in range(0, len(images), settings.batch_size):
            # Only the best match is read.
            floor = functools.partial(best_match, start)
            batch = images[start : start + settings.batch_size]
            found += inputs.detect(self._model, batch, floor)
        scores, ious = np.full((2, len(probes), len(views)), np.nan, np.float32)
        boxes = np.full((len(probes), len(views), 4), np.nan, np.float32)
        for number, instances in enumerate(found):
            best, place = match(number, instances), places[number]
            scores[place], ious[place], boxes[place] = best.scores[0], best.ious[0], best.boxes[0]
        return Matches(scores.ravel(), ious.ravel(), boxes.reshape(-1, 4))

    def _pixels(self, probe: Probe) -> np.ndarray:
        if self._photo is None or self._photo[0] != probe.photo:
            self._photo = probe.photo, self._subject.photos[probe.photo].pixels()
        return self._subject.objects[probe.obj].drawn_on(self._photo[1])

    def _image(self, pixels: np.ndarray, probe: Probe, view: str) -> np.ndarray | None:
        window = self._subject.photos[probe.photo].window
        corner = probe.corner(view)
        if corner is None:
            return None
        image = take(pixels, corner, window)
        if view.startswith(CONTROL):
            fill_beyond(image, corner, probe.line(window), self._fill(window, view))
        return image

    def _inputs_of(self, window: tuple[int, int]) -> WindowInputs:
        if window not in self._inputs:
            settings = self._subject.settings
            self._inputs[window] = WindowInputs(
                self._model,
                window,
                self._variant.input_padding,
                settings.input_padding_px,
                self._fill(window, CONTROL),
            )
        return self._inputs[window]

    def _fill(self, window: tuple[int, int], view: str) -> tuple[int, int, int]:
        settings = self._subject.settings
        fill = settings.fill[control_views(settings).index(view)]
        if (window, fill) not in self._fills:
            self._fills[window, fill] = fill_value(self._subject.model, fill, window)
        return self._fills[window, fill]

    def _match(self, probe: Probe, view: str, instances: InstanceData) -> Matches:
        """The object's best detection. Boxes end at the cut, as the image ends there in *cut*.

        In the other views as well: else a box that reaches beyond the cut would match the object in one
        view and not in the other, whatever the network made of the border.
        """
        obj = self._subject.objects[probe.obj]
        corner = probe.corner(view)
        assert corner is not None
        boxes = instances.bboxes.float().cpu().numpy() + (corner[1], corner[0]) * 2
        boxes = clip_boxes(boxes, probe.line(self._subject.photos[probe.photo].window))
        moved = InstanceData(
            bboxes=torch.from_numpy(boxes),
            scores=instances.scores.cpu(),
            labels=instances.labels.cpu(),
        )
        target = np.array([obj.box])
        return match_each([moved], obj.label, target, self._subject.settings.iou_thr)


def seconds_per_probe(subject: Subject, variants: Sequence[Variant]) -> float:
    """Seconds that one probe takes under all variants together, warm, its photo's reading included."""
    by_photo: dict[int, list[Probe]] = {}
    for probe in subject.probes:
        by_photo.setdefault(probe.photo, []).append(probe)
    first, *others = by_photo.values()
    timed = (others[0] if others else first)[:_TIMED_PROBES]
    seconds = 0.0
    for variant in variants:
        with variant.built(subject.model, subject.device) as model:
            scorer = Scorer(subject, variant, model)
            scorer.score(first[:1])
            begin = time.perf_counter()
            scorer.score(timed)
            seconds += (time.perf_counter() - begin) / len(timed)
    return seconds


def run_probes(
    subject: Subject,
    variants: Mapping[int, Variant],
    journal: Journal | None,
) -> tuple[np.ndarray, float] | None:
    """Score all probes under some variants.

    Finished chunks are kept in the journal; several processes share the rest.

    Args:
        subject: What is measured.
        variants: By number.
        journal: Of the measurement; None keeps nothing.

    Returns:
        (variants, probes, views, 6) float32, score, IoU and box (photo pixels), and the seconds spent;
        None on any process but rank 0.
    """
    chunks = cut_into_chunks(list(variants), subject.probes)
    views = len(views_of(subject.settings))
    done: dict[int, tuple[Matches, float]] = {}
    if journal is not None:
        for number, chunk in enumerate(chunks):
            kept = journal.read(chunk.name, len(chunk.probes) * views)
            if kept is not None:
                done[number] = kept
    known = set().union(*gathered(set(done)))
    todo = [number for number in range(len(chunks)) if number not in known]
    share = todo[get_rank() :: get_world_size()]
    with ProgressBar(disable=get_rank() > 0) as bar:
        task = bar.add_task('', total=sum(len(chunks[n].probes) for n in share))
        for variant, numbers in _by_variant(share, chunks):
            bar.update(task, description=escape(variants[variant].name))
            with variants[variant].built(subject.model, subject.device) as model:
                scorer = Scorer(subject, variants[variant], model)
                for number in numbers:
                    begin = time.perf_counter()
                    matches = scorer.score([subject.probes[p] for p in chunks[number].probes])
                    done[number] = matches, time.perf_counter() - begin
                    if journal is not None:
                        journal.write(chunks[number].name, *done[number])
                    bar.advance(task, len(chunks[number].probes))
    everything: dict[int, tuple[Matches, float]] = {}
    for part in gathered(done):
        everything.update(part)
    if get_rank() > 0:
        return None
    order = {variant: index for index, variant in enumerate(variants)}
    results = np.full((len(variants), len(subject.probes), views, _COLUMNS), np.nan, np.float32)
    for number, (matches, _) in everything.items():
        values = np.column_stack(matches).reshape(-1, views, _COLUMNS)
        results[order[chunks[number].variant], list(chunks[number].probes)] = values
    seconds = sum(seconds for _, seconds in everything.values()) / get_world_size()
    return results, seconds


def _by_variant(share: Sequence[int], chunks: Sequence[Chunk]) -> Iterator[tuple[int, list[int]]]:
    by_variant: dict[int, list[int]] = {}
    for number in share:
        by_variant.setdefault(chunks[number].variant, []).append(number)
    yield from by_variant.items()
