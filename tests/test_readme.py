"""The README's examples in Python run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import torch

from mindpad_mm.testing.small import CLASSES
from tests.border.toys import noise_photo

ROOT = Path(__file__).resolve().parents[1]


def run_example(call, files, folder, change=('', '')):
    """Run the README's example with a call, on a small detector's files."""
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text('utf-8'), re.DOTALL)
    (example,) = [block for block in blocks if call in block]
    assert change[0] in example
    example = example.replace(*change)
    shutil.copy(files / 'config.py', folder / 'my_config.py')
    weights = torch.load(files / 'weights.pth')
    # As a training by MMEngine leaves it.
    weights['meta'] = {'dataset_meta': {'classes': CLASSES}}
    torch.save(weights, folder / 'my_checkpoint.pth')
    # A process of its own: the order of its imports is part of the example.
    run = subprocess.run(
        [sys.executable, '-c', example],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_scan_in_python_runs_as_the_readme_says(files, tmp_path):
    shutil.copy(files / 'photo.png', tmp_path / 'street.jpg')
    shutil.copy(files / 'light.png', tmp_path / 'light.png')
    printed = run_example('blindspot_scan(model', files, tmp_path)
    assert "'traffic light' at" in printed or 'flagged' in printed


def test_the_border_loss_in_python_runs_as_the_readme_says(files, tmp_path):
    (tmp_path / 'photos').mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / 'photos' / f'{number}.png'), noise_photo(150, 160, number))
    # The small detector is untrained and sees 96 pixels.
    small = ('minutes=5', 'minutes=0, found_thr=0.02, far=16, distances=0')
    printed = run_example('border_loss(model', files, tmp_path, small)
    assert 'Within 16 px of the border this detector' in printed
