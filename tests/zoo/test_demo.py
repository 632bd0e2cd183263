"""What `make demo` says has the numbers of the border losses, the scans and MMDetection's metric."""

import json

import pytest
from PIL import Image

from mindpad_mm.border import BorderResult
from mindpad_mm.core.errors import UserError
from mindpad_mm.scan import ScanResult
from mindpad_mm.zoo import demo as demo_module
from mindpad_mm.zoo.demo import CURE, DETECTORS, run_demo


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, '_STREETS', 2)
        yield out, run_demo(out, stride=56, num_images=8)


def test_every_detector_has_a_row_with_its_border_loss_its_scan_and_its_map(demo):
    out, rows = demo
    assert [row['detector'] for row in rows] == [detector.title for detector in DETECTORS]
    assert json.loads((out / 'demo.json').read_text()) == rows
    for detector, row in zip(DETECTORS, rows):
        border = BorderResult.load(out / f'border_{detector.border}')
        found = border.statistics[detector.variant]['by_side']['all']
        assert row['padding loss'] == found['near']['padding_loss']
        assert row['lost at the border'] == found['0']['lost_objects']
        scan = ScanResult.load(out / f'scan_{detector.key}')
        assert row['blind fraction'] == scan.info.statistics['maps'][0]['blind_fraction']
        assert 0 <= row['mAP'] <= row['AP.50'] <= 1
        assert (scan.folder / 'report.html').is_file()
    compared = (out / 'report.html').read_text(encoding='utf-8')
    assert all(
        f'{detector.title} minus {DETECTORS[0].title}' in compared for detector in DETECTORS[1:]
    )
    with Image.open(out / 'demo.png') as picture:
        assert picture.width > 3 * picture.height


def test_the_cure_is_the_blind_detector_with_one_config_line_changed(demo):
    _, rows = demo
    blind, cured, sighted = DETECTORS
    assert blind.files.checkpoint == cured.files.checkpoint != sighted.files.checkpoint
    assert dict(cured.cfg_options) == {'model.padding_cfg.mode': CURE}
    assert rows[1]['padding loss']['mean'] < rows[0]['padding loss']['mean'] - 0.1
    assert rows[0]['padding loss']['mean'] > rows[2]['padding loss']['mean'] + 0.1


def test_running_again_uses_what_is_there_and_prints_the_same(demo, capsys):
    out, rows = demo
    files = [out / 'scan_blind' / 'scan.npz', out / 'border_blind' / 'border.json']
    before = [file.stat().st_mtime_ns for file in files]
    assert run_demo(out, stride=56, num_images=8) == rows
    assert [file.stat().st_mtime_ns for file in files] == before
    printed = capsys.readouterr().out
    assert all(detector.title in ' '.join(printed.split()) for detector in DETECTORS)
    assert 'demo.png' in printed
    assert 'report.html' in printed


@pytest.fixture
def sizes(monkeypatch, tmp_path):
    """Run the demo without detectors; return the number of images of its set."""
    monkeypatch.setattr(demo_module, 'DETECTORS', ())
    monkeypatch.setattr(demo_module, 'write_page', lambda *args: None)
    monkeypatch.setattr(demo_module, 'draw_demo', lambda *args: b'')

    def run(num_images: int) -> int:
        run_demo(tmp_path, 64, num_images)
        return len(
            json.loads((tmp_path / 'set' / 'annotations' / 'val.json').read_text())['images']
        )

    return run


def test_a_set_of_another_number_of_images_is_not_taken_for_the_one_asked_for(sizes):
    assert sizes(2) == 2
    assert sizes(3) == 3


def test_a_complete_set_is_kept_and_an_interrupted_one_is_made_again(sizes, tmp_path):
    sizes(2)
    meta = tmp_path / 'set' / 'meta.json'
    before = meta.stat().st_mtime_ns
    assert sizes(2) == 2
    assert meta.stat().st_mtime_ns == before
    meta.write_text(json.dumps({**json.loads(meta.read_text()), 'counts': {'train': {}}}))
    (tmp_path / 'set' / 'annotations' / 'val.json').unlink()
    assert sizes(2) == 2


def test_zero_images_are_an_error(sizes):
    with pytest.raises(UserError, match='`num_images` 0: at least 1'):
        sizes(0)
