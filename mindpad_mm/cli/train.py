"""Train a detector with MMDetection's own script, on mmcv or mmcv-lite."""

from __future__ import annotations

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.mmdet_scripts import PARAMETERS, run_mmdet_script

EXAMPLE = (
    'python tools/train.py configs/CONFIG.py --work-dir work_dirs/ssd '
    '--cfg-options model.backbone.padding_cfg=reflect'
)


@one_line_errors(PARAMETERS)
def main() -> None:
    """Run the script on the arguments of this process."""
    run_mmdet_script('train', EXAMPLE)
