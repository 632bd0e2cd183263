"""Colours of the plots, suitable for colour-blind readers."""

# A perceptually uniform colormap, and a colour that stands out on all of it.
COLOURS = 'cividis'
ACCENT = '#d6006c'
# Of lines side by side: Paul Tol's bright scheme, readable with any colour vision.
LINES = ('#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#888888')
MARKERS = 'osD^vP*X'
