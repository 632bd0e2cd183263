"""Colours of the plots, suitable for colour-blind readers, and names in them."""

from __future__ import annotations

# A perceptually uniform colormap, and a colour that stands out on all of it.
COLOURS = 'cividis'
ACCENT = '#d6006c'
# Of lines side by side: Paul Tol's bright scheme, readable with any colour vision.
LINES = ('#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#888888')
MARKERS = 'osD^vP*X'


def as_it_is(name: str) -> str:
    """A name that matplotlib draws as it is: ``$`` begins no formula, and ``_`` hides no label."""
    # Matplotlib takes `\\$` for `$`: what is between the two is not seen, and keeps the backslash.
    text = name.encode('utf-8', 'backslashreplace').decode()  # a lone surrogate is no text
    escaped = text.replace('\\$', '\\\u200b$').replace('$', '\\$')
    return f'\u200b{escaped}' if escaped.startswith('_') else escaped
