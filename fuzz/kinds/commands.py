"""Values of the command line: every option of every command, with values that nobody expects."""

from __future__ import annotations

import argparse
import importlib
import json
import random
from pathlib import Path
from typing import Any

from fuzz.detectors import write_evaluated
from fuzz.kinds.base import Kind
from fuzz.outcome import Outcome, outcome_of

_VALUES = (
    '', ' ', '0', '-1', '1', '2', '3', '8', '0.5', '1.5', 'nan', 'inf', '-inf', '1e308', '2000000000',
    '99999999999999999999', '0x10', '1_0', 'x', 'auto', 'all', 'zeros', 'reflect', 'reflect/circular',
    'reflect/', '/', '.', '..', '/dev/null', '/proc/self/mem', 'nothing.json', 'config.py', 'set.json',
    'photo.png', 'weights.pth', '[/b]', '[red]', r'$\foo{$', '<script>', '\udcff', 'a\nb', 'n' * 300,
    'a=b', '=', 'a=', 'model=5', 'model.backbone.padding_cfg=reflect', 'model.x.y=1', 'x=[1,2', "k='v'",
    'None', 'True', 'cpu', 'meta', 'cuda:99', 'mps', 'none', 'pytorch', 'car', 'traffic light', 'Car',
    'top', 'input', 'image', 'full', 'focused', 'incremental', 'evenness', 'shift',
)  # fmt: skip
_HARMLESS = tuple(value for value in _VALUES if '/' not in value and value != '..')
_FILES = ('config.py', 'weights.pth', 'photo.png', 'light.png', 'set.json', '0.png')


class Commands(Kind):
    """A command that works, with one or two options more or another argument."""

    title = 'values of the command line'

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        write_evaluated(folder)
        detector, photo = ['config.py', 'weights.pth'], 'photo.png'
        # Command -> arguments that work, and the files that it then writes.
        self.commands: dict[str, tuple[list[str], list[str]]] = {
            'scan': (
                [*detector, '--out', 'out', '--background', photo, '--object', 'light.png', '--size',
                 '24', '--stride', '32', '--label', 'traffic light'],
                ['out/scan.json', 'out/scan.npz', 'out/report.html', 'out/heatmap.png'],
            ),
            'border': (
                [*detector, '--out', 'out', '--photos', photo, '--object', 'light.png', '--size', '16',
                 '--window', '32', '32', '--zoom', '1', '--far', '8', '--distances', '0', '--sides',
                 'top', '--label', 'traffic light', '--draws', '100', '--minutes', '0'],
                ['out/border.json', 'out/report.html'],
            ),
            'diagnose': (
                [*detector, '--out', 'out', '--photos', photo, '--checks', 'evenness', 'filters'],
                ['out/diagnosis.json', 'out/report.html'],
            ),
            'compare': (
                ['evaluated.py:weights.pth', '--out', 'out', '--draws', '1'],
                ['out/comparison.json', 'out/report.html'],
            ),
            'publish': (['weights.pth', 'out.pth'], ['out.pth']),
        }  # fmt: skip
        self.modules = {
            name: importlib.import_module(f'mindpad_mm.cli.{name}') for name in self.commands
        }

    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        for file in folder_files(self.folder):
            Path(file.name).symlink_to(file)
        name = rng.choice(('scan', 'scan', 'border', 'diagnose', 'compare', 'publish'))
        arguments, written = self.commands[name]
        change, argv = _changed(arguments, _options(self.modules[name]), rng)

        def fault(_: Any) -> str | None:
            if {'-h', '--help'} & set(argv):
                return None
            if argv.count('--out') != 1 or argv[argv.index('--out') + 1] != 'out':
                return None
            missing = [file for file in written if not Path(file).is_file()]
            if missing:
                return f'exit status 0 without {", ".join(missing)}'
            for file in Path('out').glob('*.json'):
                json.loads(file.read_text('utf-8'), parse_constant=_no_number)
            return None

        return f'{name} {change}', outcome_of(lambda: self.modules[name].main(argv), fault)


def folder_files(folder: Path) -> list[Path]:
    """The files that every case finds in its own folder."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _options(module: Any) -> list[argparse.Action]:
    """All options of a command, from its own parser."""
    if not hasattr(module, 'make_parser'):
        return []
    return [action for action in module.make_parser('x')._actions if action.option_strings]


def _changed(
    arguments: list[str], options: list[argparse.Action], rng: random.Random
) -> tuple[str, list[str]]:
    argv = list(arguments)
    if not options or rng.random() < 0.15:
        at = rng.randrange(len(argv))
        # What is written goes to the folder of the case.
        value = rng.choice(_HARMLESS if at and argv[at].startswith('out') else _VALUES)
        argv[at] = value
        return f'argument {at} = {value[:40]!r}', argv
    added = []
    for option in rng.choices(options, k=rng.choice((1, 1, 1, 2))):
        added.append(max(option.option_strings, key=len))
        if option.nargs == 0:
            continue
        count = option.nargs if isinstance(option.nargs, int) else rng.choice((1, 1, 1, 2, 0))
        values = _HARMLESS if option.dest in ('out', 'work_dir') else (*_VALUES, *_FILES)
        added += rng.choices(values, k=count)
    return ' '.join(repr(each[:40]) for each in added), argv + added


def _no_number(text: str) -> None:
    raise ValueError(f'{text} in JSON')
