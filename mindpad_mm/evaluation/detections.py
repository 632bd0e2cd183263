"""Detect on a test set, and compute digests of everything that detections depend on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import os.path as osp
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from pycocotools.coco import COCO
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from mindpad_mm.core.detector import versions
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_detector, users_faults

# Fields of the COCO format that pycocotools and MMDetection read.
_FIELDS = {
    'images': ('id', 'file_name', 'width', 'height'),
    'categories': ('id', 'name'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd'),
}


@dataclass(frozen=True)
class TestSet:
    """The test set of a config's ``test_dataloader``.

    Attributes:
        ann_file: Path of the annotations.
        classes: Class names, in the detector's order.
        digest: Digest of annotations and classes. Only runs with the same digest can be compared.
        image_digest: Digest of the images' names, sizes and modification times.
    """

    __test__ = False  # for pytest

    ann_file: str
    classes: tuple[str, ...]
    digest: str
    image_digest: str

    @classmethod
    def of(cls, cfg: Config) -> TestSet:
        """The test set of a config.

        Raises:
            UserError: The test set is missing, incomplete or not in COCO format.
        """
        name = cfg.filename or 'the config'
        if cfg.get('test_dataloader') is None:
            raise UserError(f'{name} has no test_dataloader: a complete detector config is needed')
        init_default_scope(cfg.get('default_scope') or 'mmdet')
        with users_faults():
            dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
        if not isinstance(dataset, CocoDataset):
            raise UserError(
                f'the test set of {name} is a {type(dataset).__name__}, but COCO format is needed'
            )
        if not osp.isfile(dataset.ann_file):
            raise UserError(f'the annotations of {name} do not exist: {dataset.ann_file}')
        classes = tuple(dataset.metainfo['classes'])
        annotations = Path(dataset.ann_file).read_bytes()
        digest = hashlib.sha256(repr(classes).encode() + annotations).hexdigest()
        names = _image_names(annotations, dataset.ann_file)
        folder = dataset.data_prefix.get('img') or ''
        images = state_digest((osp.join(folder, file) for file in names), 'test set')
        return cls(dataset.ann_file, classes, digest, images)

    def load(self) -> tuple[COCO, list[int]]:
        """The annotations, and the category ids of the classes.

        Raises:
            UserError: A class is missing in the annotations.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            gt = COCO(self.ann_file)
        cat_ids = gt.getCatIds(catNms=list(self.classes))
        if not cat_ids:
            raise UserError(f'{self.ann_file} has none of the classes {", ".join(self.classes)}')
        known = {category['name'] for category in gt.loadCats(cat_ids)}
        missing = [name for name in self.classes if name not in known]
        if missing:
            # CocoMetric assigns the n-th class to the n-th category that it finds.
            raise UserError(
                f'{self.ann_file} has no category {missing[0]!r} ({len(missing)} of the '
                f"detector's {len(self.classes)} classes are missing): MMDetection would mix up "
                'classes, so list all of them as categories, with or without objects'
            )
        return gt, cat_ids


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
        'checkpoint': file_digest(checkpoint),
        'annotations': test_set.digest,
        'images': test_set.image_digest,
        'device': device,
        'versions': versions(),
    }
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def file_digest(path: str) -> str:
    """SHA-256 of a checkpoint file; if it is a URL, of the URL.

    Raises:
        UserError: The file does not exist.
    """
    if path.startswith(('http:', 'https:')):
        return hashlib.sha256(path.encode()).hexdigest()
    if not osp.isfile(path):
        raise UserError(f'checkpoint {path} does not exist')
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def detect(cfg: Config, checkpoint: str, path: Path, device: str, name: str) -> None:
    """Run a detector on its test set and write a COCO result file, as ``CocoMetric`` does.

    Args:
        cfg: Config of the detector.
        checkpoint: Path or URL of its weights.
        path: File to write, atomically. Its name must end in ``.bbox.json``.
        device: Torch device.
        name: Name of the detector in the progress bar.

    Raises:
        UserError: Config, checkpoint or an image cannot be read.
    """
    model = load_detector(cfg, checkpoint, device)
    prefix = str(path)[: -len('.bbox.json')] + '.tmp'
    with users_faults(), contextlib.redirect_stdout(io.StringIO()):
        loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
        metric = CocoMetric(loader.dataset.ann_file, format_only=True, outfile_prefix=prefix)
        evaluator = Evaluator([metric])
        evaluator.dataset_meta = loader.dataset.metainfo
        bar = track(loader, f'{escape(name)}: detecting', console=Console(stderr=True))
        for batch in bar:
            with torch.no_grad():
                evaluator.process(model.test_step(batch), batch)
        evaluator.evaluate(len(loader.dataset))
    os.replace(f'{prefix}.bbox.json', path)


def state_digest(paths: Iterable[str], what: str) -> str:
    """Digest of names, sizes and modification times of files.

    The content is not read, which would take as long as detecting.

    Args:
        paths: The files.
        what: Name of the set of files, for the error message.

    Raises:
        UserError: A file does not exist.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not osp.isfile(path):
            raise UserError(f'the {what} is incomplete: {path} does not exist')
        status = os.stat(path)
        digest.update(f'{path} {status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _image_names(annotations: bytes, path: str) -> list[str]:
    """File names of the images; checks that the annotations are complete.

    Raises:
        UserError: The annotations are not complete COCO annotations.
    """
    try:
        content = json.loads(annotations)
    except ValueError as error:
        raise UserError(f'annotations {path} are not JSON, or truncated: {error}') from error
    for part, fields in _FIELDS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UserError(
                f'annotations {path} are not in COCO format: there is no list of {part}'
            )
        for index, entry in enumerate(entries):
            for field in fields:
                if field not in entry:
                    raise UserError(f'annotations {path} lack {field!r} in {part}[{index}]')
    known = {image['id'] for image in content['images']}
    if not known:
        raise UserError(f'annotations {path} list no images')
    for annotation in content['annotations']:
        if annotation['image_id'] not in known:
            raise UserError(
                f'annotations {path} have an object in image {annotation["image_id"]}, which is not '
                'in their list of images'
            )
    return [image['file_name'] for image in content['images']]
