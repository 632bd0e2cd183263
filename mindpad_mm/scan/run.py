"""Scan a detector: objects at every position of scenes, score maps and their statistics."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.runner import set_random_seed

from mindpad_mm.core.callable_detector import CallableDetector
from mindpad_mm.core.detector import (
    DetectorFiles,
    detector_classes,
    versions,
    weights_sha256,
)
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import alone_in, check_fingerprint, discard, prepare_folder
from mindpad_mm.core.names import PathLike
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.core.opened import Detector, OpenedDetector, device_of, opened
from mindpad_mm.core.processes import failing_together, gathered, launched
from mindpad_mm.core.scenes import Background, Part, Scene
from mindpad_mm.core.settings import chosen_settings
from mindpad_mm.scan.arrays import ScanArrays, loss_map_of, score_map_of
from mindpad_mm.scan.chunks import ScanTask, check_sizes
from mindpad_mm.scan.cutouts import cut_windows
from mindpad_mm.scan.driver import run_scan
from mindpad_mm.scan.engines import find_engine
from mindpad_mm.scan.info import ScanInfo, ScanRun
from mindpad_mm.scan.inputs import (
    Pixels,
    label_of,
    load_objects,
    load_scenes,
    sizes_of,
    with_natural_sizes,
)
from mindpad_mm.scan.loss import loss_statistics
from mindpad_mm.scan.phase import Period, grid_strides
from mindpad_mm.scan.quick import uneven_statistics
from mindpad_mm.scan.rerun import blind_places, find_causes
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.statistics import (
    ScanMapStatistics,
    ScanStatistics,
    over_backgrounds,
)
from mindpad_mm.scan.twins import with_twins
from mindpad_mm.settings.scan import AUTO, ScanSettings


def blindspot_scan(
    detector: Detector,
    scene: Pixels | Sequence[Pixels] = (),
    object: Pixels | Sequence[Pixels] = (),
    *,
    out: PathLike | None = None,
    resume: bool = False,
    launcher: str = 'none',
    settings: ScanSettings | None = None,
    **options: Any,
) -> ScanResult | None:
    """Paste an object at every position of scenes, and record a detector's score for it.

    Args:
        detector: A built MMDetection detector (``mmdet.apis.init_detector``), a
            :class:`mindpad_mm.CallableDetector`, or the files of a detector: :class:`DetectorFiles` or
            a pair (config, checkpoint). A built detector is scanned on its own device. During the scan
            its score thresholds are lowered to 0.001; it may stay in the channels_last format.
        scene: Photos to paste into: files, folders, or (H, W, 3) uint8 BGR arrays. Default: the photos
            that the objects of ``from_coco`` were cut out of, with the holes inpainted, or else a drawn
            street.
        object: Images to paste: files, folders, or uint8 arrays, BGRA, BGR (opaque) or grey. Default:
            the objects of ``from_coco``, or else a drawn traffic light.
        out: Folder for ``scan.npz``, ``scan.json``, the scenes and the objects. While the scan runs, its
            finished chunks are saved there. Default: nothing is written.
        resume: Continue the scan in ``out``. If it is finished, it is returned.
        launcher: The launcher that started the processes of the scan, see
            :func:`mindpad_mm.core.processes.launched`. All of them must be able to read the inputs.
        settings: All settings, instead of ``options``.
        options: Fields of :class:`ScanSettings`, e.g. ``label``, ``sizes`` or ``stride``.

    Returns:
        The result; None on all processes but that of rank 0.

    Raises:
        UserError: An input or a setting is not valid.

    Example:
        >>> model = mmdet.apis.init_detector('ssd300.py', 'ssd300.pth', device='cpu')
        >>> result = blindspot_scan(model, 'street.jpg', 'light.png', label='traffic light', stride=8)
        >>> print(result.summary())
    """
    settings = chosen_settings(ScanSettings, settings, options)
    engine = find_engine(settings.engine, settings.space)  # refuses one that does not exist
    if settings.bystanders and not engine.complete:
        raise UserError(
            f'`bystanders` needs all detections, and `engine={engine.name!r}` computes only those near '
            f"the object: use `engine='auto'`"
        )
    if isinstance(detector, tuple):
        detector = DetectorFiles(*detector)
    folder = None if out is None else Path(out)
    device = device_of(detector)
    with contextlib.ExitStack() as stack:
        own_device = stack.enter_context(launched(launcher, device))
        with failing_together():
            if folder is not None:
                prepare_folder(folder, resume, 'scan.json', check=False)
                stack.enter_context(alone_in(folder if get_rank() == 0 else None))
                prepare_folder(folder, resume, 'scan.json', check=get_rank() == 0)
            elif resume:
                raise UserError('`resume` needs the folder of the scan to continue: give `out`')
            objects, holes = load_objects(object, settings)
            backgrounds = load_scenes(scene, holes, settings)
            set_random_seed(settings.seed)
            subject = stack.enter_context(opened(detector, own_device))
            task = _task(subject, backgrounds, objects, settings)
            fingerprint = _fingerprint(subject, task, device)
            finished = folder is not None and resume and (folder / 'scan.json').is_file()
            of_all = gathered((fingerprint, finished))
            if get_rank() == 0:
                _check_equal([other for other, _ in of_all])
        # Rank 0 decides for all processes.
        if folder is not None and of_all[0][1]:
            if get_rank() > 0:
                return None
            done = ScanResult.load(folder)
            check_fingerprint(done.info.fingerprint, fingerprint, folder)
            discard(folder)
            return done
        scanned = run_scan(subject.model, task, folder, fingerprint)
        result = None
        if scanned is not None:
            result = _result(*scanned, subject, task, device, fingerprint)
            result.count_bystanders(detector_classes(subject.model))
        if settings.causes:
            places = None if result is None else blind_places(result, result.info.statistics)
            shape = () if result is None else result.scores.shape
            found = find_causes(subject.model, task, places, shape, folder, fingerprint)
            if result is not None and found is not None:
                result.add_causes(found)
        if result is None:
            return None
        _warn_if_empty(result)
        if folder is not None:
            result.save(folder)
            discard(folder)
        return result


def _task(
    subject: OpenedDetector,
    backgrounds: Sequence[Background],
    objects: Sequence[ScanObject],
    settings: ScanSettings,
) -> ScanTask:
    engine = settings.engine
    if engine == AUTO and isinstance(subject.model, CallableDetector):
        engine = 'full'
    classes = detector_classes(subject.model)
    objects = with_natural_sizes(objects, subject, settings)
    cuts = []
    if settings.window is not None:
        cuts = cut_windows(backgrounds, subject, settings)
        backgrounds = [cut.window() for cut in cuts]
    task = ScanTask(
        scenes=[subject.make_scene(background, settings.space) for background in backgrounds],
        objects=objects,
        sizes=sizes_of(objects, settings),
        label=label_of(objects, settings.label, classes),
        settings=settings,
        engine=engine,
    )
    check_sizes(task)
    return with_twins(task, cuts, subject.make_scene) if cuts else task


def _fingerprint(subject: OpenedDetector, task: ScanTask, device: str) -> dict[str, Any]:
    """Everything that the scores depend on, as JSON types."""
    settings = task.settings
    return {
        'config': subject.config_sha256(),
        'checkpoint': weights_sha256(subject.model),
        'background': [_pixels_sha256(scene.pixels) for scene in task.scenes],
        'photo': [list(scene.photo) for scene in task.scenes],
        'object': [_pixels_sha256(obj.pixels) for obj in task.objects],
        'label': task.label,
        'sizes': [
            [list(obj.natural or ()) for obj in task.objects] if size is None else size
            for size in task.sizes
        ],
        'stride': settings.stride,
        'space': settings.space,
        'iou_thr': settings.iou_thr,
        'clean_thr': settings.clean_thr,
        'engine': task.engine,
        'batch_size': settings.batch_size,
        'tolerance': settings.tolerance,
        'checking': settings.checking,
        'device': torch.device(device).type,
        # The order in which floats are added up depends on the number of threads.
        'threads': torch.get_num_threads() if device == 'cpu' else None,
        'versions': versions(),
        **({'quick': True} if settings.quick else {}),
        **({'bystanders': True} if settings.bystanders else {}),
        **({'causes': True} if settings.causes else {}),
        **({'windows': _windows(task), 'far': settings.far} if task.cuts else {}),
    }


def _result(
    arrays: ScanArrays,
    run: ScanRun,
    subject: OpenedDetector,
    task: ScanTask,
    device: str,
    fingerprint: dict[str, Any],
) -> ScanResult:
    settings = task.settings
    periods: list[Period] = [(float(period), float(period)) for period in settings.periods or ()]
    periods = periods or _scene_periods(grid_strides(subject.model), task.scenes)
    info = ScanInfo(
        **vars(run),
        config=subject.config,
        checkpoint=subject.checkpoint,
        cfg_options=subject.cfg_options,
        label=detector_classes(subject.model)[task.label],
        label_index=task.label,
        space=settings.space,
        stride=settings.stride,
        quick=settings.quick,
        far=settings.far,
        iou_thr=settings.iou_thr,
        clean_thr=settings.clean_thr,
        tolerance=settings.tolerance,
        device=device,
        seed=settings.seed,
        periods=[list(period) for period in periods],
        versions=versions(),
        fingerprint=fingerprint,
        statistics=scan_statistics(arrays, run, periods, settings.far),
    )
    scenes = [scene.pixels for scene in task.scenes]
    photos = [cut.photo for cut in task.cuts] or None
    return ScanResult(**vars(arrays), info=info, pixels=(scenes, task.pasted), photos=photos)


def scan_statistics(
    arrays: ScanArrays, run: ScanRun, periods: Sequence[Sequence[float]], far: int = 0
) -> ScanStatistics:
    """The statistics of every map, and their means over backgrounds.

    Args:
        arrays: The scan's arrays.
        run: Its backgrounds, objects and sizes.
        periods: Candidate periods of the grid's pattern, (vertical, horizontal) pixels of the scene.
        far: Distance from every side at which the interior of windows begins, pixels.
    """
    maps: list[ScanMapStatistics] = []
    for background, obj, size in np.ndindex(*arrays.scores.shape[:3]):
        scene = run.backgrounds[background]
        height, width = run.objects[obj].boxes[size]
        score_map = score_map_of(
            arrays, (background, obj, size), (height, width), Part(*scene.photo)
        )
        maps.append(
            {
                'background': background,
                'object': obj,
                'size': max(height, width),
                **uneven_statistics(score_map, periods, run.inside_stride),
            }
        )
        if run.windows:
            loss_map = loss_map_of(arrays, (background, obj, size), score_map)
            maps[-1]['loss'] = loss_statistics(loss_map, far)
    return {'overall': over_backgrounds(maps), 'maps': maps}


def _windows(task: ScanTask) -> list[list[Any]]:
    return [[_pixels_sha256(cut.photo), *cut.corner] for cut in task.cuts]


def _warn_if_empty(result: ScanResult) -> None:
    """Log a warning if the object was found nowhere, or if all positions are flagged."""
    info, known = result.info, ~np.isnan(result.scores)
    if not result.scores[known].any():
        print_log(
            f'{info.label!r} was found at no position with an IoU of at least {info.iou_thr}: check '
            f'that the object is of this class and that the detector can find it at this size',
            'current',
            logging.WARNING,
        )
    if result.flags[known].all():
        print_log(
            f'the clean scene alone scores at least {info.clean_thr} at every position, so all '
            f'positions are flagged: use another scene or a higher clean_thr',
            'current',
            logging.WARNING,
        )


def _check_equal(fingerprints: Sequence[dict[str, Any]]) -> None:
    """Check that all processes scan the same, given their fingerprints by rank.

    Raises:
        UserError: A fingerprint differs from that of rank 0.
    """
    for rank, found in enumerate(fingerprints):
        differing = [key for key, value in fingerprints[0].items() if found[key] != value]
        if differing:
            raise UserError(
                f'process {rank} differs from process 0 in {", ".join(differing)}: give all processes '
                f'the same files, packages and OMP_NUM_THREADS'
            )


def _scene_periods(strides: Sequence[Period], scenes: Sequence[Scene]) -> list[Period]:
    """Strides of the network in pixels of the scene. Empty if the scenes are scaled differently."""
    scales = np.array([scene.scale for scene in scenes])
    if (np.ptp(scales, axis=0) > 1e-9).any():
        return []
    # A whole number of pixels must not become another number by rounding of the scale.
    vertical, horizontal = scales[0]
    return [(round(v / vertical, 9), round(h / horizontal, 9)) for v, h in strides]


def _pixels_sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
