"""Settings: a frozen dataclass for each tool, from which its command line is made."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from mindpad_mm.core.errors import UserError

Settings = TypeVar('Settings')


def option(default: Any, help: str, **argparse: Any) -> Any:
    """A dataclass field that is also a command-line option.

    Args:
        default: Default value of the field; must be immutable.
        help: Help text of the option.
        argparse: Arguments of ``ArgumentParser.add_argument`` (``nargs``, ``type``, ``metavar``, ...),
            and ``flag``: the option, if it is not the name of the field, e.g. ``'--size'``.
    """
    return dataclasses.field(default=default, metadata={'help': help, **argparse})


def build_settings(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build settings from keyword arguments.

    Args:
        cls: A dataclass.
        values: Values by name of the field.

    Raises:
        UserError: A name is not a field, or the dataclass rejects a value.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f'did you mean {close[0]!r}?' if close else f'choose from {", ".join(names)}'
            raise UserError(f'there is no setting {name!r}; {hint}')
    return cls(**values)


def chosen_settings(
    cls: type[Settings], settings: Settings | None, options: Mapping[str, Any]
) -> Settings:
    """The settings that were given at once, or else those made of single options.

    Raises:
        UserError: Both were given, or an option is not one of the fields.
    """
    if settings is not None and options:
        raise UserError(f'give `settings` or single options ({", ".join(options)}), not both')
    return settings or build_settings(cls, options)
