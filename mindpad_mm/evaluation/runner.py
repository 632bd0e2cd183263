"""COCO mAP of a checkpoint, measured with MMEngine's Runner and MMDetection's metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import check_model, load_config
from mindpad_mm.evaluation.ground_truth import check_pairing


def evaluate(
    config: str | Path,
    checkpoint: str | Path,
    work_dir: str | Path,
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Test a checkpoint on its config's ``test_dataloader``, as ``tools/test.py`` does.

    Args:
        config: Path of an MMDetection config.
        checkpoint: Path or URL of its weights.
        work_dir: Folder for the Runner's log.
        cfg_options: Overrides of the config, e.g. ``{'test_dataloader.dataset.data_root': ...}``.
            Default: none.

    Returns:
        The metrics by name, e.g. ``coco/bbox_mAP`` and ``coco/bbox_mAP_50``, in 0..1; -1 if the test
        set has no objects for a metric.

    Raises:
        UserError: A file is missing, the checkpoint does not fit the config's detector, or MMDetection
            would give classes to categories of another name.
    """
    cfg = load_config(str(config), cfg_options)
    cfg.work_dir = str(work_dir)
    cfg.load_from = str(checkpoint)
    cfg.log_level = 'WARNING'
    check_pairing(cfg)
    check_model(cfg, str(checkpoint))
    try:
        return Runner.from_cfg(cfg).test()
    except FileNotFoundError as error:
        raise UserError(f'the test set is incomplete: {error}') from error
