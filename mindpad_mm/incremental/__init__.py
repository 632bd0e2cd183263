"""Running a detector's own modules on the windows that a pasted object can have changed.

``windowed`` is the tensor that modules run on, ``geometry`` says where its windows go, ``tape`` keeps
what the clean background gives, and ``pointwise``, ``resample``, ``sliding`` know the functions.
"""

from mindpad_mm.incremental import pointwise, resample, sliding  # noqa: F401
from mindpad_mm.incremental.levels import Level
from mindpad_mm.incremental.tape import NotFollowed, Tape
from mindpad_mm.incremental.windowed import Windowed

__all__ = ['Level', 'NotFollowed', 'Tape', 'Windowed']
