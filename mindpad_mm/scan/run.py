"""From a config, a checkpoint and file names to a finished scan in a folder."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner import set_random_seed

from mindpad_mm.core.detector import (
    SCORE_THR,
    detector_classes,
    find_label,
    lowered_thresholds,
    versions,
    weights_sha256,
)
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.images import PathLike, list_images
from mindpad_mm.core.loading import load_config, load_detector
from mindpad_mm.core.objects import ScanObject, load_coco_objects
from mindpad_mm.core.scenes import SPACES, Background, Scene, load_backgrounds, make_scene
from mindpad_mm.scan.driver import run_scan
from mindpad_mm.scan.engines import find_engine
from mindpad_mm.scan.journal import check_fingerprint, discard, prepare_folder
from mindpad_mm.scan.launch import launched
from mindpad_mm.scan.phase import grid_strides
from mindpad_mm.scan.plan import AUTO, ScanTask
from mindpad_mm.scan.result import ScanResult
from mindpad_mm.scan.statistics import map_statistics, over_backgrounds

# What the scores depend on besides the inputs.
_OPTIONS = (
    'label', 'sizes', 'stride', 'space', 'iou_thr', 'clean_thr', 'engine', 'batch_size', 'tolerance',
)  # fmt: skip


def blindspot_scan(
    config: PathLike,
    checkpoint: PathLike | None,
    out: PathLike | None = None,
    *,
    backgrounds: Sequence[PathLike] = (),
    objects: Sequence[PathLike] = (),
    from_coco: PathLike | None = None,
    ann_ids: Sequence[int] = (),
    photo_root: PathLike | None = None,
    label: str | None = None,
    sizes: Sequence[int] = (32,),
    stride: int = 4,
    space: str = 'input',
    engine: str = AUTO,
    iou_thr: float = 0.5,
    clean_thr: float = SCORE_THR,
    periods: Sequence[int] | None = None,
    batch_size: int | str = 8,
    tolerance: float = 1e-3,
    device: str = 'cpu',
    launcher: str = 'none',
    cfg_options: dict[str, Any] | None = None,
    seed: int = 0,
    resume: bool = False,
) -> ScanResult | None:
    """Slide an object over scenes and write a detector's confidence at every position.

    Args:
        config: An MMDetection config.
        checkpoint: Its weights; None draws random ones.
        out: Where to write; default ``outputs/<config's name>_scan``.
        backgrounds: Photos or folders of photos. Default: the photos that ``from_coco`` cut its
            objects out of, holes filled; else a drawn street.
        objects: Images to paste, RGBA or opaque, or folders of them. Default, without
            ``from_coco``: a drawn traffic light.
        from_coco, ann_ids, photo_root: Objects cut out by their masks, see
            :func:`mindpad_mm.core.objects.load_coco_objects`.
        label: The class asked for; default ``traffic light`` if the detector has it, else its
            only class.
        sizes: Longer sides of the objects, scene pixels.
        stride: Pixels between positions.
        space: ``input`` (default) pastes in the network's input, ``image`` in the photo.
        engine: Name in the registry of engines; ``auto`` takes the fastest exact one.
        iou_thr: In 0..1, a detection counts where its IoU with the pasted box is at least this.
        clean_thr: Positions where the clean scene has such a detection of at least this
            confidence are flagged.
        periods: Candidate periods of the grid in scene pixels; default the detector's strides.
        batch_size: Positions a forward pass, or ``auto`` to measure.
        tolerance: Largest difference in score that an approximate engine may show at its checks.
        device: For torch, e.g. ``cuda:0``.
        launcher: What started the processes that share the scan, see
            :func:`mindpad_mm.scan.launch.launched`; default ``none``, this one does it all. The
            same files must be there for all of them, ``out`` only for the first.
        cfg_options: Overrides of the config.
        seed: Of the drawn object and street, and of torch.
        resume: Go on with the scan in ``out``; a finished one is returned as it is.

    Returns:
        What ``out`` now holds in ``scan.npz`` and ``scan.json``; of several processes, the others
        than the first get None.

    Raises:
        UserError: Anything in the input that its user can mend.
    """
    with launched(launcher, device) as (team, own_device):
        _check_numbers(sizes, stride, iou_thr, clean_thr, batch_size, tolerance, periods, seed)
        if space not in SPACES:
            raise UserError(f'space {space!r} is unknown; choose one of: {", ".join(SPACES)}')
        engine_name = find_engine(engine, space).name
        cfg = load_config(str(config), cfg_options)
        thresholds = lowered_thresholds(cfg)
        out = Path(out or Path('outputs') / f'{Path(config).stem}_scan')
        if team.rank == 0:
            prepare_folder(out, resume)
        scan_objects, photos = _load_objects(objects, from_coco, ann_ids, photo_root, seed)
        photo_backgrounds = _load_backgrounds(backgrounds, photos, seed)
        set_random_seed(seed)
        model = load_detector(
            cfg, None if checkpoint is None else str(checkpoint), own_device, cfg_options=thresholds
        )
        classes = detector_classes(model)
        index = find_label(label, classes)
        scenes = [make_scene(background, model.cfg, space) for background in photo_backgrounds]
        task = ScanTask(
            scenes, scan_objects, list(dict.fromkeys(sizes)), index, stride, iou_thr, clean_thr,
            engine_name, batch_size, tolerance,
        )  # fmt: skip
        fingerprint = {
            'config': hashlib.sha256(
                repr(sorted(model.cfg.to_dict().items())).encode()
            ).hexdigest(),
            'checkpoint': weights_sha256(model),
            'background': [_pixels_sha256(scene.pixels) for scene in scenes],
            'object': [_pixels_sha256(obj.pixels) for obj in scan_objects],
            **{name: getattr(task, name) for name in _OPTIONS},
            'device': torch.device(device).type,
            # Other numbers of threads add up floats in another order.
            'threads': torch.get_num_threads() if device == 'cpu' else None,
            'versions': versions(),
        }
        told = team.exchange((fingerprint, resume and (out / 'scan.json').is_file()))
        if team.rank == 0:
            _check_alike([other for other, _ in told])
        if told[0][1]:
            if team.rank > 0:
                return None
            done = ScanResult.load(out)
            check_fingerprint(done.info['fingerprint'], fingerprint, out)
            discard(out)
            return done

        result = run_scan(model, task, out, fingerprint, team)
        if result is None:
            return None
        result.info = {
            'config': str(config),
            'checkpoint': None if checkpoint is None else str(checkpoint),
            'cfg_options': {**(cfg_options or {}), **thresholds},
            'label': classes[index],
            'label_index': index,
            'space': space,
            'stride': stride,
            'iou_thr': iou_thr,
            'clean_thr': clean_thr,
            'tolerance': tolerance,
            'device': device,
            'seed': seed,
            **result.info,
            'periods': list(periods or _scene_periods(grid_strides(model), scenes)),
            'versions': versions(),
            'fingerprint': fingerprint,
        }
        result.info['statistics'] = scan_statistics(result)
        _warn_of_nothing(result)
        result.save(out)
        discard(out)
        return result


def scan_statistics(result: ScanResult) -> dict[str, Any]:
    """The figures of every map (``maps``) and their means over backgrounds (``overall``)."""
    maps = []
    for background, obj, size in result.indices():
        figures = map_statistics(result.score_map(background, obj, size), result.info['periods'])
        where = {'background': background, 'object': obj, 'size': result.info['sizes'][size]}
        maps.append({**where, **figures})
    return {'overall': over_backgrounds(maps), 'maps': maps}


def _warn_of_nothing(result: ScanResult) -> None:
    """Say what to look at where a scan has nothing to show."""
    info, known = result.info, ~np.isnan(result.scores)
    if not result.scores[known].any():
        print_log(
            f'{info["label"]!r} was found nowhere with an IoU of {info["iou_thr"]} or more: is that '
            f'what is pasted, at a size that the detector finds (--object, --size, --label)?',
            'current',
            logging.WARNING,
        )
    if result.flags[known].all():
        print_log(
            f'the clean scene alone scores {info["clean_thr"]} or more at every position, so that '
            f'none is left: take another --background or a higher --clean-thr',
            'current',
            logging.WARNING,
        )


def _check_alike(fingerprints: list[dict[str, Any]]) -> None:
    for rank, found in enumerate(fingerprints):
        differing = [key for key, value in fingerprints[0].items() if found[key] != value]
        if differing:
            raise UserError(
                f'process {rank} has another {", ".join(differing)} than process 0: give all the '
                f'same files, packages and OMP_NUM_THREADS'
            )


def _check_numbers(
    sizes: Sequence[int],
    stride: int,
    iou_thr: float,
    clean_thr: float,
    batch_size: int | str,
    tolerance: float,
    periods: Sequence[int] | None,
    seed: int,
) -> None:
    if stride < 1:
        raise UserError(f'stride {stride} is not possible: it must be at least 1 pixel')
    if not 0 < iou_thr <= 1:
        raise UserError(f'iou-thr {iou_thr} is not possible: it must be above 0 and at most 1')
    if not 0 < clean_thr < math.inf:
        raise UserError(f'clean-thr {clean_thr} is not possible: it must be above 0')
    if not 0 <= tolerance < math.inf:
        raise UserError(f'tolerance {tolerance} is not possible: it must be at least 0')
    if not 0 <= seed < 1 << 32:
        raise UserError(f'seed {seed} is not possible: it must be from 0 to 2**32 - 1')
    for period in periods or ():
        if period < 2:
            raise UserError(f'period {period} is not possible: it must be at least 2 pixels')
    for size in sizes:
        if size < 1:
            raise UserError(f'size {size} is not possible: it must be at least 1 pixel')
    if batch_size != AUTO and not (isinstance(batch_size, int) and batch_size >= 1):
        raise UserError(f'batch-size {batch_size!r} is not possible: give 1 or more, or auto')


def _load_objects(
    files: Sequence[PathLike],
    ann_file: PathLike | None,
    ann_ids: Sequence[int],
    photo_root: PathLike | None,
    seed: int,
) -> tuple[list[ScanObject], dict[Path, np.ndarray]]:
    objects = [ScanObject.from_file(file) for file in list_images(files)]
    if ann_file is None:
        if ann_ids:
            raise UserError('ann-id needs the annotation file that it is from: give --from-coco')
        if photo_root is not None:
            raise UserError('photo-root is the folder of --from-coco: give that, too')
        return objects or [ScanObject.drawn(seed)], {}
    if not ann_ids:
        raise UserError('from-coco needs the annotation to cut out: give --ann-id')
    cut, holes = load_coco_objects(ann_file, ann_ids, photo_root)
    return objects + cut, holes


def _load_backgrounds(
    paths: Sequence[PathLike], holes: dict[Path, np.ndarray], seed: int
) -> list[Background]:
    if not paths and not holes:
        return [Background.drawn(seed)]
    return load_backgrounds(paths or list(holes), holes)


def _scene_periods(strides: Sequence[int], scenes: Sequence[Scene]) -> list[int]:
    """Strides in scene pixels: those that are whole numbers of pixels in every scene."""
    scales = {scale for scene in scenes for scale in scene.scale}
    if max(scales) - min(scales) > 1e-9:
        return []
    periods = [stride / min(scales) for stride in strides]
    return [round(p) for p in periods if math.isclose(p, round(p), rel_tol=1e-9)]


def _pixels_sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
