from __future__ import annotations

import cv2
import numpy as np
import pytest

from mindpad_mm.core.errors import UserError
from mindpad_mm.report.page import write_heatmap
from mindpad_mm.scan import scan_statistics


def panels(figure):
    """(scene axes, map axes) of each row."""
    axes = [a for a in figure.axes if a.get_xlabel()]
    return list(zip(axes[::2], axes[1::2]))


def test_every_map_has_a_row_of_scene_and_scores(scan):
    figure = scan.plot()
    assert len(panels(figure)) == 2
    for (_, scores), shown in zip(panels(figure), scan.scores[:, 0, 0]):
        image = scores.images[0]
        assert image.get_clim() == (0, 1)
        array = np.ma.filled(image.get_array(), np.nan)
        kept = ~np.isnan(array)
        np.testing.assert_array_equal(array[kept], shown[kept])
    assert len(panels(scan.plot([(1, 0, 0)]))) == 1


def test_a_position_is_drawn_at_its_own_pixels(scan):
    _, scores = panels(scan.plot())[0]
    left, right, bottom, top = scores.images[0].get_extent()
    assert (left, right, top, bottom) == (-1, 55, -1, 31)


def test_worst_position_is_marked_and_outlined(scan):
    scene, scores = panels(scan.plot())[0]
    (marker,) = scores.lines
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (16, 4)
    (outline,) = scene.patches
    assert (*outline.get_xy(), outline.get_width(), outline.get_height()) == (16, 4, 6, 10)


def test_scene_shows_the_object_where_it_scores_lowest(scan):
    shown = scan.worst_scene(1, 0, 0)
    white = (shown == 255).all(-1)
    assert white[4:14, 16:22].all()
    assert white.sum() == 60


def test_padding_of_the_test_pipeline_is_told_apart(scan):
    scan.info.backgrounds[1].photo = [0, 0, 40, 60 - 4]
    figure = scan.plot()
    (_, whole), (scene, part) = panels(figure)
    assert len(part.patches) == len(whole.patches) + 1  # shaded canvas and photo, but not hatched
    shaded, photo = part.patches
    assert (shaded.get_width(), shaded.get_height()) == (60, 40)
    assert (photo.get_width(), photo.get_height()) == (56, 40)
    assert len(scene.patches) == 2
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any('padded by the test pipeline' in text for text in texts)


def test_flagged_positions_are_hatched_with_a_legend(scan):
    figure = scan.plot()
    (_, flagged), (_, clean) = panels(figure)
    assert [patch.get_hatch() for patch in flagged.patches] == ['////']
    assert not clean.patches
    assert 'flagged' in figure.legends[0].get_texts()[0].get_text()


def test_map_with_only_flagged_positions_can_be_drawn(scan):
    scan.flags[:] = True
    scan.info.statistics = scan_statistics(scan, scan.info, scan.info.periods)
    _, scores = panels(scan.plot())[0]
    assert 'every position is flagged' in scores.get_title(loc='left')


def test_picture_is_written_large_enough_to_read(scan, tmp_path):
    write_heatmap(scan, tmp_path / 'heatmap.png')
    height, width = cv2.imread(str(tmp_path / 'heatmap.png')).shape[:2]
    assert width >= 1200
    assert height >= 700
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='cannot write'):
        write_heatmap(scan, tmp_path / 'file' / 'heatmap.png')
