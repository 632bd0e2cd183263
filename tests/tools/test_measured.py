"""The values that ``--fail-if`` compares are those of real results, by their names."""

from __future__ import annotations

import cv2
import pytest

from mindpad_mm.border import BorderResult
from mindpad_mm.cli.border import main as border
from mindpad_mm.cli.scan import main as scan
from mindpad_mm.scan import ScanResult
from tests.border.toys import noise_photo


def test_a_scan_fails_on_its_own_statistics(files, tmp_path, capsys):
    out = tmp_path / 'out'
    command = [
        str(files / 'config.py'), str(files / 'weights.pth'), '--background',
        str(files / 'photo.png'), '--object', str(files / 'light.png'), '--size', '16', '24',
        '--stride', '24', '--out', str(out),
    ]  # fmt: skip
    scan(command)
    overall = ScanResult.load(out).info.statistics['overall']
    mean = overall['mean at 24 px']['mean']
    again = [*command, '--resume', '--verbose']
    scan([*again, '--fail-if', f'mean@24 > {mean + 1e-6}'])
    assert 'lowest score at 16 px' in capsys.readouterr().out  # the table of --verbose
    with pytest.raises(SystemExit) as left:
        scan([*again, '--fail-if', f'mean@24 > {mean - 1e-6}'])
    assert left.value.code == 3
    assert 'mean@16' in ScanResult.load(out).measured()


def test_a_border_loss_fails_on_the_distance_and_side_that_are_named(files, tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    for number in range(5):
        cv2.imwrite(str(photos / f'{number}.png'), noise_photo(150, 160, number))
    out = tmp_path / 'out'
    command = [
        str(files / 'config.py'), str(files / 'weights.pth'), '--photos', str(photos), '--minutes',
        '0', '--found-thr', '0.02', '--far', '16', '--distances', '0', '8', '--out', str(out),
    ]  # fmt: skip
    border(command)
    result = BorderResult.load(out)
    by_side = result.statistics['as trained']['by_side']
    places = {
        'border_loss': by_side['all']['near'],
        'border_loss@8': by_side['all']['8'],
        'border_loss@left': by_side['left']['near'],
    }
    values = {name: found['border_loss']['mean'] for name, found in places.items()}
    assert len(set(values.values())) == 3
    conditions = [f'{name} > {value + 1e-9!r}' for name, value in values.items()]
    border([*command, '--resume', *(part for each in conditions for part in ('--fail-if', each))])
    for name, value in values.items():
        with pytest.raises(SystemExit) as left:
            border([*command, '--resume', '--fail-if', f'{name} >= {value!r}'])
        assert left.value.code == 3
