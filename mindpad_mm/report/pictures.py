"""Figures as pictures of a page: SVG files for light and dark pages, and for narrow ones."""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from mindpad_mm.core.style import ACCENT

_DOTS_PER_INCH = 110
# Characters in a line of a narrow figure's title.
_NARROW_LINE = 50
# Ink and ground of dark pages, as in base.css.
_INK, _GROUND = to_rgb('#e6e8ea'), to_rgb('#1c2024')
# Images up to this many pixels a side are enlarged by the reader's browser.
_SMALL = 300
# A colour that needs to be lighter on dark pages, as there.
_LIGHTER = {ACCENT: '#ff5ca8'}
# Colours with less chroma than this are ink, ground, or between them.
_GREY = 0.08
_COLOUR = re.compile('#[0-9a-f]{6}')
_DIGITS = re.compile(r'(\d\.\d\d)\d+')
_FONT = re.compile(r"'DejaVu Sans'[^;]*")
# Group of what keeps its colours.
_KEPT = 'kept'
_SVG = 'http://www.w3.org/2000/svg'
_LINK = 'http://www.w3.org/1999/xlink'
ElementTree.register_namespace('', _SVG)
ElementTree.register_namespace('xlink', _LINK)


@dataclass(frozen=True)
class Picture:
    """A figure as files.

    Attributes:
        png: The PNG file as it is saved beside the page.
        svg: For pages: an SVG file in base64, which follows the page's light or dark scheme.
        width: Pixels.
        height: Pixels.
        narrow: The SVG file for phones, in base64. Default: none.
    """

    png: bytes
    svg: str
    width: int
    height: int
    narrow: str | None = None


def picture(draw: Callable[[], Figure], stacked: bool = False) -> Picture:
    """Draw a figure for a page.

    Args:
        draw: Makes the figure; its axes lie side by side if ``stacked``.
        stacked: Whether phones get a version with the axes below each other.
    """
    figure = draw()
    png = _png(figure)
    # With a given size, the layout of the page does not change while the picture loads.
    width, height = (round(each * _DOTS_PER_INCH) for each in figure.get_size_inches())
    narrow = None
    if stacked:
        column = draw()
        stack(column)
        narrow = _encoded(column)
    return Picture(png, _encoded(figure), width, height, narrow)


def _png(figure: Figure) -> bytes:
    """A figure as a PNG file; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=_DOTS_PER_INCH, metadata={'Software': None})
    return file.getvalue()


def _encoded(figure: Figure) -> str:
    return base64.b64encode(svg(figure).encode()).decode()


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


def svg(figure: Figure) -> str:
    """A figure as an SVG file whose ink and ground follow the reader's light or dark scheme.

    Greys are exchanged, and the accent is lighter on dark pages; other colours stay, and so do images
    with what stands on them. Equal figures give equal files.
    """
    _prepare(figure)
    file = io.StringIO()
    options = {'svg.fonttype': 'none', 'svg.hashsalt': 'mindpad', 'path.simplify_threshold': 0.3}
    with matplotlib.rc_context(options):
        nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
        figure.savefig(file, format='svg', dpi=_DOTS_PER_INCH, metadata=nothing)
    root = ElementTree.fromstring(file.getvalue())
    exchanged = {'#000000': 0}
    for element in _styled(root):
        element.set(
            'style', _COLOUR.sub(lambda at: _variable(at, exchanged), element.get('style', ''))
        )
    for element in root.iter():
        _shorten(element)
    for image in root.iter(f'{{{_SVG}}}image'):
        data = image.get(f'{{{_LINK}}}href', '').partition(',')[2]
        image.set(f'{{{_LINK}}}href', f'data:image/png;base64,{_small(base64.b64decode(data))}')
    style = ElementTree.Element(f'{{{_SVG}}}style')
    style.text = _style(exchanged)
    root.insert(0, style)
    return re.sub(r'>\s+<', '><', ElementTree.tostring(root, 'unicode'))


def _prepare(figure: Figure) -> None:
    """Mark what keeps its colours, and let images be stored in their own pixels."""
    for axes in figure.axes:
        for image in axes.images:
            if max(image.get_size()) <= _SMALL:
                image.set_interpolation('none')
    for artist in figure.findobj(include_self=True):
        if isinstance(artist, QuadMesh):  # colour bars
            artist.set_rasterized(True)
        if _on_image(artist):
            artist.set_gid(_KEPT)


def _on_image(artist: Artist) -> bool:
    """Whether an artist is drawn over an image, where the colours of the page do not matter."""
    axes = getattr(artist, 'axes', None)
    if not isinstance(axes, Axes) or not axes.images:
        return False
    return any(artist is each for each in (*axes.texts, *axes.lines))


def _styled(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The styled elements below one that do not keep their colours."""
    for child in element:
        if child.get('id') != _KEPT:
            if 'style' in child.attrib:
                yield child
            yield from _styled(child)


def _variable(found: re.Match[str], exchanged: dict[str, int]) -> str:
    colour = found.group()
    rgb = to_rgb(colour)
    if max(rgb) - min(rgb) > _GREY and colour not in _LIGHTER:
        return colour
    return f'var(--k{exchanged.setdefault(colour, len(exchanged))})'


def _shorten(element: ElementTree.Element) -> None:
    """Write numbers with two decimals, and the reader's own font; leave turns by 0 degrees out."""
    for name, value in element.attrib.items():
        if not name.endswith('href'):
            element.set(name, _DIGITS.sub(r'\1', _FONT.sub('sans-serif', value)))
    if element.get('transform', '').startswith('rotate(-0 '):
        del element.attrib['transform']


def _small(png: bytes) -> str:
    """An image in base64, of at most 256 colours if it is opaque."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert('RGBA'))
        if pixels[..., 3].min() < 255:
            return base64.b64encode(png).decode()
        colours, index = np.unique(pixels[..., :3].reshape(-1, 3), axis=0, return_inverse=True)
        if len(colours) <= 256:  # as of a colour map: exact
            small = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8), 'P')
            small.putpalette(colours.astype(np.uint8).tobytes())
        else:
            small = image.convert('RGB').quantize(256, dither=Image.Dither.NONE)
        small.save(file, 'PNG', optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _style(exchanged: dict[str, int]) -> str:
    def variables(to_colour: Callable[[str], str]) -> str:
        return ''.join(f'--k{number}:{to_colour(colour)};' for colour, number in exchanged.items())

    dark = f'@media (prefers-color-scheme: dark){{:root{{{variables(_inverted)}}}}}'
    # Text has no colour of its own where it is black.
    text = f'text{{fill:var(--k0)}}#{_KEPT} text{{fill:#000}}'
    return f':root{{{variables(str)}}}{text}{dark}'


def _inverted(colour: str) -> str:
    """The colour of dark pages for a grey, or the accent, of light ones."""
    ink, ground = np.array(_INK), np.array(_GROUND)
    return _LIGHTER.get(colour) or to_hex(ink + (ground - ink) * np.mean(to_rgb(colour)))
