"""Run the scan command, stop it after some chunks, and measure peak memory and speed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.utils import mkdir_or_exist

from benchmarks.goals import Metric
from benchmarks.teach import teach_ssd
from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import FOLDER
from mindpad_mm.core.objects import ScanObject
from mindpad_mm.testing.detectors import LABEL, family_detector

_TOOL = Path(__file__).parents[1] / 'tools' / 'blindspot_scan.py'
_CONFIG = _TOOL.parents[1] / 'configs' / 'ssd' / 'ssd300_zeros_coco.py'
_SIZE = 32
_POLL_SECONDS = 0.05
_SECONDS_TO_END = 60


@dataclass(frozen=True)
class Stopped:
    """Measurements of a scan that was stopped.

    Attributes:
        chunks: Number of finished chunks.
        peak_gb: Peak memory, 10^9 bytes. With several processes, the launcher's.
        seconds: Mean wall time between finished chunks of all processes together.
    """

    chunks: int
    peak_gb: float
    seconds: float


def scan_until(
    chunks: int, folder: Path, checkpoint: Path, engine: str, processes: int = 1
) -> Stopped:
    """Start a stride-1 scan of SSD300 at 300 x 300 and stop it after some chunks.

    Args:
        chunks: Number of chunks to wait for, at least two per process.
        folder: Output folder.
        checkpoint: SSD300's weights.
        engine: Name of the engine.
        processes: Number of processes of one thread each; several run under torchrun.

    Raises:
        UserError: The scan ended before, or this is not Linux.
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
                raise UserError(f'the scan ended too early: {_last_line(folder / "log.txt")}')
            time.sleep(_POLL_SECONDS)
        times, peak = _finished(folder), _peak_gb(scan)
    # Each process's first chunk includes the warm-up of its engine.
    warm = times[processes - 1 :]
    seconds = (warm[-1] - warm[0]) / (len(warm) - 1)
    return Stopped(len(times), peak, seconds)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors='replace').strip().splitlines()
    return lines[-1] if lines else 'it printed nothing'


def _finished(folder: Path) -> list[float]:
    """Modification times of the finished chunks' files, ascending."""
    files = (folder / 'scan' / FOLDER).glob('*-*-*-*')
    return sorted(file.stat().st_mtime for file in files if file.suffix != '.tmp')


def _peak_gb(process: subprocess.Popen) -> float:
    """Peak memory of a running process, 10^9 bytes.

    ``ru_maxrss`` cannot be used: on Linux it starts at the value of the process that was forked.
    """
    status = Path(f'/proc/{process.pid}/status')
    if not status.is_file():
        raise UserError('peak memory of another process can only be measured on Linux (/proc)')
    (kibibytes,) = re.findall(r'VmHWM:\s+(\d+) kB', status.read_text())
    return int(kibibytes) * 1024 / 1e9


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """Terminate the process and its children at the end."""
    try:
        yield process
    finally:
        # A launcher forwards SIGTERM to its workers; SIGKILL would leave them running.
        process.terminate()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def write_ssd300(checkpoint: Path) -> None:
    """Write SSD300 weights that detect a scan's default object in its default scene.

    See :func:`benchmarks.teach.teach_ssd`.
    """
    model, scene = family_detector('SSD300', seed=0)
    teach_ssd(model, scene, ScanObject.drawn(0).resized(_SIZE), LABEL)
    meta = {'dataset_meta': model.dataset_meta}
    mkdir_or_exist(checkpoint.parent)
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)


@contextlib.contextmanager
def _ssd300() -> Iterator[tuple[Path, Path]]:
    """A temporary folder, and the checkpoint of :func:`write_ssd300` in it."""
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / 'ssd300.pth'
        write_ssd300(checkpoint)
        yield Path(name), checkpoint


def memory(engine: str, goal: float, chunks: Sequence[int] = (4, 16)) -> Metric:
    """Peak memory of a scan, measured after few and after many chunks to show that it does not grow.

    Args:
        engine: Name of the engine.
        goal: Upper limit, 10^9 bytes.
        chunks: Numbers of chunks to stop after.
    """
    with _ssd300() as (folder, checkpoint):
        peaks = [scan_until(count, folder / str(count), checkpoint, engine) for count in chunks]
    note = ', '.join(f'{run.peak_gb:.2f} GB after {run.chunks} chunks' for run in peaks)
    name = f'peak memory of a stride-1 SSD300 scan, {engine}'
    return Metric(name, goal, False, [max(run.peak_gb for run in peaks)], 'GB', note)


def processes(engine: str, turns: int, goals: Mapping[int, float], chunks: int = 6) -> list[Metric]:
    """Speed-ups of several processes over one in wall time, measured alternately.

    Args:
        engine: Name of the engine.
        turns: Number of runs of each.
        goals: Number of processes -> lower limit of the speed-up.
        chunks: Number of chunks per process.
    """
    seconds: dict[int, list[float]] = {count: [] for count in (1, *goals)}
    with _ssd300() as (folder, checkpoint):
        for turn in range(turns):
            for count, values in seconds.items():
                out = folder / f'{turn}-{count}'
                values.append(scan_until(chunks * count, out, checkpoint, engine, count).seconds)
    note = f'{os.cpu_count()} cores; wall seconds per chunk: ' + ', '.join(
        f'{count} process(es) {min(values):.2f} to {max(values):.2f}'
        for count, values in seconds.items()
    )
    return [
        Metric(f'{count} processes / 1, SSD300, {engine}', goal, True,
               [one / many for one, many in zip(seconds[1], seconds[count])], note=note)
        for count, goal in goals.items()
    ]  # fmt: skip
