"""Trainings that go on from where they stood, several at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.files import save_json
from mindpad_mm.core.loading import load_config

# What a finished training must share with its config to stand for it.
_DECISIVE = (
    'model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness',
)  # fmt: skip
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Training:
    """One training of one config.

    Attributes:
        config: Path of the config; epochs are its unit.
        seed: Of weights and order of data.
        work_dir: Where MMEngine keeps it.
    """

    config: Path
    seed: int
    work_dir: Path

    def load(self, cfg_options: dict[str, Any] | None = None) -> Config:
        """The config with its seed and work dir."""
        options = {'randomness.seed': self.seed, **(cfg_options or {})}
        cfg = load_config(str(self.config), options)
        cfg.work_dir = str(self.work_dir)
        return cfg

    @property
    def epochs(self) -> int:
        """How many there are to train."""
        return self.load().train_cfg.max_epochs

    @property
    def epochs_done(self) -> int:
        """How many of them are in a checkpoint."""
        pointer = self.work_dir / 'last_checkpoint'
        if not pointer.is_file():
            return 0
        name = Path(pointer.read_text(encoding='utf-8').strip()).name
        found = re.fullmatch(r'epoch_(\d+)\.pth', name)
        return int(found.group(1)) if found and (self.work_dir / name).is_file() else 0

    @property
    def checkpoint(self) -> Path:
        """The weights after the last epoch, whether they are there yet or not."""
        return self.work_dir / f'epoch_{self.epochs}.pth'

    @property
    def cost(self) -> Path:
        """``cpu_seconds`` as JSON, of a training that ran without interruption."""
        return self.work_dir / 'cost.json'

    def check(self) -> None:
        """See that what the work dir holds is of this config.

        Raises:
            UserError: It is of another one.
        """
        dumped = self.work_dir / self.config.name
        if not dumped.is_file():
            return
        theirs, ours = load_config(str(dumped)), self.load()
        for key in _DECISIVE:
            if theirs.get(key) != ours.get(key):
                raise UserError(
                    f'{self.work_dir} holds a training whose {key} differs from that of '
                    f'{self.config}: move it away'
                )

    def run(self) -> None:
        """Train what is left to train, with MMEngine's Runner."""
        cfg = self.load()
        cfg.resume = True
        uninterrupted, start = not self.epochs_done, time.process_time()
        Runner.from_cfg(cfg).train()
        if uninterrupted:
            save_json(self.cost, {'cpu_seconds': round(time.process_time() - start, 1)})


def train_all(trainings: Sequence[Training], jobs: int = 1) -> None:
    """Train all that is not trained yet, in the order given.

    What a training prints goes to ``console.log`` in its work dir.

    Args:
        trainings: What to train.
        jobs: Processes at once, one thread each.

    Raises:
        UserError: A work dir holds a training of another config, or ``jobs`` is below 1.
    """
    if jobs < 1:
        raise UserError(f'--jobs {jobs}: at least 1')
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
    # Spawned: a fork would share the threads of a torch that has already run.
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
    # More than one thread a process slows processes that share their cores.
    torch.set_num_threads(1)
    training.work_dir.mkdir(parents=True, exist_ok=True)
    path = training.work_dir / 'console.log'
    log = path.open('a', buffering=1, encoding='utf-8')
    with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        training.run()
