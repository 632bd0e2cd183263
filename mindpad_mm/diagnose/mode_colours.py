"""One colour for each padding mode, the same in every figure."""

_MODE_COLOURS = {
    'zeros': '#00224e',
    'reflect': '#d6006c',
    'symmetric': '#e69f00',
    'replicate': '#009e73',
    'circular': '#56b4e9',
    'partial': '#8c510a',
}
_OTHER_COLOUR = '#7f7f7f'


def mode_colour(mode: str) -> str:
    """The colour of a padding mode; grey for modes that the user registered and for pairs."""
    return _MODE_COLOURS.get(mode, _OTHER_COLOUR)
