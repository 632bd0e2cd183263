"""Colours of the scan page."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex

# Okabe and Ito's palette, suitable for colour-blind readers, on light and dark backgrounds.
LINES = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00')
MARK = '#ff2d92'
# As in heatmap.png: perceptually uniform and suitable for colour-blind readers.
SCORES = 'cividis'
# Red where a score fell, blue where it rose; what did not change is as quiet as the ground around it.
CHANGES = 'RdBu'
DARK_CHANGES = LinearSegmentedColormap.from_list(
    'dark changes', ('#ffa08c', '#b5382c', '#262b30', '#2d6db4', '#8fc7ff')
)


def ramp(name: str | Colormap) -> str:
    """The 256 colours of a map of matplotlib's, lowest first, as ``'rrggbbrrggbb...'``."""
    chosen = colormaps[name] if isinstance(name, str) else name
    return ''.join(to_hex(colour)[1:] for colour in chosen(range(256)))
