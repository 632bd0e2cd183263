"""A finished scan in a folder, made of arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from mindpad_mm.core.images import write_png
from mindpad_mm.core.scenes import Part
from mindpad_mm.scan import CAUSES, Bystanders, Causes
from mindpad_mm.scan.positions import common_grid, photo_grid
from mindpad_mm.testing.scans import finished_scan


@pytest.fixture
def scan(tmp_path):
    """Two scenes of 40 x 60, one object of 10 x 6; the lowest score 0.1 at row 4, column 16."""
    rows, cols = np.arange(0, 31, 2), np.arange(0, 55, 2)
    scores = np.full((2, 1, 1, len(rows), len(cols)), 0.75, np.float32)
    scores[..., 2, 8] = 0.1
    flags = np.zeros(scores.shape, bool)
    flags[0, 0, 0, 5:9, 20:] = True
    backgrounds = []
    for k in range(2):
        write_png(tmp_path / f'scene_{k}.png', np.full((40, 60, 3), 90 + 60 * k, np.uint8))
        scene = {'source': f'<grey & {k}>', 'file': f'scene_{k}.png', 'height': 40, 'width': 60}
        backgrounds.append({**scene, 'photo': [0, 0, 40, 60]})
    write_png(tmp_path / 'object_0_10.png', np.full((10, 6, 4), 255, np.uint8))
    ious = np.zeros_like(scores)
    y, x = np.meshgrid(rows, cols, indexing='ij')
    boxes = np.stack([x - 1.25, y + 0.5, x + 5.75, y + 10.125], -1).astype(np.float32)
    boxes = np.tile(boxes, (2, 1, 1, 1, 1, 1))
    boxes[..., 2, 8, :] = np.nan
    return finished_scan(
        tmp_path,
        (scores, ious, boxes, flags, ious, rows, cols),
        backgrounds,
        [{'source': 'white', 'files': ['object_0_10.png'], 'boxes': [[10, 6]]}],
        config='a/config.py',
        checkpoint='b/weights.pth',
        label='traffic light',
        cfg_options={'model.test_cfg.score_thr': 0.001},
        periods=[[8, 8]],
        positions=896,
        positions_per_second=12.5,
        versions={'torch': '2.1'},
    )


@pytest.fixture(scope='session')
def make_scan(tmp_path_factory):
    """A function that makes a scan of noise: 3 scenes, 2 objects and 2 sizes.

    One scene is smaller, and its photo has a padded frame: 4 px at the top, 6 at the left, 2 at the
    bottom and right.

    The same ``inputs`` give the same scenes and objects, the same ``scores`` the same scores. With
    ``extras`` it has causes and other boxes.
    """

    def make(name, scores=0, inputs=0, label='traffic light', extras=False):
        folder = tmp_path_factory.mktemp(name)
        scenes, boxes, stride = [(48, 80), (48, 80), (46, 72)], [[(10, 6), (16, 10)]] * 2, 2
        photos = [Part(0, 0, 48, 80), Part(0, 0, 48, 80), Part(4, 6, 40, 64)]
        rng = np.random.default_rng(inputs)
        backgrounds, objects = [], []
        for k, (height, width) in enumerate(scenes):
            write_png(folder / f'scene_{k}.png', rng.integers(0, 99, (height, width, 3), np.uint8))
            scene = {
                'source': f'{k}.jpg',
                'file': f'scene_{k}.png',
                'height': height,
                'width': width,
                'photo': list(photos[k]),
            }
            backgrounds.append(scene)
        for k, shapes in enumerate(boxes):
            files = [f'object_{k}_{height}.png' for height, _ in shapes]
            for file, shape in zip(files, shapes):
                colour = (255 * (k == 0), 200, 255 * (k == 1), 255)
                write_png(folder / file, np.full((*shape, 4), colour, np.uint8))
            objects.append(
                {'source': f'object {k}', 'files': files, 'boxes': [list(s) for s in shapes]}
            )
        rows, cols = common_grid(photos, boxes[0], stride)
        rng = np.random.default_rng([1, scores])
        shape = (len(scenes), len(boxes), 2, len(rows), len(cols))
        values = rng.uniform(0, 1, (2, *shape)).astype(np.float32)
        flags = rng.uniform(0, 1, shape) < 0.05
        for index in np.ndindex(shape[:3]):
            inside = photo_grid(photos[index[0]], boxes[index[1]][index[2]], stride)
            outside = ~np.logical_and.outer(np.isin(rows, inside[0]), np.isin(cols, inside[1]))
            values[(slice(None), *index)][:, outside] = np.nan
            flags[index][outside] = False
        boxes = rng.uniform(-20, 90, (*shape, 4)).astype(np.float32)
        boxes[rng.uniform(0, 1, shape) < 0.1] = np.nan
        result = finished_scan(
            folder,
            (*values, boxes, flags, values[0], rows, cols),
            backgrounds,
            objects,
            config=f'{name}.py',
            label=label,
            stride=stride,
            sizes=[10, 16],
            periods=[[8, 8]],
        )
        if extras:
            _add_extras(result, rng)
        # Drawing the real one takes seconds, and heatmaps have tests of their own.
        write_png(folder / 'heatmap.png', np.zeros((200, 600, 3), np.uint8))
        return result

    return make


def _add_extras(result, rng):
    """Causes at a third of the places, and three other boxes in the first scene, two in the others."""
    shape = result.scores.shape
    known = ~np.isnan(result.scores) & ~result.flags
    codes = rng.integers(1, len(CAUSES) - 1, shape) * (rng.uniform(0, 1, shape) < 0.3) * known
    raw = [np.where(codes > 0, rng.uniform(0, 1, shape), np.nan).astype(np.float32) for _ in 'ab']
    result.add_causes(Causes(codes.astype(np.uint8), *raw))
    boxes = rng.uniform(0, 40, (3, 3, 4)).astype(np.float32)
    boxes[..., 2:] += boxes[..., :2]
    labels = np.array([[0, 1, 1], [1, 0, -1], [1, 0, -1]], np.int16)
    boxes[labels < 0] = np.nan
    states = rng.choice([1, 2, 2, 2, 3, 4], (*shape, 3)).astype(np.uint8)
    states[~known] = 0
    states[1:, ..., 2] = 0
    scores = np.where(labels < 0, np.nan, rng.uniform(0.3, 1, labels.shape)).astype(np.float32)
    appeared = rng.choice([0, 0, 0, 1, 2], (*shape, 2)).astype(np.uint16) * known[..., None]
    result.bystanders = Bystanders(states, appeared.astype(np.uint16), boxes, scores, labels)
    result.count_bystanders(['car', 'bus'])
