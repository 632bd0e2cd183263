"""Which cells of a network's maps read which, found by running it on shapes without values."""

from mindpad_mm.diagnose.tracing import combine, copies, sliding  # noqa: F401
from mindpad_mm.diagnose.tracing.cells import Reads, window_reads
from mindpad_mm.diagnose.tracing.trace import (
    FULL,
    ITSELF,
    SAME,
    VALID,
    Field,
    ShapeRunner,
    Slide,
    TooSmall,
    Trace,
    without_numbers,
)

__all__ = [
    'FULL',
    'ITSELF',
    'SAME',
    'VALID',
    'Field',
    'Reads',
    'ShapeRunner',
    'Slide',
    'TooSmall',
    'Trace',
    'window_reads',
    'without_numbers',
]
