"""A whole measurement: from a detector and photos to its border loss."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.runner import set_random_seed
from rich.console import Console
from rich.progress import track

from mindpad_mm.border.inputs import WindowInputs, fill_value
from mindpad_mm.border.measure import (
    Subject,
    ordered_probes,
    run_probes,
    seconds_per_probe,
    views_of,
)
from mindpad_mm.border.photos import (
    BorderObject,
    annotated_objects,
    found_objects,
    load_photos,
    pasted_objects,
)
from mindpad_mm.border.result import BorderInfo, BorderResult
from mindpad_mm.border.settings import BorderSettings
from mindpad_mm.border.variants import Variant, all_modes, swaps_of, variants_of
from mindpad_mm.border.verdict import padding_is_to_blame
from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import (
    DetectorFiles,
    detector_classes,
    find_label,
    versions,
    weights_sha256,
)
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, list_images
from mindpad_mm.core.journal import Journal, check_fingerprint, discard, prepare_folder
from mindpad_mm.core.loading import config_faults
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.opened import Detector, OpenedDetector, device_of, opened
from mindpad_mm.core.processes import failing_together, gathered, launched
from mindpad_mm.core.settings import build_settings

# Objects are looked for in further photos until each would be scored this often: photos vary more than
# the objects in them.
_PROBES_A_PHOTO = 8
_RESULT = 'border.json'
_TRIED = 'tried because padding is to blame, on as many cuts as the time allowed'


def border_loss(
    detector: Detector,
    photos: PathLike | np.ndarray | Sequence[PathLike | np.ndarray],
    *,
    object: PathLike | Sequence[PathLike] = (),
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
        object: Images of objects to paste, files or folders. Default: the objects of ``ann``, else
            what the detector itself finds far from borders.
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
    if settings is not None and options:
        raise UserError(f'give `settings` or single options ({", ".join(options)}), not both')
    settings = settings or build_settings(BorderSettings, options)
    if isinstance(detector, tuple):
        detector = DetectorFiles(*detector)
    folder = None if out is None else Path(out)
    device = device_of(detector)
    with contextlib.ExitStack() as stack:
        own_device = stack.enter_context(launched(launcher, device))
        with failing_together():
            if folder is not None:
                prepare_folder(folder, resume, _RESULT, check=get_rank() == 0)
            elif resume:
                raise UserError('`resume` needs the folder of the work to continue: give `out`')
            set_random_seed(settings.seed)
            subject = stack.enter_context(opened(detector, own_device))
            measurement = _Measurement(
                subject, own_device, photos, _listed(object), checkpoints or {}, settings
            )
            fingerprint = measurement.fingerprint()
            finished = gathered(resume and folder is not None and (folder / _RESULT).is_file())[0]
        if finished and folder is not None:
            if get_rank() > 0:
                return None
            done = BorderResult.load(folder)
            check_fingerprint(done.info.fingerprint, fingerprint, folder)
            discard(folder)
            return done
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
        photos: PathLike | np.ndarray | Sequence[PathLike | np.ndarray],
        pasted: Sequence[PathLike],
        checkpoints: Mapping[str, Detector],
        settings: BorderSettings,
    ) -> None:
        self.detector, self.device, self.settings = detector, device, settings
        self.model = detector.model
        self._measured: dict[tuple[str, ...], float] = {}
        self.classes = detector_classes(self.model)
        for name in settings.labels:
            find_label(name, self.classes)
        if pasted and settings.ann is not None:
            raise UserError('give `object` or `ann`, not both: objects are pasted or annotated')
        self.pasted = [ScanObject.from_file(file) for file in list_images(pasted)]
        self.variants = variants_of(self.model, settings, checkpoints)
        with config_faults('the test pipeline in the config fails on the photos'):
            self.photos = load_photos(photos, self.model, settings)
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
                    'other detectors': {
                        variant.name: variant.weights(self.model, self.device)
                        for variant in self.variants
                        if variant.files is not None
                    },
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

    def run(self, journal: Journal | None, fingerprint: dict[str, Any]) -> BorderResult | None:
        """Find objects, choose probes, score them; if padding is to blame, try the swaps as well."""
        deadline = time.perf_counter() + self.settings.minutes * 60
        with config_faults('the detector in the config cannot predict'):
            objects, searched = self._objects(journal, deadline)
        probes = ordered_probes(self.photos, objects, self.settings)
        if not probes:
            raise UserError(self._nothing_found(objects))
        possible = len(probes)
        subject = Subject(self.model, self.device, self.photos, objects, probes, self.settings)
        left = deadline - time.perf_counter()
        count = self._affordable(subject, self.variants, left, journal, 'probes')
        subject = dataclasses.replace(subject, probes=probes[:count])
        scored = run_probes(subject, dict(enumerate(self.variants)), journal)
        result = (
            None
            if scored is None
            else self._result(subject, scored, self.variants, possible, searched, fingerprint)
        )
        blame = result is not None and padding_is_to_blame(result.statistics[self.variants[0].name])
        extra = self._swaps_to_try() if gathered(blame)[0] else []
        if not extra:
            return result
        print_log('Padding is to blame: trying the swaps without retraining.', 'current')
        seconds = self.settings.minutes * 60
        count = self._affordable(subject, extra, seconds, journal, 'probes of the swaps')
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

    def _objects(self, journal: Journal | None, deadline: float) -> tuple[list[BorderObject], int]:
        """The objects, and in how many photos they were looked for."""
        if self.pasted:
            label = find_label(self.settings.label, self.classes)
            return pasted_objects(self.photos, self.pasted, label, self.settings), len(self.photos)
        if self.settings.ann is not None:
            return annotated_objects(self.photos, self.classes, self.settings), len(self.photos)
        found = self._found(journal, deadline) if get_rank() == 0 else ([], 0)
        return gathered(found)[0]

    def _found(self, journal: Journal | None, deadline: float) -> tuple[list[BorderObject], int]:
        kept = None if journal is None else journal.read_value('objects')
        if kept is not None:
            boxes = [tuple(each['box']) for each in kept['objects']]
            known = [BorderObject(**{**e, 'box': box}) for e, box in zip(kept['objects'], boxes)]
            return known, kept['photos']
        inputs: dict[tuple[int, int], WindowInputs] = {}
        objects: list[BorderObject] = []
        searched = 0
        if not isinstance(self.model, CallableDetector):
            self.model.to(memory_format=torch.channels_last)
        for number, photo in enumerate(
            track(self.photos, 'finding objects', console=Console(stderr=True), transient=True)
        ):
            if photo.window not in inputs:
                inputs[photo.window] = WindowInputs(self.model, photo.window)
            objects += found_objects(self.model, inputs[photo.window], number, photo, self.settings)
            searched += 1
            if self._have_enough(objects, deadline):
                break
        if journal is not None:
            plain = [_object_json(each) for each in objects]
            journal.write_value('objects', {'objects': plain, 'photos': searched})
        return objects, searched

    def _have_enough(self, objects: Sequence[BorderObject], deadline: float) -> bool:
        """Whether scoring these objects will take the rest of the time."""
        if not self.settings.minutes:
            return False
        probes = ordered_probes(self.photos, objects, self.settings)
        if not probes:
            return False
        subject = Subject(self.model, self.device, self.photos, objects, probes, self.settings)
        each = self._seconds(subject, self.variants) / get_world_size()
        wanted = _PROBES_A_PHOTO * len({probe.photo for probe in probes})
        return min(wanted, len(probes)) * each >= deadline - time.perf_counter()

    def _seconds(self, subject: Subject, variants: Sequence[Variant]) -> float:
        """Seconds that a probe takes under some variants; measured once."""
        names = tuple(variant.name for variant in variants)
        if names not in self._measured:
            self._measured[names] = seconds_per_probe(subject, variants)
        return self._measured[names]

    def _affordable(
        self,
        subject: Subject,
        variants: Sequence[Variant],
        seconds: float,
        journal: Journal | None,
        name: str,
    ) -> int:
        """How many probes can be scored in the time; at least one."""
        count = len(subject.probes)
        if self.settings.minutes and get_rank() == 0:
            kept = None if journal is None else journal.read_value(name)
            if kept is None:
                each = self._seconds(subject, variants) / get_world_size()
                kept = max(1, min(count, int(seconds / each)))
                if journal is not None:
                    journal.write_value(name, kept)
            count = kept
        return gathered(count)[0]

    def _swaps_to_try(self) -> list[Variant]:
        if isinstance(self.model, CallableDetector):
            return []
        known = {variant.name for variant in self.variants}
        return [
            dataclasses.replace(variant, note=_TRIED)
            for variant in swaps_of(self.model, all_modes())
            if variant.name not in known
        ]

    def _nothing_found(self, objects: Sequence[BorderObject]) -> str:
        photo = self.photos[0]
        if not objects:
            return (
                f'no object was found in {len(self.photos)} photos with a score of at least '
                f'{self.settings.found_thr}: give other photos, annotations (`ann`) or objects to '
                f'paste (`object`)'
            )
        return (
            f'none of {len(objects)} objects has room for windows of {photo.window[1]} x '
            f'{photo.window[0]} pixels with {photo.far} pixels on every side: give larger photos, a '
            f'larger `zoom` or a smaller `far`'
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
            variants=[variant.info for variant in variants],
            photos=[photo.to_json() for photo in self.photos],
            objects=[_object_json(each) for each in subject.objects],
            possible_probes=possible,
            photos_searched=searched,
            seconds=round(scored[1], 3),
            processes=get_world_size(),
            threads=torch.get_num_threads(),
            versions=versions(),
            fingerprint=fingerprint,
        )
        return BorderResult(info, subject.probes, scored[0], self.photos, subject.objects)


def _object_json(obj: BorderObject) -> dict[str, Any]:
    return {
        'photo': obj.photo,
        'label': obj.label,
        'box': [round(value, 3) for value in obj.box],
        'source': obj.source,
        'score': obj.score,
    }


def _listed(given: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [given] if isinstance(given, (str, Path)) else list(given)
