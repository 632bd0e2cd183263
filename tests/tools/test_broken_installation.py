"""What the command line prints where MMDetection's packages are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = """
import runpy
import sys

class Filter:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)

HIDDEN, *sys.argv = sys.argv[1:]
sys.meta_path[:] = [Filter(finder) for finder in sys.meta_path]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def run_without(module: str, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', WITHOUT, module, *command],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    'command', [('tools/train.py',), ('tools/test.py',), ('mindpad.py', 'compare', 'a.py:a.pth')]
)
def test_without_mmcv_one_line_says_how_to_install_it(command):
    done = run_without('mmcv', *command)
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: mmcv is not installed: run `pip install mindpad-mm[lite]`')
    assert (done.returncode, done.stdout) == (2, '')


@pytest.mark.parametrize('module', ['mmengine', 'mmdet'])
def test_without_another_package_one_line_names_it(module):
    done = run_without(module, 'mindpad.py', 'scan', 'a.py', 'a.pth')
    assert done.stderr == f'error: {module} is not installed: pip install "mindpad-mm[lite]"\n'
    assert done.returncode == 2


@pytest.mark.parametrize('arguments', [('--help',), ('scam',)])
def test_the_list_of_commands_needs_no_torch(arguments):
    done = run_without('torch', 'mindpad.py', *arguments)
    assert 'usage: mindpad [-h] COMMAND ...' in done.stdout + done.stderr
    assert done.returncode == (2 if arguments == ('scam',) else 0)
