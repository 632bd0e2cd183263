"""Options of the command line, made from the fields of settings dataclasses."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar('T')
# Keys of a field's metadata that are passed to argparse unchanged.
_ARGPARSE_KEYS = ('action', 'choices', 'metavar', 'nargs', 'type')


def new_parser(description: str | None, epilog: str, prog: str) -> argparse.ArgumentParser:
    """A parser whose help keeps the line breaks of its texts.

    Args:
        description: What the command does, in one line.
        epilog: Examples, below the options; ``%(prog)s`` stands for ``prog``.
        prog: How the user calls the command.
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_settings(
    parser: argparse._ActionsContainer,
    settings_class: type,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    only: Collection[str] | None = None,
    defaults: bool = True,
) -> None:
    """Add one option for each field of a settings dataclass.

    The destination of an option is the field's name. Its default is the field's and is shown in the
    help. ``field(metadata=...)`` may hold:

    - ``help``, ``metavar``, ``action``: as in :meth:`argparse.ArgumentParser.add_argument`;
    - ``flag``: the option, e.g. ``'--size'``. Default: the field's name, ``--iou-thr`` for
      ``iou_thr``. None: the field has no option;
    - ``type``, ``nargs``, ``choices``: as in argparse. Default: from the field's annotation, where
      ``bool`` is a switch, a list or tuple takes several values, and ``Literal`` has choices.

    Args:
        parser: The parser, or a group of its arguments.
        settings_class: A dataclass.
        groups: Title of an argument group -> names of its fields. Other fields are added to the
            parser itself. Default: no groups.
        only: Names of the fields to add. Default: all.
        defaults: Whether options that are not given get the field's default in the parsed
            arguments. False leaves them out of the namespace.

    Raises:
        ValueError: ``groups`` or ``only`` name a field that the dataclass does not have.
    """
    fields = {f.name: f for f in dataclasses.fields(settings_class) if f.init}
    titles = {name: title for title, names in (groups or {}).items() for name in names}
    unknown = sorted({*titles, *(only or ())} - {*fields})
    if unknown:
        raise ValueError(f'{settings_class.__name__} has no field {", ".join(unknown)}')
    hints = typing.get_type_hints(settings_class)
    sections = {title: parser.add_argument_group(title) for title in groups or {}}
    for name, field in fields.items():
        flag = field.metadata.get('flag', '--' + name.replace('_', '-'))
        if flag is None or (only is not None and name not in only):
            continue
        default = _default(field)
        # A field's own action also parses its values.
        keywords = {} if 'action' in field.metadata else _value_keywords(hints[name], default)
        keywords |= {key: field.metadata[key] for key in _ARGPARSE_KEYS if key in field.metadata}
        keywords['help'] = _help(field.metadata.get('help', ''), default)
        if not defaults:
            keywords['default'] = argparse.SUPPRESS
        elif default is dataclasses.MISSING:
            keywords['required'] = True
        else:
            keywords['default'] = default
        section = sections[titles[name]] if name in titles else parser
        section.add_argument(flag, dest=name, **keywords)


def settings_from(args: argparse.Namespace, settings_class: type[T], **others: Any) -> T:
    """Make settings from parsed arguments.

    Args:
        args: Arguments of a parser that :func:`add_settings` filled.
        settings_class: The same dataclass. Fields that ``args`` does not have keep their default.
        others: Values of fields, which take precedence over ``args``.

    Returns:
        The settings; a list of values is a tuple where the field is annotated as one.

    Raises:
        UserError: The dataclass rejects a value.
    """
    hints = typing.get_type_hints(settings_class)
    values = {}
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        if field.init and field.name in args:
            value = getattr(args, field.name)
            is_tuple = typing.get_origin(_without_none(hints[field.name])) is tuple
            values[field.name] = tuple(value) if is_tuple and isinstance(value, list) else value
    return settings_class(**(values | others))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _value_keywords(hint: Any, default: Any) -> dict[str, Any]:
    """``type``, ``nargs``, ``choices`` or ``action`` of :meth:`add_argument` for an annotation."""
    hint = _without_none(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return {'action': argparse.BooleanOptionalAction if default is True else 'store_true'}
    if origin is typing.Literal:
        return {'choices': arguments, 'type': type(arguments[0])}
    if origin in (list, tuple, Sequence) and arguments:
        is_fixed = origin is tuple and arguments[-1] is not Ellipsis
        return {**_value_keywords(arguments[0], None), 'nargs': len(arguments) if is_fixed else '+'}
    return {'type': hint} if hint in (int, float, str, Path) else {}


def _without_none(hint: Any) -> Any:
    """``X`` for ``X | None``; other annotations unchanged."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    rest = [each for each in typing.get_args(hint) if each is not type(None)]
    return rest[0] if len(rest) == 1 else hint


def _help(text: str, default: Any) -> str:
    """The help text, followed by the default in parentheses, unless that is None, empty or a bool."""
    if '%(default)' in text or isinstance(default, bool) or default is dataclasses.MISSING:
        return text
    if default is None or (isinstance(default, (str, Sequence, Mapping)) and not default):
        return text
    shown = ' '.join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
    return f'{text} ({shown.replace("%", "%%")})'
