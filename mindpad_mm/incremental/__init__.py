"""Runs a detector only on the part of the image that a pasted object can have changed.

See README.md in this folder. Importing the package registers the handlers for windows.
"""

from mindpad_mm.incremental import pointwise, resample, sliding  # noqa: F401
from mindpad_mm.incremental.focused import FocusedDetector
from mindpad_mm.incremental.graph import NotFollowed
from mindpad_mm.incremental.incremental_detector import IncrementalDetector

__all__ = ['FocusedDetector', 'IncrementalDetector', 'NotFollowed']
