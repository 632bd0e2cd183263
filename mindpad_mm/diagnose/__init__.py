"""Why a detector goes blind: checks of a network's padding, each with figures, a picture and advice."""

from __future__ import annotations

import importlib
from typing import Any

# Loaded when they are asked for: a config that only trains with the hook needs no pictures.
_HOMES = {
    'CHECKS': 'suite',
    'Artifacts': 'artifacts',
    'DiagnoseHook': 'hook',
    'Diagnosis': 'result',
    'Evenness': 'evenness',
    'FilterAsymmetry': 'filters',
    'Foveation': 'foveation',
    'PaddingError': 'padding_error',
    'ShiftResponse': 'shift',
    'Subject': 'subject',
    'Suite': 'suite',
    'Usage': 'usage',
    'check_artifacts': 'artifacts',
    'check_evenness': 'evenness',
    'check_filters': 'filters',
    'check_foveation': 'foveation',
    'check_padding_error': 'padding_error',
    'check_shift': 'shift',
    'diagnose': 'suite',
    'has_uneven_padding': 'strides',
    'layer_usage': 'usage',
}

__all__ = [
    'CHECKS',
    'Artifacts',
    'DiagnoseHook',
    'Diagnosis',
    'Evenness',
    'FilterAsymmetry',
    'Foveation',
    'PaddingError',
    'ShiftResponse',
    'Subject',
    'Suite',
    'Usage',
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
