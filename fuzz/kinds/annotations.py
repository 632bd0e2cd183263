"""COCO annotation files: facts, order, geometry, damage. Oracles: pycocotools and MMDetection."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.runner import Runner
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from fuzz.detectors import write_evaluated
from fuzz.kinds.base import Kind
from fuzz.mutate import ODD, mutated_bytes, mutated_value
from fuzz.outcome import Outcome, outcome_of
from mindpad_mm.core.images import read_image
from mindpad_mm.core.loading import load_config
from mindpad_mm.core.objects import ScanObject, load_coco_objects
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.entries import Run
from mindpad_mm.settings.compare import CompareSettings

_HEIGHT, _WIDTH = 60, 80
_ODD_NUMBERS = (59, 61, 80, 81, 3600, 4800, 2**32, 2**32 + 10)


class Annotations(Kind):
    """An object cut out by its annotation, from a file with one mutation."""

    title = 'COCO files, objects cut out'
    weight = 6

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        noise = np.random.default_rng(0)
        for name in ('a.png', 'b.png'):
            pixels = noise.integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
            cv2.imwrite(str(folder / name), pixels)
        block = np.zeros((_HEIGHT, _WIDTH), np.uint8, order='F')
        block[10:30, 20:50] = 1
        packed = coco_mask.encode(block)
        runs = coco_mask.decode(packed).ravel(order='F')
        edges = np.flatnonzero(np.diff(runs)) + 1
        counts = np.diff([0, *edges, runs.size]).tolist()
        segmentations: list[Any] = [
            [[5, 5, 30, 8.5, 28, 40, 6, 33]],
            {'size': [_HEIGHT, _WIDTH], 'counts': counts},
            {'size': [_HEIGHT, _WIDTH], 'counts': packed['counts'].decode()},
        ]
        self.content = {
            'info': {'description': 'drawn'},
            'images': [
                {'id': 1, 'file_name': 'a.png', 'width': _WIDTH, 'height': _HEIGHT},
                {'id': 2, 'file_name': 'b.png', 'width': _WIDTH, 'height': _HEIGHT},
            ],
            'annotations': [
                {
                    'id': number,
                    'image_id': 1 + number % 2,
                    'category_id': 10 * (1 + number % 2),
                    'bbox': [5, 5, 25, 35],
                    'area': 875,
                    'iscrowd': 0,
                    'segmentation': segmentation,
                }
                for number, segmentation in enumerate(segmentations)
            ],
            'categories': [{'id': 10, 'name': 'car'}, {'id': 20, 'name': 'traffic light'}],
        }

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        number = rng.randrange(3)
        odd = (*ODD, *_ODD_NUMBERS, [[1, 1, 5]], [[1e300] * 6], [[float('nan')] * 6], '0' * 60)
        name, data = mutated_json(self.content, rng, odd)
        path = Path('set.json')
        path.write_bytes(data)

        def use() -> ScanObject:
            return load_coco_objects(path, [number], self.folder)[0][0]

        return f'annotation {number}, {name}', outcome_of(
            use, lambda found: self._fault(found, path, number)
        )

    def _fault(self, found: ScanObject, path: Path, number: int) -> str | None:
        """How an object differs from the photo and mask that pycocotools finds."""
        content = json.loads(path.read_text('utf-8-sig'))
        annotation = next(each for each in content['annotations'] if each['id'] == number)
        image = next(each for each in content['images'] if each['id'] == annotation['image_id'])
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = content
            coco.createIndex()
        mask = coco.annToMask(annotation)
        photo = read_image(self.folder / image['file_name'])
        wanted = ScanObject.from_pixels(np.dstack([photo, mask * np.uint8(255)]), '')
        if wanted.pixels.shape != found.pixels.shape:
            return f'object {found.pixels.shape}, by pycocotools {wanted.pixels.shape}'
        alpha = wanted.pixels[..., 3:] > 0
        if not np.array_equal(wanted.pixels * alpha, found.pixels * alpha):
            return 'pixels of the object differ'
        if not np.array_equal(wanted.pixels[..., 3], found.pixels[..., 3]):
            return 'the mask differs'
        return None


class Evaluations(Kind):
    """A comparison of a detector on a test set with one mutation, against MMDetection's own test."""

    title = 'COCO files, evaluated'

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config, self.checkpoint, self.ann_file = write_evaluated(folder)
        self.content = json.loads(self.ann_file.read_text())

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        if rng.random() < 0.5:
            name, content = _other_set(self.content, rng)
            data = json.dumps(content).encode()
        else:
            name, data = mutated_json(self.content, rng, ODD)
        path = Path('set.json').absolute()
        path.write_bytes(data)
        options = {
            'test_dataloader.dataset.ann_file': str(path),
            'test_evaluator.ann_file': str(path),
        }

        def use() -> dict[str, float | None]:
            run = Run(str(self.config), str(self.checkpoint), cfg_options=options)
            return compare([run], 'compared', CompareSettings(draws=1)).entries[0].runs[0].metrics

        return name, outcome_of(use, lambda found: self._fault(found, options))

    def _fault(self, found: dict[str, float | None], options: dict[str, Any]) -> str | None:
        config = load_config(str(self.config), options)
        config.work_dir, config.load_from = 'tested', str(self.checkpoint)
        config.log_level = 'ERROR'
        # One visualizer a name: without one of its own it would write to the last case's folder.
        config.experiment_name = f'tested_{time.monotonic_ns()}'
        config.visualizer = None
        wanted = Runner.from_cfg(config).test()
        for key, value in wanted.items():
            short = key.removeprefix('coco/bbox_')
            ours = found.get(short, value)
            # MMDetection rounds, and has -1 where nothing can be measured.
            ours = -1.0 if ours is None else ours
            if round(ours, 3) != value:
                return f'{short} {ours:.3f}, by MMDetection {value}'
        return None


