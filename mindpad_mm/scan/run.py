"""Scan a detector: objects at every position of scenes, score maps and their statistics."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
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
    find_label,
    versions,
    weights_sha256,
)
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, check_pixels, list_images
from mindpad_mm.core.journal import check_fingerprint, discard, prepare_folder
from mindpad_mm.core.objects import ScanObject, load_coco_objects
from mindpad_mm.core.opened import Detector, OpenedDetector, device_of, opened
from mindpad_mm.core.processes import failing_together, gathered, launched
from mindpad_mm.core.scenes import Background, Scene, load_backgrounds
from mindpad_mm.core.settings import build_settings
from mindpad_mm.scan.chunks import ScanTask
from mindpad_mm.scan.driver import run_scan
from mindpad_mm.scan.engines import find_engine
from mindpad_mm.scan.phase import grid_strides
from mindpad_mm.scan.result import ScanArrays, ScanInfo, ScanResult, ScanRun, score_map_of
from mindpad_mm.scan.settings import AUTO, ScanSettings
from mindpad_mm.scan.statistics import (
    ScanMapStatistics,
    ScanStatistics,
    map_statistics,
    over_backgrounds,
)

Pixels = PathLike | np.ndarray
"""An image file, a folder of image files, or pixels with OpenCV's channel order."""


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
    if settings is not None and options:
        raise UserError(f'give `settings` or single options ({", ".join(options)}), not both')
    settings = settings or build_settings(ScanSettings, options)
    if isinstance(detector, tuple):
        detector = DetectorFiles(*detector)
    folder = None if out is None else Path(out)
    device = device_of(detector)
    with contextlib.ExitStack() as stack:
        own_device = stack.enter_context(launched(launcher, device))
        with failing_together():
            if folder is not None:
                prepare_folder(folder, resume, 'scan.json', check=get_rank() == 0)
            elif resume:
                raise UserError('`resume` needs the folder of the scan to continue: give `out`')
            objects, holes = _load_objects(object, settings)
            backgrounds = _load_scenes(scene, holes, settings.seed)
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
        if scanned is None:
            return None
        arrays, run = scanned
        result = _result(arrays, run, subject, task, device, fingerprint)
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
    return ScanTask(
        scenes=[subject.make_scene(background, settings.space) for background in backgrounds],
        objects=objects,
        sizes=settings.sizes,
        label=find_label(settings.label, detector_classes(subject.model)),
        settings=settings,
        engine=find_engine(engine, settings.space).name,
    )


def _fingerprint(subject: OpenedDetector, task: ScanTask, device: str) -> dict[str, Any]:
    """Everything that the scores depend on, as JSON types."""
    settings = task.settings
    return {
        'config': subject.config_sha256(),
        'checkpoint': weights_sha256(subject.model),
        'background': [_pixels_sha256(scene.pixels) for scene in task.scenes],
        'object': [_pixels_sha256(obj.pixels) for obj in task.objects],
        'label': task.label,
        'sizes': list(task.sizes),
        'stride': settings.stride,
        'space': settings.space,
        'iou_thr': settings.iou_thr,
        'clean_thr': settings.clean_thr,
        'engine': task.engine,
        'batch_size': settings.batch_size,
        'tolerance': settings.tolerance,
        'device': torch.device(device).type,
        # The order in which floats are added up depends on the number of threads.
        'threads': torch.get_num_threads() if device == 'cpu' else None,
        'versions': versions(),
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
    periods = list(settings.periods or _scene_periods(grid_strides(subject.model), task.scenes))
    info = ScanInfo(
        **vars(run),
        config=subject.config,
        checkpoint=subject.checkpoint,
        cfg_options=subject.cfg_options,
        label=detector_classes(subject.model)[task.label],
        label_index=task.label,
        space=settings.space,
        stride=settings.stride,
        iou_thr=settings.iou_thr,
        clean_thr=settings.clean_thr,
        tolerance=settings.tolerance,
        device=device,
        seed=settings.seed,
        periods=periods,
        versions=versions(),
        fingerprint=fingerprint,
        statistics=scan_statistics(arrays, run, periods),
    )
    scenes = [scene.pixels for scene in task.scenes]
    return ScanResult(**vars(arrays), info=info, pixels=(scenes, task.pasted))


def scan_statistics(arrays: ScanArrays, run: ScanRun, periods: Sequence[int]) -> ScanStatistics:
    """The statistics of every map, and their means over backgrounds.

    Args:
        arrays: The scan's arrays.
        run: Its backgrounds, objects and sizes.
        periods: Candidate periods of the grid's pattern, pixels of the scene.
    """
    maps: list[ScanMapStatistics] = []
    for background, obj, size in np.ndindex(*arrays.scores.shape[:3]):
        scene = run.backgrounds[background]
        height, width = run.objects[obj].boxes[size]
        score_map = score_map_of(
            arrays, (background, obj, size), (height, width), (scene.height, scene.width)
        )
        maps.append(
            {
                'background': background,
                'object': obj,
                'size': run.sizes[size],
                **map_statistics(score_map, periods),
            }
        )
    return {'overall': over_backgrounds(maps), 'maps': maps}


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


def _load_objects(
    given: Pixels | Sequence[Pixels], settings: ScanSettings
) -> tuple[list[ScanObject], dict[Path, np.ndarray]]:
    """The objects, and the holes that those of ``from_coco`` leave in their photos."""
    objects = []
    for each in _listed(given):
        if isinstance(each, np.ndarray):
            check_pixels('object', each, channels=(1, 3, 4))
            objects.append(ScanObject.from_pixels(each, 'array'))
        else:
            objects += [ScanObject.from_file(file) for file in list_images([each])]
    if settings.from_coco is None:
        return objects or [ScanObject.drawn(settings.seed)], {}
    cut, holes = load_coco_objects(settings.from_coco, settings.ann_ids, settings.photo_root)
    return objects + cut, holes


def _load_scenes(
    given: Pixels | Sequence[Pixels], holes: Mapping[Path, np.ndarray], seed: int
) -> list[Background]:
    scenes = _listed(given)
    if not scenes:
        return load_backgrounds(list(holes), holes) if holes else [Background.drawn(seed)]
    backgrounds = []
    for each in scenes:
        if isinstance(each, np.ndarray):
            check_pixels('scene', each, channels=(3,))
            backgrounds.append(Background(np.ascontiguousarray(each), 'array'))
        else:
            backgrounds += load_backgrounds([each], holes)
    return backgrounds


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, (str, Path, np.ndarray)) else list(given)


def _scene_periods(strides: Sequence[int], scenes: Sequence[Scene]) -> list[int]:
    """Strides of the network in pixels of the scene, where they are whole numbers.

    Empty if the scenes are scaled differently.
    """
    scales = {scale for scene in scenes for scale in scene.scale}
    if max(scales) - min(scales) > 1e-9:
        return []
    periods = [stride / min(scales) for stride in strides]
    return [round(p) for p in periods if math.isclose(p, round(p), rel_tol=1e-9)]


def _pixels_sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
