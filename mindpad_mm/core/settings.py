"""Settings objects: one frozen dataclass a tool, from which its command line is made."""

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
        default: The field's default, immutable.
        help: Shown by ``--help``.
        argparse: What ``ArgumentParser.add_argument`` takes (``nargs``, ``type``, ``metavar``, ...), and
            ``flag``, the option's spelling where it is not the field's name.
    """
    return dataclasses.field(default=default, metadata={'help': help, **argparse})


def build_settings(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build settings from keyword arguments.

    Raises:
        UserError: An argument is not one of the fields.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f', did you mean {close[0]!r}?' if close else f'; there are {", ".join(names)}'
            raise UserError(f'there is no setting {name!r}{hint}')
    return cls(**values)
