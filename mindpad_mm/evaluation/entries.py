"""Entries of a comparison: a run (config and checkpoint), or a group of runs of one setting."""

from __future__ import annotations

import dataclasses
import os.path as osp
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config, read_cfg_options
from mindpad_mm.core.names import ModeSpec
from mindpad_mm.padding.modes import describe, get_modes, swappable_modes

_KEY = 'padding_cfg'


@dataclasses.dataclass(frozen=True)
class Run:
    """One detector to evaluate.

    Attributes:
        config: Path of an MMDetection config.
        checkpoint: Path or URL of its weights.
        name: Name to show. Default: the config's file name without its suffix.
        cfg_options: Overrides of the config.
        recalibrate: Number of training images to estimate batch-norm statistics on. Default: 0, which
            keeps the checkpoint's statistics.
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
            text: The run. Options are ``key=value[,key=value...]``, with values as in
                ``--cfg-options``. A work dir must contain exactly one config. Its checkpoint is the one
                named in ``last_checkpoint``, or else the only ``best_*.pth``. Paths may contain colons.
            name: Name to show. Default: the work dir's name, or the config's name and the options.

        Raises:
            UserError: The text has neither form, or the work dir is incomplete.
        """
        # The options begin at a colon that is followed by KEY=.
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
    """Runs with the same settings and different seeds, shown as mean and standard deviation.

    Groups must be given explicitly: two checkpoints of a config may be two seeds or two epochs.

    Attributes:
        name: Name to show.
        runs: One or more runs.

    Raises:
        UserError: There are no runs.
    """

    name: str
    runs: Sequence[Run]

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError(f'group {self.name!r} has no runs: give one or more')


Entry = Run | Group


def runs_of(entry: Entry) -> list[Run]:
    """The runs of a group, or the run itself."""
    return list(entry.runs) if isinstance(entry, Group) else [entry]


def with_unique_names(entries: Sequence[Entry]) -> list[Entry]:
    """Add the checkpoint's name to the names of runs that have the same name.

    Raises:
        UserError: After that, two entries have the same name.
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
            raise UserError(f'`name`: two entries have the name {name!r}: give each its own name')
    return entries


def swapped_runs(
    run: Run,
    modes: Sequence[ModeSpec] | str = 'all',
    recalibrate: Sequence[int] = (0,),
    cfg_options: dict[str, Any] | None = None,
) -> list[Run]:
    """A run, followed by runs of the same checkpoint with other padding modes, without training.

    If the config has a ``padding_cfg``, the modes of the layers that it covers are swapped, otherwise
    those of the whole model.

    Args:
        run: The run.
        modes: Padding modes. ``'all'`` (default): all registered ones.
        recalibrate: Numbers of training images to estimate batch-norm statistics on after the swap.
            There is one run for each mode and number; 0 (default) keeps the checkpoint's statistics.
        cfg_options: Overrides of the config. The run's own take precedence.

    Returns:
        The unchanged run, and the swapped runs.

    Raises:
        UserError: The config cannot be read, or a mode is unknown.
    """
    cfg = load_config(run.config, {**(cfg_options or {}), **run.cfg_options})
    chosen = swappable_modes() if modes == 'all' else modes
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
    """cfg-options that set the mode of every ``padding_cfg`` in a config's model.

    Without a ``padding_cfg``, they set ``model.padding_cfg``.
    """
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
    # The config ends at the first colon before which there is an existing file, or else at the first.
    cut = next((cut for cut in cuts if osp.isfile(place[:cut])), cuts[0] if cuts else 0)
    config, checkpoint = place[:cut], place[cut + 1 :]
    is_url = checkpoint.startswith(('http://', 'https://'))
    # A colon in the checkpoint is part of a URL or of an existing path. Otherwise the options after it
    # are malformed.
    is_valid = is_url or ':' not in checkpoint or osp.isfile(checkpoint)
    if not (config and checkpoint and is_valid):
        raise UserError(
            f'run {run!r} is neither CONFIG:CHECKPOINT[:KEY=VALUE,...] nor an existing work dir'
        )
    return config, checkpoint


def _parse_options(text: str) -> dict[str, Any]:
    if not text:
        return {}
    # Split only at commas in front of KEY=: a value may contain commas.
    return read_cfg_options(re.split(r',(?=[\w.]+=)', text))


def _work_dir_files(folder: Path) -> tuple[str, str]:
    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1:
        found = ', '.join(path.name for path in configs) or 'none'
        raise UserError(
            f'work dir {str(folder)!r} must contain exactly one config (.py), found: {found}; '
            'give CONFIG:CHECKPOINT instead'
        )
    return str(configs[0]), str(_work_dir_checkpoint(folder))


def _work_dir_checkpoint(folder: Path) -> Path:
    pointer = folder / 'last_checkpoint'
    if pointer.is_file():
        named = Path(pointer.read_text(encoding='utf-8').strip())
        for path in (folder / named.name, named):  # the work dir may have been moved
            if path.is_file():
                return path
    best = sorted(folder.glob('best_*.pth'))
    if len(best) != 1:
        found = ', '.join(path.name for path in best) or 'none'
        raise UserError(
            f'work dir {str(folder)!r} has neither the checkpoint named in last_checkpoint nor one '
            f'best_*.pth (found: {found}): did its training finish? give CONFIG:CHECKPOINT instead'
        )
    return best[0]
