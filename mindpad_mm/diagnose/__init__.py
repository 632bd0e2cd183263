"""Checks of a network's padding; each gives statistics, a figure and advice."""

from __future__ import annotations

import importlib
from typing import Any

from mindpad_mm.settings.diagnose import DiagnoseSettings

# Loaded on first use: a config that only trains with the hook should not import matplotlib.
_HOMES = {
    'CHECKS': 'checks.registry',
    'Artifacts': 'checks.artifacts.measure',
    'DiagnoseHook': 'hook',
    'Diagnosis': 'result',
    'Evenness': 'checks.evenness.measure',
    'FilterAsymmetry': 'checks.filters.measure',
    'Foveation': 'checks.foveation.measure',
    'PaddingError': 'checks.padding_error.measure',
    'ShiftResponse': 'checks.shift.measure',
    'Subject': 'subject',
    'Suite': 'suite',
    'Usage': 'checks.foveation.usage',
    'Verdict': 'verdict',
    'check_artifacts': 'checks.artifacts.measure',
    'check_evenness': 'checks.evenness.measure',
    'check_filters': 'checks.filters.measure',
    'check_foveation': 'checks.foveation.measure',
    'check_padding_error': 'checks.padding_error.measure',
    'check_shift': 'checks.shift.measure',
    'diagnose': 'suite',
    'has_uneven_padding': 'strides',
    'layer_usage': 'checks.foveation.usage',
}

__all__ = [
    'CHECKS',
    'Artifacts',
    'DiagnoseHook',
    'DiagnoseSettings',
    'Diagnosis',
    'Evenness',
    'FilterAsymmetry',
    'Foveation',
    'PaddingError',
    'ShiftResponse',
    'Subject',
    'Suite',
    'Usage',
    'Verdict',
    'check_artifacts',
    'check_evenness',
    'check_filters',
    'check_foveation',
    'check_padding_error',
    'check_shift',
    'diagnose',
    'has_uneven_padding',
    'layer_usage',
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
