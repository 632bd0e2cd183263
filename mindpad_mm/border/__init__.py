"""Border loss: what image borders cost a detector, and how much of it is padding's fault."""

from mindpad_mm.border.losses import SHARES
from mindpad_mm.border.result import BorderInfo, BorderResult
from mindpad_mm.border.run import border_loss
from mindpad_mm.border.verdict import percent, with_interval
from mindpad_mm.settings.border import BorderSettings

__all__ = [
    'SHARES',
    'BorderInfo',
    'BorderResult',
    'BorderSettings',
    'border_loss',
    'percent',
    'with_interval',
]
