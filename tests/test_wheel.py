"""The wheel holds what the package needs at run time, and not what only the studies need."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mindpad_mm import zoo

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'mindpad_mm'
STUDY = {f'ssd128_{mode}_traffic-light.pth' for mode in zoo.modes('ssd128')}


@pytest.fixture(scope='module')
def held(tmp_path_factory):
    """Names of the files in the wheel."""
    out = tmp_path_factory.mktemp('wheel')
    build = ['egg_info', '--egg-base', out, 'build', '--build-base', out / 'build']
    pack = ['bdist_wheel', '--bdist-dir', out / 'pack', '--dist-dir', out]
    subprocess.run(
        [sys.executable, 'setup.py', '-q', *map(str, (*build, *pack))],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = out.glob('*.whl')
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_every_file_of_the_package_is_in_the_wheel_but_the_checkpoints_of_studies(held):
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts and path.name not in STUDY
    }
    assert wanted - held == set()
    assert not any(Path(name).name in STUDY for name in held)
    assert 'mindpad.py' in held


def test_what_the_demo_needs_is_in_the_wheel(held):
    for mode in zoo.modes():
        for file in zoo.model_files(mode):
            assert file.relative_to(ROOT).as_posix() in held
    # The bases of its configs, and the scripts that MIM expects.
    for folder, kind in (('configs', '*.py'), ('tools', '*.py')):
        for file in (ROOT / folder).rglob(kind):
            assert f'mindpad_mm/.mim/{folder}/{file.relative_to(ROOT / folder).as_posix()}' in held
