"""Commands, snippets and the notebook of the documentation: they parse or run."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import shutil
from pathlib import Path

import cv2
import nbformat
import pytest
from nbclient import NotebookClient

import mindpad
from tests.border.toys import noise_photo
from tests.processes import run_python

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
TUTORIALS = sorted((ROOT / 'docs' / 'tutorials').glob('*.md'))
SCRIPTS = {
    'blindspot_scan': 'scan',
    'border_loss': 'border',
    'blindspot_report': 'report',
    'make_traffic_lights': 'lights',
    'diagnose': 'diagnose',
    'adapt': 'adapt',
    'compare': 'compare',
}


def commands_of(page):
    """The lines of a page's shell blocks that start one of our commands: (command, arguments)."""
    text = page.read_text('utf-8')
    for block in re.findall(r'```shell\n(.*?)```', text, re.DOTALL):
        for line in block.replace('\\\n', ' ').splitlines():
            found = re.search(r'\bmindpad (\w+)(?: (.*))?$|tools/(\w+)\.py(?: (.*))?$', line)
            if found is None:
                continue
            command = found[1] or SCRIPTS.get(found[3])
            if command in mindpad.COMMANDS:
                yield command, shlex.split((found[2] or found[4] or ''), comments=True)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_every_command_on_a_page_has_the_options_that_it_is_given(page):
    for command, arguments in commands_of(page):
        arguments = [each for each in arguments if each not in ('[CHECKPOINT]',)]
        parser = importlib.import_module(f'mindpad_mm.cli.{command}').make_parser('mindpad')
        # A placeholder cannot be read as a number.
        arguments = ['64' if re.fullmatch(r'\$\w+', each) else each for each in arguments]
        try:
            parser.parse_args(arguments)
        except (SystemExit, argparse.ArgumentError):
            pytest.fail(f'{page.name}: {command} {" ".join(arguments)}')


def test_the_pages_show_every_command():
    assert {command for page in PAGES for command, _ in commands_of(page)} == set(mindpad.COMMANDS)


@pytest.fixture(scope='module')
def folder(files, tmp_path_factory):
    """What the tutorials find in the current folder."""
    folder = tmp_path_factory.mktemp('tutorial')
    shutil.copy(files / 'config.py', folder / 'my_config.py')
    shutil.copy(files / 'weights.pth', folder / 'my_checkpoint.pth')
    (folder / 'photos').mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / 'photos' / f'{number}.png'), noise_photo(150, 160, number))
    return folder


@pytest.mark.parametrize('page', TUTORIALS, ids=lambda page: page.stem)
def test_the_python_of_a_tutorial_runs_from_top_to_bottom(page, folder):
    blocks = re.findall(r'```python\n(.*?)```', page.read_text('utf-8'), re.DOTALL)
    configs = [block for block in blocks if '_base_' in block]
    script = '\n'.join(block for block in blocks if block not in configs)
    for number, config in enumerate(configs):
        path = folder / f'{page.stem}{number}.py'
        path.write_text(config)
        script += f"""
import mindpad_mm
from mmdet.apis import init_detector
init_detector({path.name!r}, device='cpu', palette='random')
"""
    run_python(script, folder)


def test_the_notebook_runs_from_top_to_bottom(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    notebook = nbformat.read(ROOT / 'examples' / 'first_look.ipynb', as_version=4)
    for cell in notebook.cells:
        for slow, fast in (('stride=16', 'stride=96'), ('minutes=1', 'minutes=0.1')):
            cell.source = cell.source.replace(slow, fast)
    NotebookClient(notebook, timeout=300, kernel_name='python3').execute()
    outputs = [out for cell in notebook.cells for out in cell.get('outputs', ())]
    kinds = {kind for output in outputs for kind in output.get('data', ())}
    assert {'image/png', 'text/html'} <= kinds
