"""Two nodes on one machine: network namespaces with a cable between them, or else one address twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Nodes(NamedTuple):
    """Two nodes.

    Attributes:
        starts: What to put before a command, by node.
        address: Of the first node.
    """

    starts: list[list[str]]
    address: str


@contextlib.contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Two network namespaces where this process may make some; else both nodes are this machine."""
    names = [f'node{number}-{os.getpid()}' for number in (0, 1)]
    cables = [f'v{number}-{os.getpid()}' for number in (0, 1)]

    def ip(*arguments: str) -> bool:
        done = subprocess.run(['ip', *arguments], capture_output=True, check=False)
        return done.returncode == 0

    def connected() -> bool:
        return (
            shutil.which('ip') is not None
            and all(ip('netns', 'add', name) for name in names)
            and ip('link', 'add', cables[0], 'type', 'veth', 'peer', 'name', cables[1])
            and all(
                ip('link', 'set', cable, 'netns', name)
                and ip('-n', name, 'addr', 'add', f'10.7.0.{number + 1}/24', 'dev', cable)
                and ip('-n', name, 'link', 'set', cable, 'up')
                and ip('-n', name, 'link', 'set', 'lo', 'up')
                for number, (name, cable) in enumerate(zip(names, cables))
            )
        )

    try:
        if connected():
            # The name of this machine stands for an address that no cable leads to.
            inside = [
                ['ip', 'netns', 'exec', name, 'env', f'GLOO_SOCKET_IFNAME={cable}']
                for name, cable in zip(names, cables)
            ]
            yield Nodes(inside, '10.7.0.1')
        else:
            yield Nodes([[], []], '127.0.0.1')
    finally:
        if shutil.which('ip') is not None:
            for name in names:
                ip('netns', 'del', name)


def run_on_two_nodes(command: Sequence[str], environment: dict[str, str]) -> list[tuple[int, str]]:
    """Run a script by torchrun, one process on each of two nodes.

    Args:
        command: The script and its arguments.
        environment: Of the processes.

    Returns:
        Of each node, the exit status and what was printed.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--nnodes', '2']
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(two_nodes())
        logs = [stack.enter_context(tempfile.TemporaryFile('w+')) for _ in nodes.starts]
        launchers = [
            subprocess.Popen(
                [*start, *torchrun, '--node_rank', str(number), '--nproc_per_node', '1',
                 '--master_addr', nodes.address, '--master_port', port, *command],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for number, (start, log) in enumerate(zip(nodes.starts, logs))
        ]  # fmt: skip
        for launcher in launchers:
            stack.callback(launcher.kill)
        statuses = [launcher.wait(timeout=300) for launcher in launchers]
        for log in logs:
            log.seek(0)
        return list(zip(statuses, [log.read() for log in logs]))
