"""Measurements of a scan that is stopped after some chunks."""

import os
import subprocess
import sys

import pytest

from benchmarks import commands

HUNGRY = 'b = bytearray(300 << 20); print("fed", flush=True); import time; time.sleep(600)'


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_peak_memory_is_the_childs_own_and_the_child_is_gone_afterwards():
    large = bytearray(600 << 20)  # ru_maxrss of a forked process starts at this much
    process = subprocess.Popen(
        [sys.executable, '-c', HUNGRY], stdout=subprocess.PIPE, start_new_session=True
    )
    with commands._ended(process):
        assert process.stdout.readline() == b'fed\n'
        assert 0.31 < commands._peak_gb(process) < 0.4
    process.stdout.close()
    assert process.returncode == -15
    assert len(large)


def test_only_finished_chunks_are_counted_in_order_of_time(tmp_path):
    folder = tmp_path / 'scan' / commands.FOLDER
    folder.mkdir(parents=True)
    for seconds, name in enumerate(('0-0-0-64', '0-0-0-0', '0-0-0-128.tmp', 'fingerprint.json')):
        (folder / name).write_text('')
        os.utime(folder / name, (100 - seconds, 100 - seconds))
    assert commands._finished(tmp_path) == [99, 100]
