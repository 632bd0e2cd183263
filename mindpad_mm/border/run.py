"""A whole measurement: from a detector and photos to its border loss."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.runner import set_random_seed

from mindpad_mm.border.budget import Budget
from mindpad_mm.border.inputs import WindowInputs, fill_value, hidden_in, window_size
from mindpad_mm.border.measure import (
    Subject,
    ordered_probes,
    run_probes,
    views_of,
)
from mindpad_mm.border.objects import (
    BorderObject,
    annotated_objects,
    chosen_objects,
    found_objects,
    objects_to_paste,
    pasted_objects,
)
from mindpad_mm.border.photos import Photos, load_photos, window_sizes
from mindpad_mm.border.probes import Probe
from mindpad_mm.border.result import BorderInfo, BorderResult
from mindpad_mm.border.variants import (
    AS_TRAINED,
    CHECKPOINT,
    SWAP,
    Variant,
    VariantInfo,
    swaps_of,
    variants_of,
)
from mindpad_mm.border.verdict import blame_of
from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import (
    DetectorFiles,
    detector_classes,
    find_label,
    in_channels_last,
    versions,
    weights_sha256,
)
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import Journal, alone_in, check_fingerprint, discard, prepare_folder
from mindpad_mm.core.loading import config_faults
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.opened import Detector, OpenedDetector, device_of, opened
from mindpad_mm.core.processes import failing_together, gathered, launched
from mindpad_mm.core.progress import track
from mindpad_mm.core.settings import chosen_settings
from mindpad_mm.padding.modes import modes_to_swap_to, swappable_modes
from mindpad_mm.settings.border import BorderSettings

_RESULT = 'border.json'
_TRIED = 'tried because padding is to blame, on as many cuts as the time allowed'


def border_loss(
    detector: Detector,
    photos: Photos,
    *,
    object: Photos = (),
    checkpoints: Mapping[str, Detector] | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    launcher: str = 'none',
    settings: BorderSettings | None = None,
    **options: Any,
) -> BorderResult | None:
    """Measure what image borders cost a detector, and how much of that is padding's fault.

    The same objects are scored with the same surroundings three times: with a border of the image
    near, with the border far away, and with the border far away but as much of the scene lost. See
    ``docs/BORDER.md``.

    Args:
        detector: A built MMDetection detector (``mmdet.apis.init_detector``), a
            :class:`mindpad_mm.CallableDetector`, or the files of a detector: :class:`DetectorFiles` or
            a pair (config, checkpoint).
        photos: Files, folders, or (H, W, 3) uint8 BGR arrays.
        object: Images of objects to paste: files, folders, or uint8 arrays, BGRA, BGR (opaque) or grey.
            Default: the objects of ``ann``, else what the detectors find far from borders.
        checkpoints: Other detectors of the same classes to measure beside it, by name.
        out: Folder to write ``border.json`` and ``border.csv`` to; finished chunks are kept in it while
            the measurement runs. Default: the result is in memory only.
        resume: Continue the measurement in ``out``; a finished one is returned as it is.
        launcher: What started the processes that share the work, ``'none'``, ``'pytorch'`` (torchrun),
            ``'slurm'`` or ``'mpi'``.
        settings: All settings at once; instead of ``options``.
        options: Fields of :class:`BorderSettings`, such as ``padding``, ``ann`` or ``minutes``.

    Returns:
        The result; with several processes, None on all but the first.

    Raises:
        UserError: Anything in the input that its user can mend.

    Example:
        >>> model = mmdet.apis.init_detector('yolox.py', 'yolox.pth', device='cpu')
        >>> result = border_loss(model, 'photos/', padding=['reflect', 'circular'])
        >>> print(result.summary())
    """
    settings = chosen_settings(BorderSettings, settings, options)
    for mode in settings.padding:
        modes_to_swap_to(mode)
    if isinstance(detector, tuple):
        detector = DetectorFiles(*detector)
    folder = None if out is None else Path(out)
    device = device_of(detector)
    with contextlib.ExitStack() as stack:
        own_device = stack.enter_context(launched(launcher, device))
        with failing_together():
            if folder is not None:
                prepare_folder(folder, resume, _RESULT, check=False)
                stack.enter_context(alone_in(folder if get_rank() == 0 else None))
                prepare_folder(folder, resume, _RESULT, check=get_rank() == 0)
            elif resume:
                raise UserError('`resume` needs the folder of the work to continue: give `out`')
            set_random_seed(settings.seed)
            subject = stack.enter_context(opened(detector, own_device))
            measurement = _Measurement(
                subject, own_device, photos, object, checkpoints or {}, settings
            )
            fingerprint = measurement.fingerprint()
            finished = gathered(resume and folder is not None and (folder / _RESULT).is_file())[0]
        if finished and folder is not None:
            if get_rank() > 0:
                return None
            done = BorderResult.load(folder)
            check_fingerprint(done.info.fingerprint, fingerprint, folder)
            discard(folder)
            return measurement.restored(done)
        journal = None if folder is None else Journal(folder, fingerprint)
        result = measurement.run(journal, fingerprint)
        if result is not None and folder is not None:
            result.save(folder)
            discard(folder)
        return result


class _Measurement:
    """One measurement: its inputs, and the steps from photos to the result."""

    def __init__(
        self,
        detector: OpenedDetector,
        device: str,
        photos: Photos,
        pasted: Photos,
        checkpoints: Mapping[str, Detector],
        settings: BorderSettings,
    ) -> None:
        self.detector, self.device, self.settings = detector, device, settings
        self.model = detector.model
        self.classes = detector_classes(self.model)
        for name in settings.labels:
            if name not in self.classes:
                raise UserError(f'`labels`: the detector has no class {name!r}')
        self.pasted = objects_to_paste(pasted)
        if self.pasted and settings.ann is not None:
            raise UserError('give `object` or `ann`, not both: objects are pasted or annotated')
        self.variants = variants_of(self.model, settings, checkpoints)
        with config_faults('the test pipeline in the config fails on the photos'):
            self.photos, self.too_small = load_photos(photos, self.model, settings)
            window = self.photos[0].window
            self.fills = {
                fill: list(fill_value(self.model, fill, window)) for fill in settings.fill
            }

    def fingerprint(self) -> dict[str, Any]:
        """All that the scores depend on, as JSON types."""
        return json.loads(
            json.dumps(
                {
                    'config': self.detector.config_sha256(),
                    'checkpoint': weights_sha256(self.model),
                    'other detectors': self._other_weights(),
                    'photos': [photo.sha256() for photo in self.photos],
                    'objects': [
                        hashlib.sha256(o.pixels.tobytes()).hexdigest() for o in self.pasted
                    ],
                    'settings': dataclasses.asdict(self.settings),
                    'device': torch.device(self.device).type,
                    'threads': torch.get_num_threads() if self.device == 'cpu' else None,
                    'versions': versions(),
                },
                default=str,
            )
        )

    def _other_weights(self) -> dict[str, str]:
        """Digests of the other checkpoints, which must take the same windows."""
        digests = {}
        for variant in self.variants:
            if variant.files is None:
                continue
            with variant.built(self.model, self.device) as model:
                digests[variant.name] = weights_sha256(model)
                try:
                    for window in window_sizes(self.photos):
                        window_size(model, window, window)
                except UserError as error:
                    raise UserError(
                        f'`checkpoints`: {variant.name} does not take the windows of the first detector: '
                        f'{error}'
                    ) from error
        return digests

    def restored(self, done: BorderResult) -> BorderResult:
        """A result that was read from disk, with its photos and objects at hand again."""
        objects: Sequence[BorderObject]
        if self.pasted:
            objects, _ = self._objects(None, Budget(0, None))
        else:
            objects = [BorderObject.from_json(each) for each in done.info.objects]
        done.photos, done.objects = self.photos, objects
        return done

    def run(self, journal: Journal | None, fingerprint: dict[str, Any]) -> BorderResult | None:
        """Find objects, choose probes, score them; if padding is to blame, try the swaps as well."""
        budget = Budget(self.settings.minutes, journal)
        with config_faults('the detector in the config cannot predict'):
            objects, searched = self._objects(journal, budget)
        probes = ordered_probes(self.photos, objects, self.settings)
        if not probes:
            raise UserError(self._nothing_found(objects, searched))
        possible = len(probes)
        subject = self._subject(objects, probes)
        count = budget.affordable(subject, self.variants, budget.left, 'probes')
        subject = dataclasses.replace(subject, probes=probes[:count])
        scored = run_probes(subject, dict(enumerate(self.variants)), journal)
        result = (
            None
            if scored is None
            else self._result(subject, scored, self.variants, possible, searched, fingerprint)
        )
        blame = result is not None and bool(blame_of(result.statistics[self.variants[0].name]))
        extra = self._swaps_to_try() if gathered(blame)[0] else []
        if not extra:
            return result
        seconds = self.settings.minutes * 60
        more_time = f' (up to {self.settings.minutes:g} more minutes)' if seconds else ''
        print_log(f'Padding is to blame: trying swaps without retraining{more_time}.', 'current')
        count = budget.affordable(subject, extra, seconds, 'probes of the swaps')
        fewer = dataclasses.replace(subject, probes=subject.probes[:count])
        first = len(self.variants)
        more = run_probes(fewer, dict(enumerate(extra, first)), journal)
        if scored is None or more is None:
            return None
        values = np.full((len(extra), *scored[0].shape[1:]), np.nan, np.float32)
        values[:, :count] = more[0]
        together = np.concatenate([scored[0], values]), scored[1] + more[1]
        everything = [*self.variants, *extra]
        return self._result(subject, together, everything, possible, searched, fingerprint)

    def _objects(self, journal: Journal | None, budget: Budget) -> tuple[list[BorderObject], int]:
        """The objects, and in how many photos they were looked for."""
        if self.pasted:
            label = find_label(self.settings.label, self.classes)
            return pasted_objects(self.photos, self.pasted, label, self.settings), len(self.photos)
        if self.settings.ann is not None:
            return annotated_objects(self.photos, self.classes, self.settings), len(self.photos)
        found = self._found(journal, budget) if get_rank() == 0 else ([], 0)
        return gathered(found)[0]

    def _found(self, journal: Journal | None, budget: Budget) -> tuple[list[BorderObject], int]:
        kept = None if journal is None else journal.read_value('objects')
        if kept is not None:
            return [BorderObject.from_json(each) for each in kept['objects']], kept['photos']
        objects: list[BorderObject] = []
        searched = 0
        with contextlib.ExitStack() as stack:
            # What one detector finds alone is what chance has raised in it, so all of them look.
            finders = [
                stack.enter_context(variant.built(self.model, self.device))
                for variant in self.variants
                if variant.kind in (AS_TRAINED, CHECKPOINT)
            ]
            inputs: dict[tuple[int, int], WindowInputs] = {}
            for number, photo in enumerate(track(self.photos, 'finding objects', transient=True)):
                if photo.window not in inputs:
                    inputs[photo.window] = WindowInputs(self.model, photo.window)
                found = []
                for model in finders:
                    if not isinstance(model, CallableDetector):
                        in_channels_last(model)
                    window = inputs[photo.window]
                    found += found_objects(model, window, number, photo, self.settings)
                objects += chosen_objects(found, number, self.settings)
                searched += 1
                if not budget.minutes:
                    continue
                probes = ordered_probes(self.photos, objects, self.settings)
                if budget.is_filled_by(self._subject(objects, probes), self.variants):
                    break
        if journal is not None:
            plain = [each.to_json() for each in objects]
            journal.write_value('objects', {'objects': plain, 'photos': searched})
        return objects, searched

    def _subject(self, objects: Sequence[BorderObject], probes: Sequence[Probe]) -> Subject:
        return Subject(self.model, self.device, self.photos, objects, probes, self.settings)

    def _swaps_to_try(self) -> list[Variant]:
        """The swaps that were not asked for; none where there is nothing to swap."""
        known = [variant.mode for variant in self.variants if variant.kind == SWAP]
        names = {variant.name for variant in self.variants}
        try:
            swaps = swaps_of(self.model, [mode for mode in swappable_modes() if mode not in known])
        except UserError as reason:
            print_log(f'Padding is to blame, but no swap can be tried: {reason}', 'current')
            return []
        return [
            dataclasses.replace(
                swap,
                name=f'{swap.name} (swapped)' if swap.name in names else swap.name,
                note=_TRIED,
            )
            for swap in swaps
        ]

    def _infos(self, variants: Sequence[Variant]) -> list[VariantInfo]:
        """What outputs tell of variants, with the lines of code that a swap leaves alone."""
        swaps = any(variant.kind == SWAP for variant in variants)
        hidden = hidden_in(self.model, self.photos[0].window) if swaps else ()
        return [
            dataclasses.replace(each.info, left_alone=each.left_alone + hidden)
            if each.kind == SWAP
            else each.info
            for each in variants
        ]

    def _nothing_found(self, objects: Sequence[BorderObject], searched: int) -> str:
        photo = self.photos[0]
        room = (
            f'windows of {photo.window[1]} x {photo.window[0]} pixels with {photo.far} pixels beside an '
            f'object on every side'
        )
        larger = 'a larger `zoom` or a smaller `far`'
        if objects:
            return (
                f'none of {len(objects)} objects has room for {room}: give larger photos, {larger}'
            )
        if self.pasted:
            return f'the objects to paste leave no room for {room}: give smaller `sizes`, {larger}'
        if self.settings.ann is not None:
            return (
                f'`ann` has no object of 8 pixels or more in {searched} photos, of a class that the '
                f'detector has: give other photos or annotations'
            )
        return (
            f'no object was found in {searched} photos with a score of at least '
            f'{self.settings.found_thr}: give other photos, annotations (`ann`) or objects to paste '
            f'(`object`)'
        )

    def _result(
        self,
        subject: Subject,
        scored: tuple[np.ndarray, float],
        variants: Sequence[Variant],
        possible: int,
        searched: int,
        fingerprint: dict[str, Any],
    ) -> BorderResult:
        settings = json.loads(json.dumps(dataclasses.asdict(self.settings), default=str))
        info = BorderInfo(
            config=self.detector.config,
            checkpoint=self.detector.checkpoint,
            cfg_options=self.detector.cfg_options,
            device=self.device,
            settings=settings,
            fills=self.fills,
            classes=self.classes,
            views=views_of(self.settings),
            variants=self._infos(variants),
            photos=[photo.to_json() for photo in self.photos],
            objects=[each.to_json() for each in subject.objects],
            possible_probes=possible,
            photos_searched=searched,
            photos_too_small=self.too_small,
            seconds=round(scored[1], 3),
            processes=get_world_size(),
            threads=torch.get_num_threads(),
            versions=versions(),
            fingerprint=fingerprint,
        )
        return BorderResult(info, subject.probes, scored[0], self.photos, subject.objects)
