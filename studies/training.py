"""Trainings that can be resumed and run in parallel."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json
from mindpad_mm.core.loading import load_config

# Parts of the config that a training in the work dir must share to be reused.
_DECISIVE = (
    'model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness',
)  # fmt: skip
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Training:
    """One training of one config.

    Attributes:
        config: Path of a config that trains by epoch.
        seed: Seed of the initial weights and of the order of the data.
        work_dir: The Runner's work dir.
        cfg_options: Overrides of the config. Default: none.
    """

    config: Path
    seed: int
    work_dir: Path
    cfg_options: Mapping[str, Any] = field(default_factory=dict)

    def load(self, cfg_options: dict[str, Any] | None = None) -> Config:
        """The config with its seed and work dir."""
        options = {'randomness.seed': self.seed, **self.cfg_options, **(cfg_options or {})}
        cfg = load_config(str(self.config), options)
        cfg.work_dir = str(self.work_dir)
        return cfg

    @property
    def epochs(self) -> int:
        """Number of epochs to train."""
        return self.load().train_cfg.max_epochs

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs, by the last checkpoint."""
        pointer = self.work_dir / 'last_checkpoint'
        if not pointer.is_file():
            return 0
        name = Path(pointer.read_text(encoding='utf-8').strip()).name
        found = re.fullmatch(r'epoch_(\d+)\.pth', name)
        return int(found.group(1)) if found and (self.work_dir / name).is_file() else 0

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint of the last epoch; it may not exist yet."""
        return self.work_dir / f'epoch_{self.epochs}.pth'

    @property
    def cost(self) -> Path:
        """JSON file with ``cpu_seconds``; exists if the training was not interrupted."""
        return self.work_dir / 'cost.json'

    def check(self) -> None:
        """Check that the work dir has no training of another config.

        Raises:
            UserError: It has one.
        """
        dumped = self.work_dir / self.config.name
        if not dumped.is_file():
            return
        theirs, ours = load_config(str(dumped)), self.load()
        for key in _DECISIVE:
            if theirs.get(key) != ours.get(key):
                raise UserError(
                    f'{self.work_dir} has a training whose {key} differs from that of '
                    f'{self.config}: move it away'
                )

    def run(self) -> None:
        """Train the remaining epochs with MMEngine's Runner."""
        cfg = self.load()
        cfg.resume = True
        uninterrupted, start = not self.epochs_done, time.process_time()
        Runner.from_cfg(cfg).train()
        if uninterrupted:
            save_json(self.cost, {'cpu_seconds': round(time.process_time() - start, 1)})


@HOOKS.register_module()
class ChannelsLast(Hook):
    """Trains in the memory format in which small convolutions are fastest on a CPU."""

    def before_train(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)


def train_all(trainings: Sequence[Training], jobs: int = 1) -> None:
    """Run all unfinished trainings, in the given order.

    The output of a training goes to ``console.log`` in its work dir.

    Args:
        trainings: The trainings.
        jobs: Number of parallel processes, one thread each.

    Raises:
        UserError: A work dir has a training of another config, or ``jobs`` is below 1.
    """
    if jobs < 1:
        raise UserError(f'`jobs` {jobs}: at least 1')
    for training in trainings:
        training.check()
    left = [t for t in trainings if t.epochs_done < t.epochs]
    if not left:
        return
    columns = (
        TextColumn('training'),
        BarColumn(),
        TextColumn('{task.completed}/{task.total} epochs'),
    )
    # After a fork, torch could hang: its threads are not copied.
    context = multiprocessing.get_context('spawn')
    with (
        Progress(*columns, TimeElapsedColumn()) as progress,
        ProcessPoolExecutor(jobs, mp_context=context) as pool,
    ):
        bar = progress.add_task('', total=sum(t.epochs for t in trainings))
        waiting = {pool.submit(_train_in_process, training) for training in left}
        try:
            while waiting:
                done, waiting = wait(waiting, _POLL_SECONDS, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                progress.update(bar, completed=sum(t.epochs_done for t in trainings))
        except BaseException:
            for future in waiting:
                future.cancel()
            raise


def _train_in_process(training: Training) -> None:
    # With more threads, processes that share cores slow each other down.
    torch.set_num_threads(1)
    training.work_dir.mkdir(parents=True, exist_ok=True)
    path = training.work_dir / 'console.log'
    log = path.open('a', buffering=1, encoding='utf-8')
    with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        training.run()
