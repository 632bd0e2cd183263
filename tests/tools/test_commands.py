"""The console command ``mindpad`` and the scripts in tools/."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mindpad
from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import CHECKS

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools'
SCRIPTS = {
    'blindspot_scan': 'scan',
    'border_loss': 'border',
    'diagnose': 'diagnose',
    'adapt': 'adapt',
    'compare': 'compare',
    'blindspot_report': 'report',
    'make_traffic_lights': 'lights',
    'demo': 'demo',
}


def output(capsys, start) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        start()
    return (left.value.code or 0, *capsys.readouterr())


def run_script(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *arguments])
    monkeypatch.setattr(sys, 'path', [*sys.path])
    runpy.run_path(str(TOOLS / f'{name}.py'), run_name='__main__')


def test_help_lists_every_command_in_a_line(capsys):
    status, text, _ = output(capsys, lambda: mindpad.main(['--help']))
    assert status == 0
    for name, summary in mindpad.COMMANDS.items():
        assert any(line.split() == [name, *summary.split()] for line in text.splitlines())
    assert set(mindpad.COMMANDS) == set(SCRIPTS.values())


@pytest.mark.parametrize('arguments', [[], ['scam'], ['--scan']])
def test_without_a_command_that_exists_the_usage_is_shown(capsys, arguments):
    status, _, text = output(capsys, lambda: mindpad.main(arguments))
    assert status == 2
    assert text.startswith('usage: mindpad [-h] COMMAND ...')


@pytest.mark.parametrize(('script', 'command'), SCRIPTS.items())
def test_a_command_and_its_script_have_the_same_help(monkeypatch, capsys, script, command):
    status, text, _ = output(capsys, lambda: mindpad.main([command, '--help']))
    assert status == 0
    assert text.startswith(f'usage: mindpad {command} [-h]')
    assert f'  mindpad {command} ' in text
    of_script = output(capsys, lambda: run_script(monkeypatch, script, '--help'))
    assert of_script[0] == 0
    assert f'tools/{script}.py ' in of_script[1].split('example', 1)[1]
    options = {word for word in text.split() if word.startswith('--')}
    assert options == {word for word in of_script[1].split() if word.startswith('--')}


def test_publish_has_a_help_with_an_example(monkeypatch, capsys):
    status, text, _ = output(capsys, lambda: run_script(monkeypatch, 'publish', '--help'))
    assert status == 0
    assert 'example:\n  python tools/publish.py ' in text


def test_a_mistake_names_the_option_and_not_the_parameter(monkeypatch, capsys):
    def scan(*args, settings, **options):
        raise UserError(f'`sizes` {settings.sizes[0]}, `ann_ids` {settings.ann_ids[0]}')

    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    module = importlib.import_module('mindpad_mm.scan')
    monkeypatch.setattr(module, 'blindspot_scan', scan)
    arguments = ['scan', 'c.py', 'c.pth', '--size', '3', '--ann-id', '5', '--from-coco', 'x.json']
    status, _, error = output(capsys, lambda: mindpad.main(arguments))
    assert (status, error) == (2, 'error: --size 3, --ann-id 5\n')


def test_processes_of_torchrun_need_the_launcher(monkeypatch, capsys):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    status, _, error = output(capsys, lambda: mindpad.main(['scan', 'c.py', 'c.pth']))
    assert status == 2
    assert 'add --launcher pytorch' in error


ARGUMENTS = {
    'scan': ['config.py', 'weights.pth', '--stride', '0'],
    'border': ['config.py', 'weights.pth', '--photos', 'photos', '--near', '-1'],
    'compare': ['a.py:a.pth', '--draws', '0'],
    'diagnose': ['config.py', '--out', 'out', '--max-photos', '0'],
    'adapt': ['config.py', 'weights.pth', '--photos', 'photos', '--steps', '0'],
    'report': ['--name', 'zeros'],
    'lights': ['--out', 'out', '--size', '8'],
    'demo': ['--stride', 'wide'],
}


@pytest.mark.parametrize('command', mindpad.COMMANDS)
@pytest.mark.parametrize('arguments', ['help', 'mistake'])
def test_help_and_wrong_arguments_are_answered_without_torch(command, arguments):
    given = ['--help'] if arguments == 'help' else ARGUMENTS[command]
    script = (
        "import sys; sys.modules['torch'] = None; import mindpad; "
        f'mindpad.main({[command, *given]!r})'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert 'Traceback' not in done.stderr, done.stderr
    assert done.returncode == (0 if arguments == 'help' else 2), done.stderr


def test_help_of_diagnose_names_every_check(capsys):
    _, text, _ = output(capsys, lambda: mindpad.main(['diagnose', '--help']))
    assert all(check in text for check in CHECKS)
