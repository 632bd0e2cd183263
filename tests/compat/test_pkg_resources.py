"""Configs inherit from ``mmdet::`` with and without pkg_resources."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os.path as osp
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest

from mindpad_mm.compat.pkg_resources import get_installed_path, is_installed, pkg_resources

ROOT = Path(__file__).resolve().parents[2]
INHERIT = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name == 'pkg_resources' else self.finder.find_spec(name, path, target)
sys.modules.pop('pkg_resources', None)
{hide}
import mindpad_mm
from mindpad_mm import compat
from mmengine.config import Config
cfg = Config.fromfile(sys.argv[1])
print(compat.status()['pkg_resources'], cfg.model.type, 'pkg_resources' in sys.modules)
"""


def inherit(tmp_path: Path, hide: str) -> str:
    config = tmp_path / 'config.py'
    config.write_text("_base_ = 'mmdet::ssd/ssd300_coco.py'\n")
    done = subprocess.run(
        [sys.executable, '-c', INHERIT.format(hide=hide), str(config)],
        env={'PYTHONPATH': str(ROOT), 'PATH': ''},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'pkg_resources is deprecated' not in done.stderr
    assert done.stdout, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_config_inherits_from_mmdet_without_pkg_resources(tmp_path):
    hide = 'sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]'
    assert inherit(tmp_path, hide) == 'True SingleStageDetector False'


def test_it_is_not_applied_if_pkg_resources_exists(tmp_path):
    if importlib.util.find_spec('pkg_resources') is None:
        pytest.skip('setuptools here has no pkg_resources')
    assert inherit(tmp_path, '') == 'False SingleStageDetector True'
    assert pkg_resources() is False


def test_a_package_is_found_by_its_module_and_by_its_distribution():
    assert is_installed('mmdet')
    assert is_installed('opencv-python')
    assert not is_installed('no-such-package')
    assert get_installed_path('mmdet') == osp.dirname(mmdet.__file__)
    assert get_installed_path('opencv-python').endswith('cv2')
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        get_installed_path('no-such-package')
