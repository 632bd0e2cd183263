"""A whole scan: from a detector, scenes and objects to score maps and their statistics."""

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
from mindpad_mm.core.images import PathLike, list_images
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
from mindpad_mm.scan.statistics import map_statistics, over_backgrounds

Pixels = PathLike | np.ndarray
"""A file or a folder of files, or pixels in OpenCV's channel order."""


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
    """Slide an object over scenes and record a detector's score at every position.

    Args:
        detector: A built MMDetection detector (``mmdet.apis.init_detector``), a
            :class:`mindpad_mm.CallableDetector`, or the files of a detector: :class:`DetectorFiles` or
            a pair (config, checkpoint). A built detector is scanned on the device where it is, with its
            score thresholds lowered to 0.001 for the time of the scan. It may be left in channels_last.
        scene: Photos to paste in: files, folders, or (H, W, 3) uint8 BGR arrays. Default: the photos
            that ``from_coco`` cut its objects out of, with the holes filled; else a drawn street.
        object: Images to paste: files, folders, or uint8 arrays, BGRA, BGR (opaque) or grey. Default,
            without ``from_coco``: a drawn traffic light.
        out: Folder to write ``scan.npz``, ``scan.json`` and the inputs to; finished chunks are kept in it
            while the scan runs. Default: the result is in memory only.
        resume: Continue the scan in ``out``; a finished one is returned as it is.
        launcher: What started the processes that share the scan, see
            :func:`mindpad_mm.core.processes.launched`. The inputs must be readable for all of them.
        settings: All settings at once; instead of ``options``.
        options: Fields of :class:`ScanSettings`, such as ``label``, ``sizes`` or ``stride``.

    Returns:
        The result; with several processes, None on all but the first.

    Raises:
        UserError: Anything in the input that its user can mend.

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
            prints = gathered((fingerprint, resume and _is_finished(folder)))
            if get_rank() == 0:
                _check_alike([other for other, _ in prints])
        finished = prints[0][1]
        if finished and folder is not None:
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
        _warn_of_nothing(result)
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
    """All that the scores depend on, as JSON types."""
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
        # Other numbers of threads add up floats in another order.
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


def scan_statistics(arrays: ScanArrays, run: ScanRun, periods: Sequence[int]) -> dict[str, Any]:
    """The statistics of every map (``maps``) and their means over backgrounds (``overall``)."""
    maps = []
    for background, obj, size in np.ndindex(*arrays.scores.shape[:3]):
        scene = run.backgrounds[background]
        height, width = run.objects[obj].boxes[size]
        score_map = score_map_of(
            arrays, (background, obj, size), (height, width), (scene.height, scene.width)
        )
        where = {'background': background, 'object': obj, 'size': run.sizes[size]}
        maps.append({**where, **map_statistics(score_map, periods)})
    return {'overall': over_backgrounds(maps), 'maps': maps}


def _warn_of_nothing(result: ScanResult) -> None:
    """Say what to look at where a scan has nothing to show."""
    info, known = result.info, ~np.isnan(result.scores)
    if not result.scores[known].any():
        print_log(
            f'{info.label!r} was found nowhere with an IoU of {info.iou_thr} or more: is that what is '
            f'pasted, at a size that the detector finds?',
            'current',
            logging.WARNING,
        )
    if result.flags[known].all():
        print_log(
            f'the clean scene alone scores {info.clean_thr} or more at every position, so that none is '
            f'left: take another scene or a higher clean_thr',
            'current',
            logging.WARNING,
        )


def _is_finished(folder: Path | None) -> bool:
    return folder is not None and (folder / 'scan.json').is_file()


def _check_alike(fingerprints: Sequence[dict[str, Any]]) -> None:
    for rank, found in enumerate(fingerprints):
        differing = [key for key, value in fingerprints[0].items() if found[key] != value]
        if differing:
            raise UserError(
                f'process {rank} has another {", ".join(differing)} than process 0: give all processes '
                f'the same files, packages and OMP_NUM_THREADS'
            )


def _load_objects(
    given: Pixels | Sequence[Pixels], settings: ScanSettings
) -> tuple[list[ScanObject], dict[Path, np.ndarray]]:
    objects = []
    for each in _listed(given):
        if isinstance(each, np.ndarray):
            _check_pixels('object', each, channels=(1, 3, 4))
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
            _check_pixels('scene', each, channels=(3,))
            backgrounds.append(Background(np.ascontiguousarray(each), 'array'))
        else:
            backgrounds += load_backgrounds([each], holes)
    return backgrounds


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, (str, Path, np.ndarray)) else list(given)


def _check_pixels(name: str, pixels: np.ndarray, channels: tuple[int, ...]) -> None:
    found = pixels.shape[2] if pixels.ndim == 3 else 1 if pixels.ndim == 2 else 0
    if pixels.dtype != np.uint8 or found not in channels or not pixels.size:
        wanted = ' or '.join(map(str, channels))
        raise UserError(
            f'`{name}` is an array of {pixels.dtype} and shape {pixels.shape}: give uint8 pixels of '
            f'shape (height, width, {wanted}), channels in the order blue, green, red'
        )


def _scene_periods(strides: Sequence[int], scenes: Sequence[Scene]) -> list[int]:
    """The strides that are whole numbers of pixels in every scene, in pixels of the scene."""
    scales = {scale for scene in scenes for scale in scene.scale}
    if max(scales) - min(scales) > 1e-9:
        return []
    periods = [stride / min(scales) for stride in strides]
    return [round(p) for p in periods if math.isclose(p, round(p), rel_tol=1e-9)]


def _pixels_sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
