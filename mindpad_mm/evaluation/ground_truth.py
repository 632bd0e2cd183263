"""The test set of a config, as the config's own data set and evaluator see it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os.path as osp
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO as AliasedCOCO
from mmdet.evaluation import CocoMetric, CocoOccludedSeparatedMetric
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pycocotools.coco import COCO

from mindpad_mm.compat.coco_metric import number_from_one
from mindpad_mm.core.annotations import EVALUATED, check_annotations
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import read_json
from mindpad_mm.core.loading import config_faults
from mindpad_mm.evaluation.digests import state_digest
from mindpad_mm.evaluation.spatial_coco import SpatialCocoMetric

# These compute CocoMetric's metrics, and more.
_EXTENDED = (SpatialCocoMetric, CocoOccludedSeparatedMetric)


@dataclass(frozen=True)
class TestSet:
    """The test set of a config's ``test_dataloader`` and ``test_evaluator``.

    Attributes:
        ann_file: Path of the annotations.
        classes: Class names, in the detector's order.
        digest: Digest of annotations, classes, images and the evaluator's settings. Only runs with the
            same digest can be compared.
        image_digest: Digest of the images' names, sizes and modification times.
        gt: The annotations, as the evaluator reads them.
        cat_ids: Category ids of ``classes``, in the same order.
        img_ids: Ids of the images that the data set loads: those of ``ann_file``, or fewer.
        iou_thrs: IoU thresholds of mAP.
        max_dets: Detections per image and class that count in mAP_50 and mAP_75.
        class_max_dets: The same in the mAP of single classes; None if the evaluator does not compute it
            (``classwise``).
    """

    __test__ = False  # for pytest

    ann_file: str
    classes: tuple[str, ...]
    digest: str
    image_digest: str
    gt: COCO = field(repr=False, compare=False)
    cat_ids: list[int]
    img_ids: list[Any]
    iou_thrs: tuple[float, ...]
    max_dets: int
    class_max_dets: int | None

    @classmethod
    def of(cls, cfg: Config) -> TestSet:
        """The test set of a config.

        Raises:
            UserError: The test set is missing or incomplete, its evaluator does not compute COCO's mAP,
                or MMDetection would mix up its classes.
        """
        name = cfg.filename or 'the config'
        if cfg.get('test_dataloader') is None:
            raise UserError(f'{name} has no test_dataloader: a complete detector config is needed')
        init_default_scope(cfg.get('default_scope') or 'mmdet')
        dataset = _dataset(cfg)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        if not infos:
            raise UserError(f'the test set of {name} has no images')
        for entry, kind in _metrics(cfg):
            if _computes_coco_map(kind) and entry.get('ann_file'):
                read_annotations(entry['ann_file'], _uses_masks(cfg))
        metric = coco_metric(cfg)
        classes = tuple(dataset.metainfo['classes'])
        gt, ann_file, content = _ground_truth(cfg, metric, dataset, infos, classes)
        cat_ids = paired_categories(gt.dataset['categories'], classes, ann_file)
        number_from_one(gt)
        img_ids = list(dict.fromkeys(info['img_id'] for info in infos))
        _check_images(infos, gt, ann_file)
        iou_thrs = tuple(float(thr) for thr in np.atleast_1d(metric.iou_thrs))
        max_dets = sorted(metric.proposal_nums)
        if 100 not in max_dets:
            raise UserError(
                f'test_evaluator.proposal_nums = {tuple(max_dets)} in {name} lacks 100, the number of '
                f'detections that count in mAP: MMDetection gives -1 for any detector'
            )
        files = [str(getattr(part, 'ann_file', '')) for part in _parts(dataset)]
        contents = [
            content,
            *(Path(f).read_bytes() for f in files if osp.isfile(f) and f != ann_file),
        ]
        digests = [hashlib.sha256(one).hexdigest() for one in contents]
        parts = [classes, cat_ids, img_ids, iou_thrs, max_dets, digests]
        return cls(
            ann_file=ann_file,
            classes=classes,
            digest=hashlib.sha256(repr(parts).encode()).hexdigest(),
            image_digest=state_digest((info['img_path'] for info in infos), 'test set'),
            gt=gt,
            cat_ids=cat_ids,
            img_ids=img_ids,
            iou_thrs=iou_thrs,
            max_dets=max_dets[min(2, len(max_dets) - 1)],  # as COCOeval.summarize chooses it
            class_max_dets=max_dets[-1] if metric.classwise else None,
        )


def coco_metric(cfg: Config, **changes: Any) -> CocoMetric:
    """The CocoMetric among a config's ``test_evaluator``.

    Args:
        cfg: A config. Without a ``test_evaluator``, it is a CocoMetric of the data set's own annotations.
        changes: Arguments of the metric to change.

    Raises:
        UserError: There is none or more than one, or it cannot be built.
    """
    name = cfg.filename or 'the config'
    entries = _metrics(cfg)
    chosen = [entry for entry, kind in entries if _computes_coco_map(kind)]
    if len(chosen) != 1:
        listed = ', '.join(getattr(kind, '__name__', str(kind)) for _, kind in entries)
        raise UserError(
            f'the test set of {name} is evaluated by {listed}, but exactly one CocoMetric is needed'
        )
    with config_faults(f'the test_evaluator in {name} cannot be built'), _silent():
        return METRICS.build({**chosen[0], **changes})


def paired_categories(
    categories: Sequence[dict[str, Any]], classes: Sequence[str], ann_file: str
) -> list[int]:
    """Ids of the categories of classes, paired by name.

    MMDetection gives the n-th class to the n-th category that it finds in the file. This must be the
    category of the same name.

    Args:
        categories: Categories of COCO annotations, in the order in which MMDetection finds them.
        classes: Class names, in the detector's order.
        ann_file: Path of the annotations, for the error message.

    Raises:
        UserError: A class has no category or several, or MMDetection would give it another one.
    """
    found = [category for category in categories if category['name'] in classes]
    names = [category['name'] for category in found]
    for owner, listed in (
        ('the detector has two classes', classes),
        (f'{ann_file} has two', names),
    ):
        twice = [name for name, count in Counter(listed).items() if count > 1]
        if twice:
            raise UserError(f'{owner} with the name {twice[0]!r}: give each its own name')
    if not names:
        raise UserError(f'{ann_file} has none of the classes {", ".join(classes)}')
    missing = [name for name in classes if name not in names]
    if missing:
        raise UserError(
            f'{ann_file} has no category {missing[0]!r} ({len(missing)} of the '
            f"detector's {len(classes)} classes are missing): MMDetection would mix up "
            'classes, so list all of them as categories, with or without objects'
        )
    for wanted, given in zip(classes, names):
        if wanted != given:
            by_id = [c['name'] for c in sorted(found, key=lambda c: c['id'])]
            advice = '; test_evaluator.sort_categories=True does so' if by_id == [*classes] else ''
            raise UserError(
                f'{ann_file} lists its categories in another order than the detector its classes, and '
                f'MMDetection pairs them by their order: it would count {wanted!r} as {given!r}. List '
                f'them in the same order{advice}'
            )
    return [category['id'] for category in found]


def check_pairing(cfg: Config) -> None:
    """Check that MMDetection's test pairs classes with the categories of the same name.

    Only evaluators that compute COCO's mAP with an ``ann_file`` are checked.

    Raises:
        UserError: It does not, or the annotations cannot be read.
    """
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    classes: tuple[str, ...] = ()
    for entry, kind in _metrics(cfg):
        if not _computes_coco_map(kind) or not entry.get('ann_file'):
            continue
        if not classes:
            with config_faults('the test_dataloader.dataset in the config cannot be built'):
                dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
            classes = tuple(dataset.metainfo.get('classes') or ())
        content = read_annotations(entry['ann_file'], _uses_masks(cfg))
        categories = content['categories']
        if entry.get('sort_categories'):
            categories = sorted(categories, key=lambda category: category['id'])
        if classes:
            paired_categories(categories, classes, entry['ann_file'])


def _metrics(cfg: Config) -> list[tuple[dict[str, Any], Any]]:
    """The evaluators of a config, each with its class; an unknown class stays a name."""
    given = cfg.get('test_evaluator') or dict(type='CocoMetric')
    if isinstance(given, dict) and given.get('metrics') is not None:  # mmengine's Evaluator
        given = given['metrics']
    found = []
    for entry in [given] if isinstance(given, dict) else list(given):
        kind = entry.get('type') if isinstance(entry, dict) else type(entry)
        found.append((entry, (METRICS.get(kind) or kind) if isinstance(kind, str) else kind))
    return found


def read_annotations(path: str, masks: bool = False, objects: bool = True) -> dict[str, Any]:
    """Content of a COCO annotation file, checked to be complete and possible.

    Args:
        path: The file.
        masks: Whether segmentations are checked as well. Default: False.
        objects: Whether it must list objects, not only images and categories. Default: True.

    Raises:
        UserError: It is missing, is not JSON, lacks something, or holds what cannot be right.
    """
    content = read_json(path, 'annotations')
    parts = EVALUATED if objects else {key: EVALUATED[key] for key in ('images', 'categories')}
    check_annotations(content, path, parts, masks)
    return content


def _uses_masks(cfg: Config) -> bool:
    """Whether a test reads the segmentations of its objects."""
    text = repr([cfg.get('test_dataloader'), cfg.get('test_evaluator')])
    return "'segm'" in text or "'with_mask': True" in text


def _dataset(cfg: Config) -> Any:
    """The data set with all annotations read."""
    name = cfg.filename or 'the config'
    problem = f'the test_dataloader.dataset in {name} cannot be built'
    with config_faults(problem), _silent():
        dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
    # The data set's own file needs no objects if the evaluator has another.
    others = [e.get('ann_file') for e, kind in _metrics(cfg) if _computes_coco_map(kind)]
    for part in _parts(dataset):
        if isinstance(part, CocoDataset):
            read_annotations(part.ann_file, _uses_masks(cfg), objects=not all(others))
    with config_faults(problem), _silent():
        dataset.full_init()
    return dataset


def _parts(dataset: Any) -> Iterator[Any]:
    """The data sets in ConcatDataset, RepeatDataset and other wrappers."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for one in inner:
            yield from _parts(one)


