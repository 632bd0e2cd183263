"""One scan by several processes, started as torchrun and slurm start them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.journal import FOLDER
from mindpad_mm.scan import blindspot_scan

TOOL = Path(__file__).parents[2] / 'tools' / 'blindspot_scan.py'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(TOOL.parents[1]), 'OMP_NUM_THREADS': '1'}


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """Use one thread, as launched processes do: floats are added up in an order that depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scan(files, out, **options):
    detector = files / 'config.py', files / 'weights.pth'
    inputs = files / 'photo.png', files / 'light.png'
    return blindspot_scan(detector, *inputs, out=out, sizes=[24, 40], stride=5, **options)


@pytest.fixture(scope='module')
def whole(files, tmp_path_factory):
    return scan(files, tmp_path_factory.mktemp('whole') / 'out')


def command(files, out, launcher, weights='weights.pth'):
    options = ['--size', '24', '40', '--stride', '5', '--launcher', launcher, '--out', out]
    inputs = ['--background', files / 'photo.png', '--object', files / 'light.png']
    return [*map(str, [TOOL, files / 'config.py', files / weights, *options, *inputs])]


def start_as_slurm_does(arguments, size):
    """Start processes as srun does, but without ending all when one ends."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    job = {
        'SLURM_NTASKS': str(size), 'SLURM_NODELIST': 'localhost', 'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': port,
    }  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**ENVIRONMENT, **job, 'SLURM_PROCID': str(rank), 'SLURM_LOCALID': str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def worker_of(launcher, rank):
    """Id of the process that torchrun started for a rank."""
    for environment in Path('/proc').glob('[0-9]*/environ'):
        process = environment.parent
        status = dict(line.split(':', 1) for line in (process / 'status').read_text().splitlines())
        if int(status['PPid']) == launcher and f'RANK={rank}'.encode() in (
            environment.read_bytes().split(b'\0')
        ):
            return int(process.name)
    raise LookupError(f'no process of rank {rank}')


def errors(text):
    return [line for line in text.splitlines() if 'error:' in line or 'Error' in line]


def test_processes_of_torchrun_write_the_bytes_of_one_with_causes_and_bystanders(
    files, whole, tmp_path
):
    out = tmp_path / 'out'
    run = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    options = ['--causes', '--bystanders']
    subprocess.run(
        [*run, *command(files, out, 'pytorch'), *options],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    alone = scan(files, tmp_path / 'alone', causes=True, bystanders=True)
    for name in ('scan.npz', 'causes.npz', 'bystanders.npz'):
        assert (out / name).read_bytes() == (alone.folder / name).read_bytes()
    # Neither causes nor bystanders change the scan itself.
    assert (out / 'scan.npz').read_bytes() == (whole.folder / 'scan.npz').read_bytes()
    finished = scan(files, out, resume=True, causes=True, bystanders=True)
    assert finished.info.processes == 2
    assert finished.info.threads == 1
    assert {note['size'] for note in finished.info.engine_notes} == {24, 40}
    assert finished.info.fingerprint == alone.info.fingerprint
    assert finished.info.statistics == alone.info.statistics
    assert {path.name for path in out.glob('*s.png')} == {'causes.png', 'bystanders.png'}
    assert (out / 'report.html').is_file()


def test_if_a_process_is_killed_the_launcher_ends_all_and_one_alone_continues(
    files, whole, tmp_path
):
    out = tmp_path / 'out'
    run = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    launcher = subprocess.Popen(
        [*run, *command(files, out, 'pytorch')],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((out / FOLDER).glob('0-*')):
        assert launcher.poll() is None, launcher.communicate()[1]
        time.sleep(0.005)
    os.kill(worker_of(launcher.pid, rank=1), signal.SIGKILL)
    printed = launcher.communicate(timeout=60)[1]
    assert launcher.returncode != 0
    assert 'finished chunks are kept' in printed
    assert not (out / 'scan.npz').exists()
    torch.set_num_threads(2)
    with pytest.raises(UserError, match=r'differs in threads \(1, not 2\).*OMP_NUM_THREADS'):
        scan(files, out, resume=True)
    torch.set_num_threads(1)
    scan(files, out, resume=True)
    assert (out / 'scan.npz').read_bytes() == (whole.folder / 'scan.npz').read_bytes()


def test_mistake_is_printed_once_and_all_processes_exit_with_2(files, tmp_path):
    processes = start_as_slurm_does(command(files, tmp_path, 'slurm', 'no.pth'), 2)
    printed = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert len(errors(printed[0])) == 1
    assert 'no.pth' in errors(printed[0])[0]
    assert errors(printed[1]) == []


def test_launcher_that_did_not_start_the_process_is_refused(files, tmp_path, monkeypatch):
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match='torchrun --nproc_per_node 2'):
        scan(files, tmp_path, launcher='pytorch')
    with pytest.raises(UserError, match='choose one of: none, pytorch, slurm, mpi'):
        scan(files, tmp_path, launcher='torchrun')
