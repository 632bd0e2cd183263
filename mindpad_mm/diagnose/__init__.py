"""Why a detector goes blind: checks of a network's padding, each with figures, a picture and advice."""

from mindpad_mm.diagnose.artifacts import Artifacts, check_artifacts
from mindpad_mm.diagnose.border_bias import border_bias
from mindpad_mm.diagnose.evenness import Evenness, check_evenness
from mindpad_mm.diagnose.filters import FilterAsymmetry, check_filters
from mindpad_mm.diagnose.foveation import Foveation, check_foveation
from mindpad_mm.diagnose.hook import DiagnoseHook
from mindpad_mm.diagnose.padding_error import PaddingError, check_padding_error
from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.shift import ShiftResponse, check_shift
from mindpad_mm.diagnose.strides import has_uneven_padding
from mindpad_mm.diagnose.subject import Subject
from mindpad_mm.diagnose.suite import CHECKS, Suite, diagnose
from mindpad_mm.diagnose.usage import Usage, layer_usage

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
    'border_bias',
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
