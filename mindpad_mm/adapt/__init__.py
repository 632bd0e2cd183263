"""Learned padding: a cure without labels for a detector that its padding blinds."""

from mindpad_mm.adapt.run import AdaptResult, adapt
from mindpad_mm.settings.adapt import AdaptSettings

__all__ = ['AdaptResult', 'AdaptSettings', 'adapt']
