"""Examples in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_python(script: str, folder: Path) -> str:
    """Run a script in a folder and return what it prints.

    The order of its imports is part of an example, so that it needs an interpreter of its own.
    """
    done = subprocess.run(
        [sys.executable, '-c', script],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
