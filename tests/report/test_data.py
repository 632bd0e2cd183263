"""The data in a page equal those of the scan."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np

from mindpad_mm.report.data import page_data


def unpacked(text, dtype, shape):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype).reshape(shape)


def test_scores_and_ious_are_those_of_the_scan_to_four_decimals(make_scan):
    scan = make_scan('one')
    (carried,) = page_data([scan], ['one'])['scans']
    for name in ('scores', 'ious'):
        values = getattr(scan, name)
        fixed = unpacked(carried[name], '<u2', values.shape)
        np.testing.assert_array_equal(fixed == 65535, np.isnan(values))
        known = ~np.isnan(values)
        np.testing.assert_allclose(fixed[known] / 10000, values[known], rtol=0, atol=0.5000001e-4)
    np.testing.assert_array_equal(unpacked(carried['flags'], '<u1', scan.flags.shape), scan.flags)


def test_detected_boxes_are_those_of_the_scan_to_a_tenth_of_a_pixel(make_scan):
    scan = make_scan('one')
    (carried,) = page_data([scan], ['one'])['scans']
    tenths = unpacked(carried['boxes'], '<i4', (4, *scan.scores.shape))
    for background, obj, size, r, c in np.ndindex(scan.scores.shape):
        wanted, found = (
            scan.boxes[background, obj, size, r, c],
            tenths[:, background, obj, size, r, c],
        )
        if np.isnan(wanted).any():
            assert (found == -(2**31)).all()
            continue
        height, width = scan.info.objects[obj].boxes[size]
        y, x = scan.rows[r], scan.cols[c]
        edges = np.array([x, y, x + width, y + height]) + found / 10
        np.testing.assert_allclose(edges, wanted, rtol=0, atol=0.0501)


def test_causes_and_other_boxes_are_those_of_the_scan(make_scan):
    scan = make_scan('one', extras=True)
    (carried,) = page_data([scan], ['one'])['scans']
    codes = unpacked(carried['causes']['codes'], '<u1', scan.scores.shape)
    np.testing.assert_array_equal(codes, scan.causes.causes)
    others, kept = carried['others'], scan.bystanders
    np.testing.assert_array_equal(unpacked(others['states'], '<u1', kept.states.shape), kept.states)
    appeared = unpacked(others['appeared'], '<u2', scan.scores.shape)
    np.testing.assert_array_equal(appeared, kept.appeared[..., 0])
    for scene, boxes in enumerate(others['boxes']):
        assert [each['name'] for each in boxes] == [['car', 'bus', 'bus'], ['bus', 'car']][
            scene > 0
        ]
        wanted = kept.boxes[scene][: len(boxes)]
        np.testing.assert_allclose([each['box'] for each in boxes], wanted, rtol=0, atol=0.0501)


def test_everything_is_json_without_nan(make_scan):
    data = page_data([make_scan('one', extras=True), make_scan('two', scores=1)], ['one', 'two'])
    json.dumps(data, allow_nan=False)


def test_pattern_of_the_grid_is_found_again(make_scan):
    scan = make_scan('one')
    stripes = np.where(scan.cols % 8 == 4, 0.2, 0.9).astype(np.float32)
    scan.scores[:] = np.where(np.isnan(scan.scores), np.nan, stripes)
    scan.flags[:] = False
    phase = page_data([scan], ['one'])['scans'][0]['maps'][0]['phase']
    assert (phase['period'], phase['step'], phase['name']) == ([8, 8], (2, 2), '8 px')
    values = np.array(phase['values'])
    np.testing.assert_allclose(values - values.max(), np.tile([0, 0, -0.7, 0], (4, 1)), atol=1e-4)


def test_map_of_flagged_positions_alone_is_said_to_be_one(scan):
    from mindpad_mm.scan import scan_statistics

    scan.flags[:] = True
    scan.info.statistics = scan_statistics(scan, scan.info, scan.info.periods)
    for carried in page_data([scan], ['one'])['scans'][0]['maps']:
        assert list(carried) == ['words']
        assert 'flagged' in carried['words'][0]
