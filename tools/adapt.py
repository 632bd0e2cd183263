#!/usr/bin/env python
"""Same as ``mindpad adapt``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, installed or not
from mindpad import run

if __name__ == '__main__':
    run('adapt')
