"""Test a detector with MMDetection's own script, on mmcv or mmcv-lite."""

from __future__ import annotations

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.mmdet_scripts import PARAMETERS, run_mmdet_script

EXAMPLE = (
    'python tools/test.py configs/CONFIG.py work_dirs/ssd/epoch_24.pth '
    '--cfg-options model.backbone.padding_cfg=reflect'
)


@one_line_errors(PARAMETERS)
def main() -> None:
    """Run the script on the arguments of this process."""
    run_mmdet_script('test', EXAMPLE)
