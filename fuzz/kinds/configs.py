"""Config files: values, structure and code. The oracles are the intact config and MMDetection."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.apis import inference_detector, init_detector

from fuzz.kinds.base import Kind
from fuzz.mutate import ODD, mutated_bytes, mutated_value
from fuzz.outcome import Outcome, outcome_of
from mindpad_mm.core.images import read_image
from mindpad_mm.core.loading import load_config
from mindpad_mm.core.matching import match_each
from mindpad_mm.core.scenes import paste
from mindpad_mm.scan import ScanResult, blindspot_scan
from mindpad_mm.scan.positions import position_boxes
from mindpad_mm.testing.small import write_small_ssd

_SIZE = 24
_IOU_THR = 0.1
_LABEL = 'traffic light'
_CODE = (
    'import sys; sys.exit(0)', 'import sys; sys.exit("no")', 'raise KeyboardInterrupt', '1 / 0',
    'raise Exception("x")', 'raise SystemExit(3)', 'def f(): f()\nf()', 'import nothing_of_this_name',
    'x = open("nothing")', '_base_ = "nothing.py"', '_base_ = ["config.py"]', '_base_ = 5',
    '_base_ = None', 'custom_imports = 5', 'custom_imports = dict(imports=["nothing"])',
    'custom_imports = dict(imports=["nothing"], allow_failed_imports=False)', 'model = {{x}}',
    'model', 'a = b', '\x00', 'x = "\udcff"', 'def', 'from __future__ import nothing',
    'with read_base():\n    from .nothing import *', 'default_scope = 5', 'default_scope = None',
    'default_scope = "nothing"', 'test_dataloader = 5', 'test_dataloader = None', 'model = None',
    'model = 5', 'model = []', 'model = dict(type=5)', 'test_pipeline = 5', 'env_cfg = 5',
    'test_dataloader = dict(dataset=dict(metainfo=dict(classes="car")))',
    'test_dataloader = dict(dataset=dict(metainfo=dict(classes=("a", "b", "c"))))',
    'model = dict(padding_cfg=5)', 'model = dict(padding_cfg=dict(mode="x"))', 'x = 1', '# nothing',
)  # fmt: skip
_DEFAULTS = ('model', 'test_dataloader', 'default_scope', 'env_cfg', 'randomness', 'test_evaluator')


class Configs(Kind):
    """A scan at a few positions with a config that has one mutation."""

    title = 'config files and their values'
    weight = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        write_small_ssd(folder)
        self.text = (folder / 'config.py').read_text()
        whole = load_config(str(folder / 'config.py')).to_dict()
        self.content = {key: whole[key] for key in _DEFAULTS if key in whole}
        self.object = read_image(folder / 'light.png', cv2.IMREAD_UNCHANGED)
        self.photo = read_image(folder / 'photo.png')

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        path = Path(f'config{rng.choice((".py",) * 8 + (".json", ".yaml", ".txt", ""))}')
        name = rng.choice((self._values, self._values, self._code, self._bytes))(path, rng)
        return f'{path.name}: {name}', outcome_of(
            lambda: self._scan(path), lambda result: self._fault(result, path)
        )

    def _values(self, path: Path, rng: random.Random) -> str:
        name, content = mutated_value(self.content, rng, ODD)
        # The repr of nan and inf are names.
        lines = [f'{key} = {value!r}' for key, value in content.items()]
        text = "nan, inf = float('nan'), float('inf')\n" + '\n'.join(lines)
        path.write_text(text, 'utf-8', 'surrogatepass')
        return name

    def _code(self, path: Path, rng: random.Random) -> str:
        line = rng.choice(_CODE)
        order = [self.text, line]
        if rng.random() < 0.3:
            order.reverse()
        path.write_text('\n'.join(order), 'utf-8', 'surrogatepass')
        return repr(line)

    def _bytes(self, path: Path, rng: random.Random) -> str:
        name, data = mutated_bytes(self.text.encode(), rng)
        path.write_bytes(data)
        return name

    def _scan(self, path: Path) -> ScanResult:
        result = blindspot_scan(
            (path, self.folder / 'weights.pth'),
            self.photo,
            self.object,
            space='image',
            label=_LABEL,
            sizes=[_SIZE],
            stride=40,
            iou_thr=_IOU_THR,
        )
        assert result is not None
        return result

    def _fault(self, result: ScanResult, path: Path) -> str | None:
        """How the score at the first position differs from MMDetection's own."""
        config = load_config(str(path))
        config.merge_from_dict({'model.test_cfg.score_thr': 0.001, 'model.init_cfg': None})
        model: Any = init_detector(config, str(self.folder / 'weights.pth'), device='cpu')
        pixels = result.object_pixels(0, 0)
        row, col = int(result.rows[0]), int(result.cols[0])
        found = inference_detector(model, paste(self.photo, pixels, row, col)).pred_instances
        target = position_boxes(np.array([[row, col]]), pixels.shape[:2])
        matched = match_each([found], result.info.label_index, target, _IOU_THR)
        wanted = float(matched.scores[0])
        score = float(result.scores[0, 0, 0, 0, 0])
        if abs(wanted - score) > 1e-4:
            return f'score {score:.4f}, by MMDetection {wanted:.4f}'
        return None
