"""The colours of all pictures: readable with any colour vision."""

# Perceptually uniform; the accent stands out on all of it.
COLOURS = 'cividis'
ACCENT = '#d6006c'
# Of lines side by side: Paul Tol's bright scheme, readable with any colour vision.
LINES = ('#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#888888')
MARKERS = 'osD^vP*X'
