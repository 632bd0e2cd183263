"""Types and constants that settings share with the code that they are for; no torch needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

PathLike = str | Path

ModeName = str | Mapping
"""One padding mode in a config: a registered name, or a dict of ``type`` and the mode's arguments."""
ModeSpec = ModeName | Sequence[ModeName]
"""One padding mode for both axes, or a (vertical, horizontal) pair."""

LEARNED_PADDING = 'learned_padding'
"""The parameter of a convolution whose padding is learned, in state dicts."""

SPACES = ('input', 'image')
"""Where objects are pasted: into the network's input, or into the photo."""
SCORE_THR = 0.001
"""Detections below this score are left out, 0..1; configs with a higher threshold are lowered to it."""
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
"""What can start several processes; ``'none'``: there is one process."""


def parse_modes(text: str) -> ModeSpec:
    """Read padding modes from the command line: ``'reflect'``, or ``'reflect/circular'`` for a pair."""
    return tuple(text.split('/')) if '/' in text else text
