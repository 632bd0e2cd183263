"""The checks by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mindpad_mm.core.names import parse_modes
from mindpad_mm.diagnose.checks.artifacts.measure import check_artifacts
from mindpad_mm.diagnose.checks.evenness.measure import check_evenness
from mindpad_mm.diagnose.checks.filters.measure import check_filters
from mindpad_mm.diagnose.checks.foveation.measure import check_foveation
from mindpad_mm.diagnose.checks.padding_error.measure import check_padding_error
from mindpad_mm.diagnose.checks.shift.measure import check_shift
from mindpad_mm.diagnose.maps import own_mode
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.tracing import FULL, VALID
from mindpad_mm.padding.modes import describe, get_modes, swappable_modes
from mindpad_mm.settings.diagnose import DiagnoseSettings

Photos = Sequence[np.ndarray]
"""(H, W, 3) uint8 BGR, any size; if empty, drawn streets are used."""
Check = Callable[[Subject, DiagnoseSettings, Photos], Diagnosis]


def _evenness(subject: Subject, settings: DiagnoseSettings, photos: Photos) -> Diagnosis:
    return check_evenness(subject)


def _artifacts(subject: Subject, settings: DiagnoseSettings, photos: Photos) -> Diagnosis:
    return check_artifacts(subject, photos, settings.modes, seed=settings.seed)


def _foveation(subject: Subject, settings: DiagnoseSettings, photos: Photos) -> Diagnosis:
    # Always compared with the two extremes: no padding and full padding.
    modes = None if settings.modes is None else (*settings.modes, VALID, FULL)
    return check_foveation(subject, modes)


def _filters(subject: Subject, settings: DiagnoseSettings, photos: Photos) -> Diagnosis:
    return check_filters(subject)


def _shift(subject: Subject, settings: DiagnoseSettings, photos: Photos) -> Diagnosis:
    return check_shift(
        subject,
        photos,
        from_coco=settings.from_coco,
        ann_id=settings.ann_id,
        photo_root=settings.photo_root,
        label=settings.label,
        seed=settings.seed,
    )


def _padding_error(subject: Subject, settings: DiagnoseSettings, photos: Photos) -> Diagnosis:
    modes = None if settings.modes is None else list(settings.modes)
    own = own_mode(subject.model)
    # The advice compares the best mode with the network's own, so that one is always included.
    known = own and set(own.split('/')) <= {*swappable_modes()}
    if modes and known and own not in [describe(get_modes(mode)) for mode in modes]:
        modes.insert(0, parse_modes(own))
    return check_padding_error(subject, photos, modes, seed=settings.seed)


CHECKS: dict[str, Check] = {
    'evenness': _evenness,
    'artifacts': _artifacts,
    'foveation': _foveation,
    'filters': _filters,
    'shift': _shift,
    'padding_error': _padding_error,
}
"""Checks by key, in the order they run. Add your own here."""
