"""Pictures of a page: dark ones are readable, colours mean the same on both."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from mindpad_mm.report.pictures import darken, picture


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert('RGB')).astype(int)


def draw(columns=1):
    figure = Figure((3 * columns, 2), layout='constrained')
    for axes in np.ravel(figure.subplots(1, columns, sharey=True)):
        axes.plot([0, 1], color='#c2005f', linewidth=6)
        axes.axhline(0.3, color='k', linewidth=6)
        axes.fill_between([0, 1], [0.8, 0.8], [0.9, 0.9], color='#4477aa')
        axes.set(title='a title', xlabel='x')
    figure.suptitle(
        'a title that is far too long for one line of a narrow figure on a phone, is it not'
    )
    return figure


def near(image, colour):
    """Which pixels are of a colour."""
    return np.abs(image - np.multiply(to_rgba(colour)[:3], 255)).max(-1) < 9


def share(image, colour, least):
    """At least this share of the pixels is of a colour."""
    assert near(image, colour).mean() > least, colour


def test_dark_picture_has_light_ink_on_dark_ground_and_the_same_colours():
    drawn = picture(draw)
    light, dark = pixels(drawn.light), pixels(drawn.dark)
    assert light.shape == dark.shape == (drawn.height, drawn.width, 3)
    for image, ground, ink in ((light, '#fff', '#000'), (dark, '#1c2024', '#e6e8ea')):
        share(image, ground, 0.5)
        share(image, ink, 0.01)
        share(image, '#c2005f', 0.01)
        share(image, '#4477aa', 0.01)
    for colour in ('#c2005f', '#4477aa'):
        lit, unlit = near(light, colour), near(dark, colour)
        assert (lit & unlit).sum() > 0.8 * max(lit.sum(), unlit.sum())


@pytest.mark.parametrize('text', ['#000', '#fff'])
def test_images_and_what_stands_on_them_stay(text):
    figure = Figure((2, 2))
    axes = figure.subplots()
    axes.imshow(np.eye(4), 'gray')
    axes.set_axis_off()
    label = axes.text(1, 1, 'label', color=text)
    before = axes.images[0].to_rgba(axes.images[0].get_array())
    darken(figure)
    np.testing.assert_array_equal(before, axes.images[0].to_rgba(axes.images[0].get_array()))
    assert to_rgba(label.get_color()) == to_rgba(text)
    assert np.mean(figure.get_facecolor()[:3]) < 0.2


def test_phones_get_the_axes_below_each_other():
    drawn = picture(lambda: draw(3), stacked=True)
    assert drawn.width > 2 * drawn.height
    for encoded in drawn.narrow:
        height, width, _ = pixels(encoded).shape
        assert height > width
        # Nothing is cut off at the sides.
        rim = pixels(encoded)[:, [0, -1]]
        assert np.ptp(rim, axis=0).max() == 0


def test_saved_file_is_the_figure_with_all_its_colours():
    assert picture(draw).png == picture(draw).png
    assert Image.open(io.BytesIO(picture(draw).png)).mode == 'RGBA'
