"""SSD of mmdet 3.3.0 fails to predict."""

from __future__ import annotations


def ssd_head_loss_cls() -> bool:
    """Let SSD of mmdet 3.3.0 predict: ``predict_by_feat`` reads ``SSDHead.loss_cls``, which is not set.

    Not applied if the class has the attribute.

    Upstream: open-mmlab/mmdetection#11063, #11305, #11780.
    """
    from mmdet.models.dense_heads import SSDHead

    if hasattr(SSDHead, 'loss_cls'):
        return False
    SSDHead.loss_cls = None
    return True
