"""The shipped checkpoints: one small SSD, trained alike but for its padding. See MODEL_CARD.md."""

from __future__ import annotations

from pathlib import Path

from mindpad_mm.errors import UserError

_FOLDER = Path(__file__).parent
_CONFIGS = _FOLDER.parent / '.mim' / 'configs' / 'traffic_light'
_NAME = 'ssdlite256_{}_traffic-light'


def modes() -> list[str]:
    """The padding modes there is a checkpoint for, ``zeros`` first."""
    before, after = _NAME.split('{}')
    found = {
        file.stem[len(before) : -len(after)] for file in _FOLDER.glob(_NAME.format('*') + '.pth')
    }
    return sorted(found, key=lambda mode: (mode != 'zeros', mode))


def model_files(mode: str) -> tuple[Path, Path]:
    """The config and the checkpoint of a mode.

    Raises:
        UserError: The zoo has none.
    """
    if mode not in modes():
        raise UserError(f'the zoo has no {mode!r}; it has {", ".join(modes())}')
    name = _NAME.format(mode)
    return _CONFIGS / f'{name}.py', _FOLDER / f'{name}.pth'
