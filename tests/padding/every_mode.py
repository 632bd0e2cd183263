"""Every mode on both axes, and pairs of modes that pad in different ways."""

MODES = [
    'zeros',
    'reflect',
    'symmetric',
    'replicate',
    'circular',
    'partial',
    ('reflect', 'partial'),
    ('circular', 'zeros'),
]
