"""Colours of the scan page."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.colors import to_hex

# Okabe and Ito's palette, suitable for colour-blind readers, on light and dark backgrounds.
LINES = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00')
MARK = '#ff2d92'
# As in heatmap.png: perceptually uniform and suitable for colour-blind readers.
SCORES = 'cividis'
# Red where a score fell, blue where it rose.
CHANGES = 'RdBu'


def ramp(name: str) -> str:
    """The 256 colours of one of matplotlib's maps, lowest first, as ``'rrggbbrrggbb...'``."""
    return ''.join(to_hex(colour)[1:] for colour in colormaps[name](range(256)))
