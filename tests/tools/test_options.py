"""Command-line options generated from a settings dataclass."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from mindpad_mm.cli.options import add_settings, new_parser, settings_from
from mindpad_mm.core.errors import UserError


def whole_or_auto(text: str) -> int | str:
    return text if text == 'auto' else int(text)


@dataclass(frozen=True)
class Settings:
    label: str = field(metadata=dict(help='class to look for'))
    sizes: Sequence[int] = field(
        default=(32, 48), metadata=dict(flag='--size', help='longer side', metavar='PX')
    )
    stride: int = field(default=4, metadata=dict(help='pixels between positions'))
    iou_thr: float = field(default=0.5, metadata=dict(help='minimum IoU, 50 %% here'))
    photo_root: Path | None = field(default=None, metadata=dict(help='folder of the photos'))
    input_size: tuple[int, int] | None = field(default=None, metadata=dict(metavar=('H', 'W')))
    periods: tuple[int, ...] = field(default=(), metadata=dict(help='candidates (its strides)'))
    space: Literal['input', 'image'] = field(default='input', metadata=dict(help='where'))
    batch_size: int | str = field(default=8, metadata=dict(type=whole_or_auto, help='positions'))
    modes: list[str] = field(
        default_factory=lambda: ['zeros'], metadata=dict(choices=['zeros', 'reflect'])
    )
    resume: bool = field(default=False, metadata=dict(help='continue'))
    checks: bool = True
    options: dict[str, Any] | None = field(
        default=None, metadata=dict(action='append', help='key=value')
    )
    internal: int = field(default=7, metadata=dict(flag=None))

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise UserError(f'`stride` {self.stride}: at least 1')


@pytest.fixture
def parser():
    parser = new_parser('A test.', 'example:\n  %(prog)s --label x', 'tool')
    add_settings(parser, Settings, {'the object': ['label', 'sizes']})
    return parser


def test_without_arguments_the_settings_are_the_defaults(parser):
    assert settings_from(parser.parse_args(['--label', 'x']), Settings) == Settings('x')


def test_every_option_is_read_as_its_field_says(parser):
    arguments = (
        '--label x --size 3 4 --stride 2 --iou-thr .25 --photo-root p --input-size 5 6 --periods 8 '
        '--space image --batch-size auto --modes reflect zeros --resume --no-checks --options a=1'
    )
    args = parser.parse_args(arguments.split())
    settings = settings_from(args, Settings)
    expected = Settings(
        'x', [3, 4], 2, 0.25, Path('p'), (5, 6), (8,), 'image', 'auto', ['reflect', 'zeros'],
        True, False, ['a=1'],
    )  # fmt: skip
    assert settings == expected


@pytest.mark.parametrize(
    'arguments',
    [
        '',
        '--label x --stride 1.5',
        '--label x --space moon',
        '--label x --modes mirror',
        '--label x --input-size 5',
        '--label x --batch-size few',
        '--label x --internal 3',
    ],
)
def test_invalid_values_are_errors_of_the_parser(parser, arguments, capsys):
    with pytest.raises(SystemExit) as left:
        parser.parse_args(arguments.split())
    assert left.value.code == 2
    assert 'usage: tool' in capsys.readouterr().err


def test_the_help_shows_groups_defaults_and_examples(parser):
    text = ' '.join(parser.format_help().split())
    for part in (
        'the object: --label LABEL class to look for --size PX [PX ...] longer side (32 48)',
        '--stride STRIDE pixels between positions (4)',
        'minimum IoU, 50 % here (0.5)',
        'folder of the photos --input-size H W',
        'candidates (its strides)',
        '--space {input,image} where (input)',
        '--resume continue',
        'example: tool --label x',
    ):
        assert part in text
    assert 'internal' not in text


def test_values_given_beside_the_arguments_win_and_are_checked(parser):
    args = parser.parse_args(['--label', 'x', '--stride', '2'])
    assert settings_from(args, Settings, stride=3).stride == 3
    with pytest.raises(UserError, match='`stride` 0'):
        settings_from(args, Settings, stride=0)


def test_some_fields_without_defaults_leave_only_what_was_given():
    parser = argparse.ArgumentParser()
    add_settings(parser, Settings, only=['label', 'sizes', 'resume'], defaults=False)
    assert vars(parser.parse_args([])) == {}
    assert vars(parser.parse_args(['--size', '3'])) == {'sizes': [3]}
    assert vars(parser.parse_args(['--resume'])) == {'resume': True}
    assert 'longer side (32 48)' in parser.format_help()


def test_an_unknown_field_is_an_error():
    with pytest.raises(ValueError, match='Settings has no field size'):
        add_settings(argparse.ArgumentParser(), Settings, {'the object': ['size']})
