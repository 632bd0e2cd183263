"""The scan tool itself, run and stopped from outside: its peak memory, and what processes bring."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.utils import mkdir_or_exist

from benchmarks.goals import Metric
from benchmarks.teach import teach_ssd
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.scan.journal import FOLDER
from mindpad_mm.testing.detectors import LABEL, family_detector

_TOOL = Path(__file__).parents[1] / 'tools' / 'blindspot_scan.py'
_CONFIG = _TOOL.parents[1] / 'configs' / 'ssd' / 'ssd300_zeros_coco.py'
_SIZE = 32
_POLL_SECONDS = 0.05
_SECONDS_TO_END = 60


@dataclass(frozen=True)
class Stopped:
    """A scan that was stopped.

    Attributes:
        chunks: How many it had finished.
        peak_gb: Of memory, in 10^9 bytes; of several processes, that of their launcher.
        seconds: From one finished chunk to the next, on average, all processes together.
    """

    chunks: int
    peak_gb: float
    seconds: float


def scan_until(
    chunks: int, folder: Path, checkpoint: Path, engine: str, processes: int = 1
) -> Stopped:
    """Start a stride-1 scan of SSD300 at 300 x 300 and stop it after some chunks.

    Args:
        chunks: How many to wait for, at least two a process.
        folder: Where it writes.
        checkpoint: SSD300's weights.
        engine: Name of the engine.
        processes: Of one thread each, under torchrun if there are several.

    Raises:
        UserError: The scan ended by itself, with its last words, or this is not Linux.
    """
    mkdir_or_exist(folder)
    start = [sys.executable]
    options = [
        '--stride',
        '1',
        '--size',
        str(_SIZE),
        '--engine',
        engine,
        '--out',
        str(folder / 'scan'),
    ]
    if processes > 1:
        start += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        options += ['--launcher', 'pytorch']
    command = [*start, str(_TOOL), str(_CONFIG), str(checkpoint), *options]
    with open(folder / 'log.txt', 'wb') as log:
        scan = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            start_new_session=True,
        )
    with _ended(scan):
        while len(_finished(folder)) < chunks:
            if scan.poll() is not None:
                raise UserError(f'the scan ended by itself: {_last_line(folder / "log.txt")}')
            time.sleep(_POLL_SECONDS)
        times, peak = _finished(folder), _peak_gb(scan)
    # Each process's first chunk waits for its engine to warm up.
    warm = times[processes - 1 :]
    seconds = (warm[-1] - warm[0]) / (len(warm) - 1)
    return Stopped(len(times), peak, seconds)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors='replace').strip().splitlines()
    return lines[-1] if lines else 'without a word'


def _finished(folder: Path) -> list[float]:
    """When each finished chunk was written, in order."""
    files = (folder / 'scan' / FOLDER).glob('*-*-*-*')
    return sorted(file.stat().st_mtime for file in files if file.suffix != '.tmp')


def _peak_gb(process: subprocess.Popen) -> float:
    """Peak memory of a running process, 10^9 bytes.

    Not ``ru_maxrss``: on Linux a program starts with that of the process it was forked from.
    """
    status = Path(f'/proc/{process.pid}/status')
    if not status.is_file():
        raise UserError('peak memory of another process can only be measured on Linux (/proc)')
    (kibibytes,) = re.findall(r'VmHWM:\s+(\d+) kB', status.read_text())
    return int(kibibytes) * 1024 / 1e9


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """Ends the process and all that it started."""
    try:
        yield process
    finally:
        # A launcher passes this on to its workers, which a kill would leave behind.
        process.terminate()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def write_ssd300(checkpoint: Path) -> None:
    """Write weights of SSD300 that find the scan tool's own object in its own scene.

    See :func:`benchmarks.teach.teach_ssd`.
    """
    model, scene = family_detector('SSD300', seed=0)
    teach_ssd(model, scene, ScanObject.drawn(0).resized(_SIZE), LABEL)
    meta = {'dataset_meta': model.dataset_meta}
    mkdir_or_exist(checkpoint.parent)
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)


@contextlib.contextmanager
def _ssd300() -> Iterator[tuple[Path, Path]]:
    """A temporary folder, and :func:`write_ssd300`'s checkpoint in it."""
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / 'ssd300.pth'
        write_ssd300(checkpoint)
        yield Path(name), checkpoint


def memory(engine: str, goal: float, chunks: Sequence[int] = (4, 16)) -> Metric:
    """Peak memory after few and after many chunks: it should not grow."""
    with _ssd300() as (folder, checkpoint):
        peaks = [scan_until(count, folder / str(count), checkpoint, engine) for count in chunks]
    note = ', '.join(f'{run.peak_gb:.2f} GB after {run.chunks} chunks' for run in peaks)
    name = f'peak memory of a stride-1 SSD300 scan, {engine}'
    return Metric(name, goal, False, [max(run.peak_gb for run in peaks)], 'GB', note)


def processes(engine: str, turns: int, goal: float, chunks: int = 16) -> Metric:
    """Chunks a second of two processes over those of one, taking turns; wall time.

    Args:
        engine: Name of the engine.
        turns: How often to run both.
        goal: For the ratio.
        chunks: How many to wait for, a process.
    """
    alone, together = [], []
    with _ssd300() as (folder, checkpoint):
        for turn in range(turns):
            for count, seconds in ((1, alone), (2, together)):
                out = folder / f'{turn}-{count}'
                run = scan_until(chunks * count, out, checkpoint, engine, count)
                seconds.append(run.seconds)
    note = 'wall seconds a chunk: ' + ', '.join(
        f'{count} process(es) {min(seconds):.2f} to {max(seconds):.2f}'
        for count, seconds in ((1, alone), (2, together))
    )
    ratios = [one / two for one, two in zip(alone, together)]
    return Metric(f'2 processes / 1, SSD300, {engine}', goal, True, ratios, note=note)
