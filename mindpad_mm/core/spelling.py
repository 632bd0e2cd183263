"""Names that mean the same, spelt differently."""

from __future__ import annotations

from collections.abc import Iterable


def plain(name: str) -> str:
    """A name's letters and digits in lower case: ``'Traffic_Light'`` gives ``'trafficlight'``."""
    return ''.join(filter(str.isalnum, name.casefold()))


def other_spellings(name: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are ``name`` in another spelling, or in the plural."""
    spellings = {plain(name), plain(f'{name}s')}
    return [each for each in names if each != name and plain(each) in spellings]
