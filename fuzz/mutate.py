"""Mutations of bytes, of nested values and of texts."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

_DEEP: Any = []
for _ in range(200):
    _DEEP = [_DEEP]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 2.5, 7, 10**6, 2**31, 2**63, 10**400, -(2**40), 1e-320, 1e308,
    math.nan, math.inf, -math.inf, '', '5', 'a', 'nan', '[/b]', r'$\foo{$', 'x' * 5000, '\udcff',
    '\x00', '../../x', '/dev/null', [], {}, [None], [[]], [0, 0], {'type': 'x'}, {'a': {'b': []}}, _DEEP,
)  # fmt: skip
"""Values that stand where others are expected."""


def mutated_bytes(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Bytes with one mutation, and its name."""
    size = len(data)
    at = rng.randrange(size) if size else 0
    length = min(rng.choice((1, 4, 64, 1024)), max(1, size - at))
    kind = rng.choice(
        (
            'flip',
            'flip',
            'flip',
            'byte',
            'cut',
            'zeros',
            'insert',
            'remove',
            'double',
            'tail',
            'empty',
        )
    )
    new = bytearray(data)
    if kind == 'flip':
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            if size:
                new[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 'byte' and size:
        new[at] = rng.choice((0, 1, 127, 128, 255))
    elif kind == 'cut':
        del new[at:]
    elif kind == 'zeros':
        new[at : at + length] = bytes(length)
    elif kind == 'insert':
        new[at:at] = rng.randbytes(length)
    elif kind == 'remove':
        del new[at : at + length]
    elif kind == 'double':
        new[at:at] = new[at : at + length]
    elif kind == 'tail':
        new += rng.randbytes(length)
    elif kind == 'empty':
        new.clear()
    return f'{kind} at {at} of {size}', bytes(new)


def mutated_value(content: Any, rng: random.Random, odd: tuple[Any, ...] = ODD) -> tuple[str, Any]:
    """A copy of nested dicts and lists with one mutation, and its name."""
    content = copy.deepcopy(content)
    places = list(_places(content))
    if not places:
        return 'whole', rng.choice(odd)
    # A level first: else the many leaves of a long list would take all turns.
    depth = rng.choice(sorted({len(path) for path, _ in places}))
    path, holder = rng.choice([place for place in places if len(place[0]) == depth])
    key, name = path[-1], '.'.join(map(str, path))
    kind = rng.choice(('odd', 'odd', 'odd', 'odd', 'remove', 'double', 'shuffle', 'swap'))
    if kind == 'remove':
        del holder[key]
    elif kind == 'double' and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 'shuffle' and isinstance(holder[key], list):
        rng.shuffle(holder[key])
    elif kind == 'swap' and len(holder) > 1:
        other = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        holder[key], holder[other] = holder[other], holder[key]
        name += f' and {other}'
    else:
        value = rng.choice(odd)
        holder[key] = copy.deepcopy(value)
        return f'{name} = {repr(value)[:40]}', content
    return f'{kind} {name}', content


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(path, what holds it) of everything in nested dicts and lists."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield (*path, key), node
        yield from _places(value, (*path, key))
