"""The shipped checkpoints: small SSDs that differ only in padding within a family. See MODEL_CARD.md."""

from __future__ import annotations

from pathlib import Path

from mindpad_mm.core.errors import UserError

_FOLDER = Path(__file__).parent
_CONFIGS = _FOLDER.parent / '.mim' / 'configs'
# Family -> folder of its configs.
FAMILIES = {
    'ssdlite256': 'traffic_light',
    'ssd128-centre': 'traffic_light',
    'ssd128-everywhere': 'traffic_light',
    'ssd128': 'study',
}


def modes(family: str = 'ssdlite256') -> list[str]:
    """The padding modes with a checkpoint, ``zeros`` first.

    Args:
        family: A key of :data:`FAMILIES`.

    Raises:
        UserError: The zoo has no such family.
    """
    if family not in FAMILIES:
        raise UserError(f'the zoo has no family {family!r}; it has {", ".join(FAMILIES)}')
    before, after = f'{family}_', '_traffic-light'
    found = {file.stem[len(before) : -len(after)] for file in _FOLDER.glob(f'{before}*{after}.pth')}
    return sorted(found, key=lambda mode: (mode != 'zeros', mode))


def model_files(mode: str, family: str = 'ssdlite256') -> tuple[Path, Path]:
    """The config and the checkpoint of a padding mode.

    Args:
        mode: Padding mode.
        family: A key of :data:`FAMILIES`.

    Raises:
        UserError: The zoo has no such family, or no checkpoint of the mode in it.
    """
    if mode not in modes(family):
        raise UserError(f'the zoo has no {family} {mode!r}; it has {", ".join(modes(family))}')
    name = f'{family}_{mode}_traffic-light'
    return _CONFIGS / FAMILIES[family] / f'{name}.py', _FOLDER / f'{name}.pth'
