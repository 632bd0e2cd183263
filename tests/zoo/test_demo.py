"""The table of `make demo` has the numbers of the scans and of MMDetection's metric."""

import json

import pytest

from mindpad_mm import zoo
from mindpad_mm.core.errors import UserError
from mindpad_mm.scan import ScanResult
from mindpad_mm.zoo import demo as demo_module
from mindpad_mm.zoo.demo import run_demo


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo')
    return out, run_demo(out, stride=56, num_images=8)


def test_every_checkpoint_has_a_row_with_its_scan_and_its_map(demo, capsys):
    out, rows = demo
    assert [row['padding'] for row in rows] == zoo.modes()
    assert json.loads((out / 'demo.json').read_text()) == rows
    for row in rows:
        scan = ScanResult.load(out / f'scan_{row["padding"]}')
        assert row['mean score'] == scan.info.statistics['maps'][0]['mean']
        assert 0 <= row['mAP'] <= row['AP.50'] <= 1
        assert (scan.folder / 'report.html').is_file()
        assert (scan.folder / 'heatmap.png').is_file()
    compared = (out / 'report.html').read_text(encoding='utf-8')
    assert all(f'{mode} minus {zoo.modes()[0]}' in compared for mode in zoo.modes()[1:])


def test_running_again_uses_what_is_there_and_prints_the_same(demo, capsys):
    out, rows = demo
    before = (out / 'scan_zeros' / 'scan.npz').stat().st_mtime_ns
    assert run_demo(out, stride=56, num_images=8) == rows
    assert (out / 'scan_zeros' / 'scan.npz').stat().st_mtime_ns == before
    printed = capsys.readouterr().out
    assert all(mode in printed for mode in zoo.modes())
    assert 'report.html' in printed


@pytest.fixture
def sizes(monkeypatch, tmp_path):
    """Run the demo without scans and tests; return the number of images of its set."""
    monkeypatch.setattr(zoo, 'modes', lambda: [])
    monkeypatch.setattr(demo_module, 'write_page', lambda *args: None)

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
