"""Figures as pictures of a page: for light and dark pages, and for narrow ones."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from PIL import Image

_DOTS_PER_INCH = 110
# Characters in a line of a narrow figure's title.
_NARROW_LINE = 50
# Ink and ground of dark pages, as in base.css.
_INK, _GROUND = to_rgba('#e6e8ea')[:3], to_rgba('#1c2024')[:3]
# Colours with less chroma than this are ink, ground, or between them.
_GREY = 0.08


@dataclass(frozen=True)
class Picture:
    """A figure as PNG files.

    Attributes:
        png: The file as it is saved beside the page.
        light: For light pages, in base64, as all that follow.
        dark: For dark pages.
        width: Pixels.
        height: Pixels.
        narrow: For phones, light and dark. Default: none.
    """

    png: bytes
    light: str
    dark: str
    width: int
    height: int
    narrow: tuple[str, str] | None = None


def picture(draw: Callable[[], Figure], stacked: bool = False) -> Picture:
    """Draw a figure for a page.

    Args:
        draw: Makes the figure; its axes lie side by side if ``stacked``.
        stacked: Whether phones get a version with the axes below each other.
    """
    figure = draw()
    png = _png(figure)
    # With a given size, the layout of the page does not change while the picture loads.
    width, height = Image.open(io.BytesIO(png)).size
    narrow = None
    if stacked:
        column = draw()
        stack(column)
        narrow = (_small(_png(column)), _small(_darkened(column)))
    return Picture(png, _small(png), _small(_darkened(figure)), width, height, narrow)


def _png(figure: Figure) -> bytes:
    """A figure as a PNG file; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
    return file.getvalue()


def _darkened(figure: Figure) -> bytes:
    darken(figure)
    return _png(figure)


def stack(figure: Figure) -> None:
    """Place the axes of a figure below each other, for a narrow page."""
    axes = figure.axes
    width, height = figure.get_size_inches()
    grid = figure.add_gridspec(len(axes), 1)
    for index, each in enumerate(axes):
        each.set_subplotspec(grid[index, 0])
        each.tick_params(labelleft=True)
    for text in figure.texts:
        text.set_text(textwrap.fill(text.get_text(), _NARROW_LINE))
    figure.set_size_inches(max(4.2, width / len(axes)), 0.8 * height * len(axes))


def darken(figure: Figure) -> None:
    """Exchange ink and ground: greys are inverted, colours stay, and images with what stands on them."""
    for artist in figure.findobj(include_self=True):
        if not _on_image(artist):
            _invert(artist)


def _on_image(artist: Artist) -> bool:
    """Whether an artist is drawn over an image, where the colours of the page do not matter."""
    axes = getattr(artist, 'axes', None)
    if not isinstance(axes, Axes) or not axes.images:
        return False
    return any(artist is each for each in (*axes.texts, *axes.lines))


def _invert(artist: Artist) -> None:
    if isinstance(artist, Text):
        artist.set_color(_inverted(artist.get_color()))
    elif isinstance(artist, Line2D):
        artist.set_color(_inverted(artist.get_color()))
        artist.set_markerfacecolor(_inverted(artist.get_markerfacecolor()))
        artist.set_markeredgecolor(_inverted(artist.get_markeredgecolor()))
    elif isinstance(artist, Patch):
        face, edge = artist.get_facecolor(), artist.get_edgecolor()
        artist.set_facecolor(_inverted(face))
        artist.set_edgecolor(_inverted(edge))
    elif isinstance(artist, Collection) and artist.get_array() is None:
        for get, put in (
            (artist.get_facecolor, artist.set_facecolor),
            (artist.get_edgecolor, artist.set_edgecolor),
        ):
            colours = to_rgba_array(get())
            put([_inverted(tuple(colour)) for colour in colours] or 'none')


def _inverted(colour: object) -> object:
    if isinstance(colour, str) and colour in ('none', 'auto'):
        return colour
    *rgb, alpha = to_rgba(colour)  # type: ignore[arg-type]
    if max(rgb) - min(rgb) > _GREY:
        return colour
    ink, ground = np.array(_INK), np.array(_GROUND)
    return (*(ink + (ground - ink) * np.mean(rgb)), alpha)


def _small(png: bytes) -> str:
    """A PNG of at most 256 colours in base64."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert('RGB').quantize(256, dither=Image.Dither.NONE).save(
            file, 'PNG', optimize=True
        )
    return base64.b64encode(file.getvalue()).decode()
