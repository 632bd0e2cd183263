"""Test a detector with MMDetection's own script, on either stack."""

from __future__ import annotations

import sys
from pathlib import Path

# The package beside this file, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
try:
    from mindpad_mm.cli.mmdet_scripts import run_mmdet_script
    from mindpad_mm.core.errors import one_line_errors
except ValueError as error:  # mmcv is missing
    sys.exit(f'error: {error}')

EXAMPLE = (
    'python tools/test.py configs/CONFIG.py work_dirs/ssd/epoch_24.pth '
    '--cfg-options model.backbone.padding_cfg=reflect'
)


@one_line_errors
def main() -> None:
    run_mmdet_script('test', EXAMPLE)


if __name__ == '__main__':
    main()
