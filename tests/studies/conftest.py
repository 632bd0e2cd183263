import textwrap
from pathlib import Path

import pytest

from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def drawn_lights(tmp_path_factory):
    """A tiny set of drawn lights on drawn streets."""
    folder = tmp_path_factory.mktemp('lights') / 'set'
    make_traffic_lights(folder, Recipe(num_train=8, num_val=4, size=128, negatives=0, min_size=20))
    return folder


@pytest.fixture(scope='session')
def tiny_config(drawn_lights, tmp_path_factory):
    """A config of the study for the tiny set, with two epochs of two steps."""
    path = tmp_path_factory.mktemp('config') / 'ssd128_zeros_traffic-light.py'
    path.write_text(
        textwrap.dedent(f"""
        _base_ = r'{ROOT}/configs/study/ssd128_zeros_traffic-light.py'
        root = r'{drawn_lights}/'
        train_dataloader = dict(dataset=dict(data_root=root))
        val_dataloader = dict(dataset=dict(data_root=root))
        test_dataloader = val_dataloader
        val_evaluator = dict(ann_file=root + 'annotations/val.json')
        test_evaluator = val_evaluator
        train_cfg = dict(max_epochs=2, val_interval=2)
        """)
    )
    return path
