"""The README's example of a scan in Python runs as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from mindpad_mm.testing.small import CLASSES

ROOT = Path(__file__).resolve().parents[1]


def test_the_scan_in_python_runs_as_the_readme_says(files, tmp_path):
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text('utf-8'), re.DOTALL)
    (example,) = [block for block in blocks if 'blindspot_scan(model' in block]
    shutil.copy(files / 'config.py', tmp_path / 'my_config.py')
    weights = torch.load(files / 'weights.pth')
    # As a training by MMEngine leaves it.
    weights['meta'] = {'dataset_meta': {'classes': CLASSES}}
    torch.save(weights, tmp_path / 'my_checkpoint.pth')
    shutil.copy(files / 'photo.png', tmp_path / 'street.jpg')
    shutil.copy(files / 'light.png', tmp_path / 'light.png')
    # A process of its own: the order of its imports is part of the example.
    run = subprocess.run(
        [sys.executable, '-c', example],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "'traffic light' at" in run.stdout or 'flagged' in run.stdout
