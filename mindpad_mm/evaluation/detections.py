"""Detect on a test set, and compute the digest of everything that detections depend on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from mindpad_mm.core.detector import versions
from mindpad_mm.core.files import written_whole
from mindpad_mm.core.loading import load_detector, users_faults
from mindpad_mm.core.progress import track
from mindpad_mm.core.weights import check_detections, finite_outputs
from mindpad_mm.evaluation.digests import file_digest
from mindpad_mm.evaluation.ground_truth import TestSet, coco_metric
from mindpad_mm.evaluation.spatial import check_sizes
from mindpad_mm.incremental.whole_passes import faster_whole_passes
from mindpad_mm.padding.mmdet import tell_hidden_padding


def detections_digest(cfg: Config, checkpoint: str, test_set: TestSet, device: str) -> str:
    """Digest of everything that detections depend on.

    This is the model, its weights, the test set with its pipeline, the device and the versions of the
    packages.

    Raises:
        UserError: The checkpoint does not exist.
    """
    parts = {
        'model': cfg.model.to_dict(),
        'test_dataloader': cfg.test_dataloader.to_dict(),
        'fp16': _half_precision(cfg),
        'checkpoint': file_digest(checkpoint),
        'annotations': test_set.digest,
        'images': test_set.image_digest,
        'device': device,
        'versions': versions(),
    }
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def detect(
    cfg: Config, checkpoint: str, test_set: TestSet, path: Path, device: str, name: str
) -> None:
    """Run a detector on its test set and write a COCO result file, as the config's ``CocoMetric`` does.

    Args:
        cfg: Config of the detector.
        checkpoint: Path or URL of its weights.
        test_set: Its test set.
        path: File to write, atomically. Its name must end in ``.bbox.json``.
        device: Torch device.
        name: Name of the detector in the progress bar.

    Raises:
        UserError: Config, checkpoint or an image cannot be read, the annotations give an image another
            size than it has, or the outputs cannot be right.
    """
    model = load_detector(cfg, checkpoint, device)
    prefix = str(path)[: -len('.bbox.json')] + '.tmp'
    with users_faults(), contextlib.redirect_stdout(io.StringIO()):
        loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
        metric = coco_metric(cfg, ann_file=None, format_only=True, outfile_prefix=prefix)
        metric._coco_api, metric.cat_ids = test_set.gt, test_set.cat_ids
        evaluator = Evaluator([metric])
        evaluator.dataset_meta = loader.dataset.metainfo
        bar = track(loader, f'{name}: detecting')
        for index, batch in enumerate(bar):
            watch = contextlib.nullcontext() if index else finite_outputs(model)
            half = autocast(enabled=_half_precision(cfg))
            with watch, torch.no_grad(), half, faster_whole_passes(model):
                found = model.test_step(batch)
            if not index:
                tell_hidden_padding(model, functools.partial(model.test_step, batch))
            for result in found:
                check_detections(result.pred_instances)
                height, width = result.ori_shape[:2]
                shown = {'img_id': result.img_id, 'width': width, 'height': height}
                check_sizes([shown], test_set.gt)
            evaluator.process(found, batch)
        evaluator.evaluate(len(loader.dataset))
    with written_whole(path) as file:
        os.replace(f'{prefix}.bbox.json', file)
    Path(f'{prefix}.segm.json').unlink(missing_ok=True)  # of a detector with masks


def _half_precision(cfg: Config) -> bool:
    """Whether MMDetection's test runs the detector in half precision."""
    return bool((cfg.get('test_cfg') or {}).get('fp16', False))
