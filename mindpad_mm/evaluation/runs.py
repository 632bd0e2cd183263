"""What can be compared: a checkpoint under a config, a finished work dir, seeds of one setting."""

from __future__ import annotations

import argparse
import dataclasses
import os.path as osp
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import CfgOptions, load_config
from mindpad_mm.padding.modes import PADDING_MODES, ModeSpec, describe, get_modes

_KEY = 'padding_cfg'


@dataclasses.dataclass(frozen=True)
class Run:
    """One detector to evaluate.

    Attributes:
        config: Path of an MMDetection config.
        checkpoint: Path or URL of its weights.
        name: What to call it; default the config's name.
        cfg_options: Overrides of the config.
        recalibrate: Training images to estimate the batch norms' statistics on anew; default 0,
            leave them.
    """

    config: str
    checkpoint: str
    name: str = ''
    cfg_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    recalibrate: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'config', str(self.config))
        object.__setattr__(self, 'checkpoint', str(self.checkpoint))
        if not self.name:
            object.__setattr__(self, 'name', Path(self.config).stem)

    @classmethod
    def parse(cls, text: str, name: str = '') -> Run:
        """Read ``config:checkpoint[:cfg-options]`` or ``work_dir[:cfg-options]``.

        Args:
            text: The options are ``key=value[,key=value...]``, values as ``--cfg-options`` takes
                them. Of a work dir, its one config and the checkpoint that ``last_checkpoint``
                names are taken, else its one ``best_*.pth``. Paths may hold colons.
            name: Default: the work dir's name, or the config's and the options.

        Raises:
            UserError: It is neither.
        """
        # A colon separates the options only before KEY=.
        place, options = (*re.split(r':(?=[\w.]+=)', text, maxsplit=1), '')[:2]
        if osp.isdir(place):
            config, checkpoint = _work_dir_files(Path(place))
            name = name or Path(place).resolve().name
        else:
            config, checkpoint = _config_and_checkpoint(place, text)
        return cls(
            config,
            checkpoint,
            name or Path(config).stem + (f' {options}' if options else ''),
            _parse_options(options),
        )


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one setting that differ in their seed: shown as mean and standard deviation.

    Grouping is asked for, never guessed: two checkpoints under one config may be two epochs of one
    training as well as two seeds.
    """

    name: str
    runs: Sequence[Run]

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError(f'group {self.name!r} has no runs')


Entry = Run | Group


def runs_of(entry: Entry) -> list[Run]:
    """The runs of a group, or the run itself."""
    return list(entry.runs) if isinstance(entry, Group) else [entry]


def told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, runs that share a name given their checkpoint's name beside it.

    Raises:
        UserError: That leaves two of one name.
    """
    names = [entry.name for entry in entries]
    entries = [
        dataclasses.replace(entry, name=f'{entry.name} {Path(entry.checkpoint).stem}')
        if isinstance(entry, Run) and names.count(entry.name) > 1
        else entry
        for entry in entries
    ]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f'two runs are called {name!r}: name every run with --name')
    return entries


def swapped_runs(
    run: Run,
    modes: Sequence[ModeSpec] | str = 'all',
    recalibrate: Sequence[int] = (0,),
    cfg_options: dict[str, Any] | None = None,
) -> list[Run]:
    """A run, and its checkpoint under other padding modes, without any training.

    Where the config has ``padding_cfg`` already, its layers are what is swapped; else the whole
    model's are.

    Args:
        run: First in the result, as it is.
        modes: Padding modes, or ``'all'`` that are registered.
        recalibrate: For each mode, a run for each of these numbers of training images to
            estimate the batch norms' statistics on after the swap; 0 leaves them.
        cfg_options: Overrides of every config, as :func:`compare` gets them.

    Raises:
        UserError: The config cannot be read, or a mode is unknown.
    """
    cfg = load_config(run.config, {**(cfg_options or {}), **run.cfg_options})
    chosen = list(PADDING_MODES.module_dict) if modes == 'all' else modes
    return [run, *_recalibrated(run, cfg, chosen, recalibrate)]


def _recalibrated(
    run: Run, cfg: Config, modes: Sequence[ModeSpec], recalibrate: Sequence[int]
) -> Iterator[Run]:
    for mode in modes:
        for images in recalibrate:
            name = f'{run.name} → {describe(get_modes(mode))}'
            options = {**run.cfg_options, **padding_options(cfg, mode)}
            yield dataclasses.replace(
                run,
                name=name + (f', BN of {images}' if images else ''),
                cfg_options=options,
                recalibrate=images,
            )


def padding_options(cfg: Config, mode: ModeSpec) -> dict[str, Any]:
    """The cfg-options that set the mode of every ``padding_cfg`` of a config's model, or give the
    whole model one if there is none."""
    found = list(_padding_keys(cfg.get('model') or {}, 'model')) or [f'model.{_KEY}']
    return dict.fromkeys(found, mode)


def _padding_keys(node: Any, path: str) -> Iterator[str]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if key == _KEY:
            if value is not None:
                yield f'{path}.{key}.mode' if isinstance(value, dict) else f'{path}.{key}'
        elif isinstance(value, (dict, list, tuple)):
            yield from _padding_keys(value, f'{path}.{key}')


def _config_and_checkpoint(place: str, run: str) -> tuple[str, str]:
    cuts = [match.start() for match in re.finditer(':', place)]
    # The first colon, unless it stands in the path of a config that is there.
    cut = next((cut for cut in cuts if osp.isfile(place[:cut])), cuts[0] if cuts else 0)
    config, checkpoint = place[:cut], place[cut + 1 :]
    is_address = checkpoint.startswith(('http://', 'https://'))
    # A colon further on begins options that are none, or stands in the path of what is there.
    is_clear = is_address or ':' not in checkpoint or osp.isfile(checkpoint)
    if not (config and checkpoint and is_clear):
        raise UserError(
            f'run {run!r} is neither CONFIG:CHECKPOINT[:KEY=VALUE,...] nor a work dir that is there'
        )
    return config, checkpoint


def _parse_options(text: str) -> dict[str, Any]:
    if not text:
        return {}
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    # A comma inside a value is followed by no key.
    return parser.parse_args(['--cfg-options', *re.split(r',(?=[\w.]+=)', text)]).cfg_options


def _work_dir_files(folder: Path) -> tuple[str, str]:
    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1:
        found = ', '.join(path.name for path in configs) or 'none'
        raise UserError(
            f'work dir {str(folder)!r} must hold one config (.py), found: {found}; '
            'give CONFIG:CHECKPOINT instead'
        )
    return str(configs[0]), str(_work_dir_checkpoint(folder))


def _work_dir_checkpoint(folder: Path) -> Path:
    pointer = folder / 'last_checkpoint'
    if pointer.is_file():
        named = Path(pointer.read_text(encoding='utf-8').strip())
        for path in (folder / named.name, named):  # the dir may have been moved since
            if path.is_file():
                return path
    best = sorted(folder.glob('best_*.pth'))
    if len(best) != 1:
        found = ', '.join(path.name for path in best) or 'none'
        raise UserError(
            f'work dir {str(folder)!r} has neither the checkpoint of its last_checkpoint nor one '
            f'best_*.pth (found: {found}): did its training finish? give CONFIG:CHECKPOINT instead'
        )
    return best[0]
