from __future__ import annotations

import argparse

import pytest

from mindpad_mm.cli.errors import name_options, one_line_errors
from mindpad_mm.core.errors import UserError


@pytest.mark.parametrize(
    ('raised', 'line', 'status'),
    [(UserError('no\n file'), 'error: no file\n', 2), (KeyboardInterrupt(), 'interrupted\n', 130)],
)
def test_a_users_mistake_and_ctrl_c_are_one_line_and_a_status(raised, line, status, capsys):
    @one_line_errors()
    def main():
        raise raised

    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == status
    assert capsys.readouterr().err == line


def test_ctrl_c_names_resume_where_the_command_has_it(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--resume', action='store_true')
    with pytest.raises(SystemExit), one_line_errors(parser):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == 'interrupted: the same command with --resume continues\n'


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('runs', nargs='*', metavar='RUN')
    parser.add_argument('-s', '--size', dest='sizes', nargs='+')
    parser.add_argument('--photo-root')
    parser.add_argument('--engine')
    parser.add_argument('--resume', action='store_true')
    return parser


@pytest.mark.parametrize(
    ('message', 'printed'),
    [
        ("`photo_root`: photo 'x.jpg' was not found", "--photo-root: photo 'x.jpg' was not found"),
        ('`sizes` 3 and `stride` 2', '--size 3 and `stride` 2'),
        ('`config` and `runs`', 'config and RUN'),
        ('continue it with `resume=True`', 'continue it with --resume'),
        ("use `engine='full'` or `space='image'`", "use --engine full or `space='image'`"),
        (
            'run `pip install x`, not sizes or `sizes.x`',
            'run `pip install x`, not sizes or `sizes.x`',
        ),
    ],
)
def test_parameters_of_the_library_are_printed_as_options(parser, message, printed, capsys):
    with pytest.raises(SystemExit), one_line_errors(parser):
        raise UserError(message)
    assert capsys.readouterr().err == f'error: {printed}\n'


def test_a_mapping_may_name_the_options():
    assert name_options('`out` is a file', {'out': '--work-dir'}) == '--work-dir is a file'
