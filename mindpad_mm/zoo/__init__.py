"""The shipped checkpoints: small SSDs, alike within a family but for their padding. See MODEL_CARD.md."""

from __future__ import annotations

from pathlib import Path

from mindpad_mm.core.errors import UserError

_FOLDER = Path(__file__).parent
_CONFIGS = _FOLDER.parent / '.mim' / 'configs'
# Where the configs of a family are. The first is the one for all who ask for no other.
FAMILIES = {'ssdlite256': 'traffic_light', 'ssd128': 'study'}
_FIRST = next(iter(FAMILIES))


def modes(family: str = _FIRST) -> list[str]:
    """The padding modes there is a checkpoint for, ``zeros`` first.

    Raises:
        UserError: The zoo has no such family.
    """
    if family not in FAMILIES:
        raise UserError(f'the zoo has no family {family!r}; it has {", ".join(FAMILIES)}')
    before, after = f'{family}_', '_traffic-light'
    found = {file.stem[len(before) : -len(after)] for file in _FOLDER.glob(f'{before}*{after}.pth')}
    return sorted(found, key=lambda mode: (mode != 'zeros', mode))


def model_files(mode: str, family: str = _FIRST) -> tuple[Path, Path]:
    """The config and the checkpoint of a mode.

    Raises:
        UserError: The zoo has none.
    """
    if mode not in modes(family):
        raise UserError(f'the zoo has no {family} {mode!r}; it has {", ".join(modes(family))}')
    name = f'{family}_{mode}_traffic-light'
    return _CONFIGS / FAMILIES[family] / f'{name}.py', _FOLDER / f'{name}.pth'
