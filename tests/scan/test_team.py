"""Teams of forked processes, without detector and launcher."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time

import pytest
from torch.distributed import TCPStore

from mindpad_mm.core.errors import UserError, one_line_errors
from mindpad_mm.scan import team as team_module
from mindpad_mm.scan.team import LaunchedTeam, Team

SIZE = 3


def member(rank, ports, main, stderr):
    sys.stderr = open(stderr, 'w', buffering=1)  # noqa: SIM115  the process's own

    def run():
        address = ('127.0.0.1', 0 if rank == 0 else ports.get())
        store = TCPStore(*address, is_master=rank == 0, wait_for_workers=False)
        for _ in range(SIZE - 1 if rank == 0 else 0):
            ports.put(store.port)
        with LaunchedTeam(store, rank, SIZE) as team:
            team.exchange('all are there')
            main(team)

    one_line_errors(run)()


@pytest.fixture
def run_team(tmp_path, monkeypatch):
    """Runs ``main(team)`` on every member: exit statuses, what each said on stderr, seconds."""
    fork = multiprocessing.get_context('fork')
    monkeypatch.setattr(team_module, '_SECONDS_SILENT', 5)

    def run(main):
        ports = fork.SimpleQueue()
        files = [tmp_path / str(rank) for rank in range(SIZE)]
        members = [
            fork.Process(target=member, args=(rank, ports, main, file))
            for rank, file in enumerate(files)
        ]
        begin = time.monotonic()
        for process in members:
            process.start()
        for process in members:
            process.join()
        seconds = time.monotonic() - begin
        return [p.exitcode for p in members], [f.read_text() for f in files], seconds

    return run


def die(team: Team) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_all_learn_what_each_gives(run_team, tmp_path):
    def main(team):
        rounds = [team.exchange([turn, team.rank]) for turn in range(20)]
        (tmp_path / f'told-{team.rank}').write_text(json.dumps(rounds))

    assert run_team(main)[:2] == ([0, 0, 0], ['', '', ''])
    wanted = [[[turn, rank] for rank in range(SIZE)] for turn in range(20)]
    for rank in range(SIZE):
        assert json.loads((tmp_path / f'told-{rank}').read_text()) == wanted


def test_every_task_is_run_once_and_kept_by_the_leader_and_all_take_part(run_team, tmp_path):
    def main(team):
        kept = []

        def run(task):
            time.sleep(0.01 * (1 + team.rank))
            return team.rank, task**2

        team.work(run, range(40), lambda task, result: kept.append((task, *result)))
        if team.rank == 0:
            (tmp_path / 'kept').write_text(json.dumps(kept))

    assert run_team(main)[:2] == ([0, 0, 0], ['', '', ''])
    kept = json.loads((tmp_path / 'kept').read_text())
    assert sorted((task, result) for task, _, result in kept) == [(t, t * t) for t in range(40)]
    assert {rank for _, rank, _ in kept} == {0, 1, 2}


def test_alone_it_is_the_same_without_connections():
    kept = []
    with Team() as team:
        assert team.exchange('me') == ['me']
        team.work(lambda task: -task, [3, 1], lambda task, result: kept.append((task, result)))
    assert kept == [(3, -3), (1, -1)]


@pytest.mark.parametrize('phase', ['before work', 'at work'])
def test_dead_follower_stops_all_soon_with_one_line(run_team, phase):
    def main(team):
        if phase == 'before work':
            if team.rank == 1:
                die(team)
            team.exchange(None)

        def run(task):
            if team.rank == 1:
                die(team)
            time.sleep(0.01)

        team.work(run, range(1000), lambda task, result: None)

    codes, said, seconds = run_team(main)
    assert codes == [2, -signal.SIGKILL, 2]
    assert said[0].startswith('error: process 1 of 3 (pid ')
    assert said[0].count('\n') == 1
    assert '--resume' in said[0]
    assert said[1:] == ['', '']
    assert seconds < 30


def test_dead_leader_stops_all_with_one_line(run_team):
    def main(team):
        def run(task):
            time.sleep(0.01)
            if team.rank == 0:
                die(team)

        team.work(run, range(1000), lambda task, result: None)

    codes, said, seconds = run_team(main)
    assert codes == [-signal.SIGKILL, 1, 1]
    assert 'error: process 0 of 3 died' in said[1]
    assert said[1].count('error:') == 1
    assert 'error:' not in said[0] + said[2]
    assert seconds < 30


@pytest.mark.parametrize('faulty', [0, 2])
def test_one_members_user_error_is_told_once_and_ends_all(run_team, faulty):
    def main(team):
        if team.rank == faulty:
            raise UserError('no such photo')
        team.exchange(None)

    codes, said, seconds = run_team(main)
    assert codes == [2, 2, 2]
    assert said == ['error: no such photo\n', '', '']
    assert seconds < 30


def test_user_error_of_all_is_told_once(run_team):
    def main(team):
        raise UserError('stride 0')

    assert run_team(main)[:2] == ([2, 2, 2], ['error: stride 0\n', '', ''])


def test_launcher_that_ends_the_survivors_of_a_death_does_not_silence_it(run_team):
    """torchrun terminates all when one dies: it is the first to know, and says who it was."""

    def main(team):
        pids = team.exchange(os.getpid())
        if team.rank == 1:
            os.kill(pids[0], signal.SIGTERM)
            die(team)
        team.exchange(None)

    codes, said, seconds = run_team(main)
    assert codes[1] == -signal.SIGKILL
    assert 0 not in codes
    assert said[0].startswith('error: ')
    assert said[0].count('\n') == 1
    assert '--resume' in said[0]
    assert seconds < 30
