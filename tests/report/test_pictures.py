"""Pictures of a page: dark ones are readable, colours mean the same on both."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from mindpad_mm.report.pictures import picture, svg

TITLE = 'a title that is far too long for one line of a narrow figure on a phone, is it not'


def draw(columns=1):
    figure = Figure((3 * columns, 2), layout='constrained')
    for axes in np.ravel(figure.subplots(1, columns, sharey=True)):
        axes.plot([0, 1], color='#c2005f', linewidth=6)
        axes.axhline(0.3, color='k', linewidth=6)
        axes.fill_between([0, 1], [0.8, 0.8], [0.9, 0.9], color='#4477aa')
        axes.set(title='0.12345 of $5', xlabel='x')
    figure.suptitle(TITLE)
    return figure


@pytest.fixture
def shown(browser, tmp_path):
    """A function from an SVG file in base64, its width and a scheme to pixels in a browser."""

    def show(encoded, width, scheme):
        page = tmp_path / 'page.html'
        page.write_text(
            '<meta name="color-scheme" content="light dark"><body style="margin: 0">'
            f'<img src="data:image/svg+xml;base64,{encoded}" style="display: block; width: {width}px">'
        )
        browser.scheme(scheme)
        browser.open(page, width=width, height=900)
        height = round(browser.run('document.querySelector("img").getBoundingClientRect().height'))
        image = Image.open(io.BytesIO(browser.screenshot())).convert('RGB')
        return np.asarray(image).astype(int)[:height]

    yield show
    browser.scheme('light')


def near(image, colour):
    """Which pixels are of a colour."""
    return np.abs(image - np.multiply(to_rgba(colour)[:3], 255)).max(-1) < 9


def share(image, colour, least):
    """At least this share of the pixels is of a colour."""
    assert near(image, colour).mean() > least, colour


def test_dark_picture_has_light_ink_on_dark_ground_and_the_same_colours(shown):
    drawn = picture(draw)
    light, dark = (shown(drawn.svg, drawn.width, scheme) for scheme in ('light', 'dark'))
    assert light.shape == dark.shape == (drawn.height, drawn.width, 3)
    for image, ground, ink in ((light, '#fff', '#000'), (dark, '#1c2024', '#e6e8ea')):
        share(image, ground, 0.5)
        share(image, ink, 0.01)
        share(image, '#c2005f', 0.01)
        share(image, '#4477aa', 0.01)
    for colour in ('#c2005f', '#4477aa'):
        lit, unlit = near(light, colour), near(dark, colour)
        assert (lit & unlit).sum() > 0.8 * max(lit.sum(), unlit.sum())


def test_picture_in_the_page_is_the_saved_file(shown):
    drawn = picture(draw)
    saved = np.asarray(Image.open(io.BytesIO(drawn.png)).convert('RGB')).astype(int)
    light = shown(drawn.svg, drawn.width, 'light')
    for colour in ('#c2005f', '#4477aa'):
        one, other = near(saved, colour), near(light, colour)
        assert (one & other).sum() > 0.8 * max(one.sum(), other.sum())


@pytest.mark.parametrize('text', ['#000', '#fff'])
def test_images_and_what_stands_on_them_stay(shown, text):
    figure = Figure((2, 2))
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.imshow(np.full((2, 2), 0.5), 'gray', vmin=0, vmax=1)
    axes.set_axis_off()
    axes.text(0.5, 0.5, '\u25a0', color=text, fontsize=90, ha='center', va='center')
    encoded = base64.b64encode(svg(figure).encode()).decode()
    light, dark = (shown(encoded, 200, scheme) for scheme in ('light', 'dark'))
    inside = slice(30, 170), slice(30, 170)
    np.testing.assert_array_equal(light[inside], dark[inside])
    share(dark[inside], '#808080', 0.1)
    share(dark[inside], text, 0.1)
    share(dark, '#1c2024', 0.1)


def test_images_are_stored_in_their_own_pixels():
    figure = Figure((4, 4))
    values = np.random.default_rng(0).uniform(0, 1, (5, 7))
    figure.subplots().imshow(values, 'cividis', vmin=0, vmax=1)
    root = ElementTree.fromstring(svg(figure))
    (image,) = root.iter('{http://www.w3.org/2000/svg}image')
    data = base64.b64decode(image.get('{http://www.w3.org/1999/xlink}href').split(',')[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
    from matplotlib import colormaps

    wanted = colormaps['cividis'](values, bytes=True)[..., :3]
    assert pixels.shape == wanted.shape
    assert any(np.array_equal(pixels, each) for each in (wanted, wanted[::-1]))


def test_text_is_text_with_all_its_digits():
    text = ''.join(ElementTree.fromstring(svg(draw())).itertext())
    assert '0.12345 of $5' in text
    assert TITLE in text


def test_phones_get_the_axes_below_each_other(shown):
    drawn = picture(lambda: draw(3), stacked=True)
    assert drawn.width > 2 * drawn.height
    image = shown(drawn.narrow, 390, 'light')
    assert image.shape[0] > image.shape[1]
    # Nothing is cut off at the sides.
    assert np.ptp(image[:, [0, -1]], axis=0).max() == 0


def test_equal_figures_give_equal_files():
    one, other = picture(draw), picture(draw)
    assert one == other
    assert Image.open(io.BytesIO(one.png)).mode == 'RGBA'
    assert not re.search(r'\d\.\d{3}', re.sub(r'>[^<]*<', '><', base64.b64decode(one.svg).decode()))
