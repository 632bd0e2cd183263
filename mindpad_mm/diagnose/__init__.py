"""Why a detector goes blind: checks of a network's padding, each with figures, a picture and advice."""

from mindpad_mm.diagnose.result import Diagnosis
from mindpad_mm.diagnose.subject import Subject

__all__ = ['Diagnosis', 'Subject']
