"""SSD heads have ``loss_cls``, and each workaround runs once."""

from __future__ import annotations

from mmdet.models.dense_heads import SSDHead

from mindpad_mm import compat
from mindpad_mm.compat.ssd_head import ssd_head_loss_cls


def test_the_attribute_is_added_only_if_it_is_missing(monkeypatch):
    monkeypatch.delattr(SSDHead, 'loss_cls', raising=False)
    assert not hasattr(SSDHead, 'loss_cls')
    assert ssd_head_loss_cls() is True
    assert SSDHead.loss_cls is None
    monkeypatch.setattr(SSDHead, 'loss_cls', 'upstream')
    assert ssd_head_loss_cls() is False
    assert SSDHead.loss_cls == 'upstream'


def test_importing_the_package_runs_each_workaround_once(monkeypatch):
    before = compat.status()
    assert set(before) == {
        'mmcv_ops', 'compiled_ops_memory_format', 'pkg_resources', 'checkpoint_loading',
        'init_dist_without_gpus', 'ssd_head_loss_cls', 'heatmap_memory_format',
        'coco_metric_images', 'conv_module_circular', 'custom_imports',
    }  # fmt: skip
    assert all(isinstance(applied, bool) for applied in before.values())
    compat.apply()
    assert compat.status() == before