def _ground_truth(
    cfg: Config,
    metric: CocoMetric,
    dataset: Any,
    infos: Sequence[dict[str, Any]],
    classes: Sequence[str],
) -> tuple[COCO, str, bytes]:
    """The evaluator's annotations, their path, and their content."""
    own = [str(getattr(part, 'ann_file', '')) for part in _parts(dataset)]
    if metric._coco_api is not None:
        file = next(e['ann_file'] for e, kind in _metrics(cfg) if _computes_coco_map(kind))
        return metric._coco_api, str(file), Path(file).read_bytes()
    # Without ann_file, CocoMetric converts what the data set has read, with labels as category ids.
    for part, file in zip(_parts(dataset), own):
        if isinstance(part, CocoDataset):
            with _silent():
                annotations = AliasedCOCO(file)
            paired_categories([annotations.cats[id_] for id_ in part.cat_ids], classes, file)
    counted = Counter(info['img_id'] for info in infos)
    twice = [img_id for img_id, count in counted.items() if count > 1]
    if twice:
        raise UserError(f'the test set has two images with the id {twice[0]!r}: rename one')
    metric.dataset_meta = dataset.metainfo
    try:
        found = [
            {key: info[key] for key in ('img_id', 'width', 'height')} | {'anns': info['instances']}
            for info in infos
        ]
    except KeyError as error:
        raise UserError(
            f'the test set of {cfg.filename or "the config"} gives no {error} of its images, and its '
            f'evaluator has no ann_file: give test_evaluator.ann_file'
        ) from error
    with tempfile.TemporaryDirectory() as folder, _silent():
        path = metric.gt_to_coco_json(found, osp.join(folder, 'gt'))
        content = json.loads(Path(path).read_text('utf-8'))
    del content['info']  # it has the time
    if 'annotations' not in content:
        raise UserError(f'{own[0]} has no objects')
    gt = AliasedCOCO()
    gt.dataset = content
    with _silent():
        gt.createIndex()
    return gt, own[0], json.dumps(content).encode()


def _computes_coco_map(kind: Any) -> bool:
    if not isinstance(kind, type) or not issubclass(kind, CocoMetric):
        return False
    if kind.process is not CocoMetric.process:
        return False
    return kind.compute_metrics is CocoMetric.compute_metrics or issubclass(kind, _EXTENDED)


def _check_images(infos: Sequence[dict[str, Any]], gt: COCO, ann_file: str) -> None:
    """Check that the evaluator knows the images that the data set loads."""
    for info in infos:
        image = gt.imgs.get(info['img_id'])
        if image is None:
            raise UserError(
                f'the test set loads image {info["img_id"]!r}, which is not in the annotations of its '
                f'evaluator, {ann_file}: give both the same annotations'
            )
        names = [osp.basename(image['file_name']), osp.basename(info['img_path'])]
        if names[0] and names[0] != names[1]:
            raise UserError(
                f'image {info["img_id"]!r} of the test set is {names[1]}, but {names[0]} in the '
                f'annotations of its evaluator, {ann_file}: give both the same annotations'
            )


def _silent() -> contextlib.AbstractContextManager[Any]:
    """pycocotools prints to stdout."""
    return contextlib.redirect_stdout(io.StringIO())
