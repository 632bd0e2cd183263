"""How many positions of an approximate engine can be off, by its random checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

_CONFIDENCE = 0.95


def off_at_most(off: int, checks: int) -> float:
    """Upper limit of the share of positions that are off, 0..1.

    It is the exact one of Clopper and Pearson, one-sided at 95 %. Checks are drawn at random from each
    chunk, which makes the number found off vary less than in one draw from all positions. Chunks in
    which a check is off are run again exactly, so fewer are off in the result.

    Args:
        off: Checks whose difference was above the tolerance.
        checks: All checks; 0 gives 1.
    """
    if not checks:
        return 1.0
    found = binomtest(off, checks, alternative='less').proportion_ci(_CONFIDENCE, 'exact')
    return float(found.high)


def bound_words(notes: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """A sentence on the checks of all maps that the focused engine ran; empty if it ran none.

    Args:
        notes: ``engine_notes`` of a scan.
        tolerance: Largest difference in score that counts as none.
    """
    checked = [note for note in notes if 'checks_off' in note]
    checks, off = (sum(note[name] for note in checked) for name in ('checks', 'checks_off'))
    if not checks:
        return ''
    again = sum(note['left_to_exact'] for note in checked)
    focused, checking = (
        sum(note.get(name, 0) for note in checked) for name in ('seconds', 'check_seconds')
    )
    cost = f' The checks took {checking / focused:.0%} more time.' if focused else ''
    rerun = f', and {again} positions near them were run exactly' if again else ''
    return (
        f'Approximate: of {checks} random positions compared with whole passes, {off} were off by more '
        f'than {tolerance:g}{rerun}. At most {off_at_most(off, checks):.2%} of the positions that the '
        f'focused engine runs are (95 % confidence); the exact engines have no such limit.{cost}'
    )
