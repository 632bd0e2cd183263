"""The colours of all pictures: readable with any colour vision."""

# Perceptually uniform; the accent stands out on all of it.
COLOURS = 'cividis'
ACCENT = '#d6006c'