def _other_set(content: dict[str, Any], rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A set that is as right as it was: other order, ids, boxes, crowds or categories."""
    content = copy.deepcopy(content)
    images, annotations = content['images'], content['annotations']
    categories = content['categories']
    how = rng.choice(
        (
            'order',
            'category order',
            'ids',
            'text ids',
            'boxes',
            'crowds',
            'fewer',
            'categories',
            'id 0',
        )
    )
    if how == 'order':
        rng.shuffle(images)
        rng.shuffle(annotations)
    elif how == 'category order':
        categories.reverse()
    elif how in ('ids', 'text ids'):
        numbers = rng.sample(range(1, 10**6), len(images))
        for image, number in zip(list(images), numbers):
            old, new = image['id'], str(number) if how == 'text ids' else number
            image['id'] = new
            for annotation in annotations:
                if annotation['image_id'] == old and 'done' not in annotation:
                    annotation |= {'image_id': new, 'done': True}
    elif how == 'boxes':
        for annotation in annotations:
            annotation['bbox'] = [round(v + rng.uniform(0, 2), 3) for v in annotation['bbox']]
    elif how == 'crowds':
        for annotation in rng.sample(annotations, 5):
            annotation['iscrowd'] = 1
    elif how == 'fewer':
        del annotations[rng.randrange(len(annotations)) :]
    elif how == 'categories':
        # One that the detector does not know, first or last.
        other = {'id': rng.choice((1, 99)), 'name': 'bus'}
        categories.insert(rng.choice((0, 2)), other)
    else:
        annotations[0]['id'] = 0
    return how, content


def mutated_json(content: Any, rng: random.Random, odd: tuple[Any, ...]) -> tuple[str, bytes]:
    """A JSON file with one mutation of its values, order, text or bytes."""
    how = rng.random()
    if how < 0.75:
        name, content = mutated_value(content, rng, odd)
        return name, json.dumps(content).encode('utf-8', 'surrogatepass')
    text = json.dumps(content)
    if how < 0.85:
        encoding = rng.choice(('utf-8-sig', 'utf-16', 'utf-32', 'latin-1'))
        return f'encoding {encoding}', text.encode(encoding)
    if how < 0.9:
        return 'null', rng.choice((b'null', b'[]', b'{}', b'7', b'"x"', b'', b'[' * 100_000))
    return mutated_bytes(text.encode(), rng)
