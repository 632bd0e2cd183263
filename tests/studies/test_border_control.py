"""The border study: its grid, what it keeps, and that it continues from what it kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mindpad_mm import border_loss
from mindpad_mm.border import BorderResult
from mindpad_mm.core.errors import UserError
from studies import border_control
from studies.border_control import ControlStudy, open_score, validated
from studies.border_grid import CENTRE, EPOCHS, EVEN_SIZE, LEAST_OPEN, UNIFORM, Cell, grid
from studies.border_results import VIEWS, BorderResults, packed, unpacked
from studies.traffic_lights import MODES
from tests.border.toys import HeatDetector, convolutions, noise_photo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(tmp_path):
    config = ROOT / 'configs' / 'study' / 'ssd128_border-study.py'
    paths = (tmp_path / name for name in ('photos', 'crops', 'data', 'work'))
    return ControlStudy(config, *paths, (), tmp_path / 'results.json')


@pytest.fixture(scope='module')
def measured():
    """A border loss in the own mode and in one other."""
    result = border_loss(
        HeatDetector(convolutions('zeros')).wrapped(),
        [noise_photo(300, 300, number) for number in range(5)],
        window=(160, 160), far=32, minutes=0, found_thr=0.01, draws=100, max_objects=1, sides='left',
    )  # fmt: skip
    assert isinstance(result, BorderResult)
    return result


def test_every_cell_of_the_grid_stands_once_and_all_modes_have_five_seeds():
    cells = list(grid())
    assert len({cell.key for cell in cells}) == len(set(cells)) == len(cells)
    for lights in (CENTRE, UNIFORM):
        for mode in MODES:
            seeds = {c.seed for c in cells if (c.lights, c.mode, c.size) == (lights, mode, 128)}
            assert seeds == set(range(5))


def test_each_training_reads_its_own_set_and_all_are_validated_on_lights_everywhere(study):
    cfg = study.training(Cell(CENTRE, 'reflect', 2)).load()
    assert cfg.train_dataloader.dataset.data_root == f'{study.data}/centre24/'
    for split in ('val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == f'{study.data}/uniform/'
        assert cfg[f'{split}_evaluator'].ann_file == f'{study.data}/uniform/annotations/val.json'
    assert cfg.model.padding_cfg.mode == 'reflect'
    assert cfg.randomness.seed == 2
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == EPOCHS[0]


def test_trainings_of_one_size_differ_in_mode_seed_and_set_alone(study):
    first, second = (
        study.training(cell).load()
        for cell in (Cell(UNIFORM, 'zeros', 0), Cell(CENTRE, 'circular', 0))
    )
    first.model.padding_cfg.mode = 'circular'
    first.train_dataloader.dataset.data_root = second.train_dataloader.dataset.data_root
    for key in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        assert first[key] == second[key]


def test_an_even_input_has_its_size_in_training_and_in_test(study):
    cfg = study.training(Cell(UNIFORM, 'zeros', 0, EVEN_SIZE)).load()
    for split in ('train', 'val', 'test'):
        resize = next(
            step for step in cfg[f'{split}_dataloader'].dataset.pipeline if step.type == 'Resize'
        )
        assert tuple(resize.scale) == (EVEN_SIZE, EVEN_SIZE)


def test_a_longer_training_has_a_folder_of_its_own(study):
    cell = Cell(UNIFORM, 'zeros', 0)
    short, long = (study.training(cell, epochs) for epochs in EPOCHS)
    assert short.work_dir != long.work_dir
    assert long.epochs == EPOCHS[1]


def test_packed_scores_come_back_to_the_nearest_step():
    scores = np.random.default_rng(0).random((3, 50))
    assert np.abs(unpacked(packed(scores), 3) - scores).max() <= 0.5 / 255 + 1e-9
    with pytest.raises(ValueError, match='every window'):
        packed(np.array([[0.5, np.nan]]))


def test_results_keep_the_scores_by_probe_and_continue_from_the_file(tmp_path, measured):
    cell = Cell(UNIFORM, 'zeros', 0)
    first = BorderResults.open(tmp_path / 'r.json', {'recipe': 1})
    first.add(cell, measured, epochs=5)
    first.save()
    again = BorderResults.open(tmp_path / 'r.json', {'recipe': 1})
    assert again.done(cell)
    assert not again.done(Cell(UNIFORM, 'zeros', 1))
    kept = again.scores(cell, 'zeros')
    for view in VIEWS:
        values = measured.values[0, :, measured.info.views.index(view), 0]
        assert np.abs(kept[view] - values).max() <= 0.5 / 255 + 1e-6
    assert again.probes(128)['distance'].tolist() == [p.distance for p in measured.probes]
    summary = again.content['trainings'][cell.key]['tests']['zeros']['summary']
    shown = measured.statistics['as trained']['by_side']['all']['0']['padding_loss']['mean']
    assert summary['padding_loss']['0'] == pytest.approx(shown, abs=1e-4)


def test_results_of_another_study_are_refused(tmp_path, measured):
    results = BorderResults.open(tmp_path / 'r.json', {'recipe': 1})
    results.add(Cell(UNIFORM, 'zeros', 0), measured)
    results.save()
    with pytest.raises(UserError, match='another recipe'):
        BorderResults.open(tmp_path / 'r.json', {'recipe': 2})
    (tmp_path / 'bad.json').write_text('[]')
    with pytest.raises(UserError, match='no results of this study'):
        BorderResults.open(tmp_path / 'bad.json', {})


def test_a_training_that_is_measured_is_not_repeated_and_a_weak_one_is_trained_longer(
    study, measured, monkeypatch
):
    trained = []
    opens = iter([LEAST_OPEN - 0.1, LEAST_OPEN + 0.1, LEAST_OPEN + 0.1, LEAST_OPEN + 0.1])
    monkeypatch.setattr(border_control, 'train_all', lambda ts: trained.extend(ts))
    monkeypatch.setattr(border_control, 'open_score', lambda _result: next(opens))
    monkeypatch.setattr(ControlStudy, 'make_set', lambda *_: {})
    monkeypatch.setattr(ControlStudy, 'measure', lambda *_: measured)
    monkeypatch.setattr(ControlStudy, 'diagnosis', lambda *_: {})
    cells = [Cell(CENTRE, 'zeros', 0), Cell(CENTRE, 'zeros', 1), Cell(UNIFORM, 'zeros', 0)]
    study.run(cells[:1])
    assert [t.epochs for t in trained] == list(EPOCHS)
    study.run(cells)
    assert [t.seed for t in trained] == [0, 0, 1, 0]
    assert trained[-1].epochs == EPOCHS[1]
    assert len(json.loads(study.out.read_text())['trainings']) == 3


def test_no_training_is_started_after_the_time(study, monkeypatch):
    monkeypatch.setattr(border_control, 'train_all', lambda ts: pytest.fail('it was started'))
    assert not study.run([Cell(UNIFORM, 'zeros', 0)], minutes=-1).content['trainings']


def test_the_open_score_is_that_of_the_own_mode(measured):
    shown = measured.statistics['as trained']['by_side']['all']
    n = [shown[key]['open']['n'] for key in ('near', 'beyond')]
    means = [shown[key]['open']['mean'] for key in ('near', 'beyond')]
    assert open_score(measured) == pytest.approx(np.average(means, weights=n), abs=1e-4)


def test_ap_is_that_of_the_last_validation(tmp_path):
    for name, ap in (('1', 0.1), ('2', 0.2)):
        file = tmp_path / name / 'vis_data' / 'scalars.json'
        file.parent.mkdir(parents=True)
        entries = [{'loss': 1.0}, {'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': 2 * ap}]
        file.write_text('\n'.join(map(json.dumps, entries)))
    assert validated(tmp_path) == {'mAP': 0.2, 'AP.50': 0.4}
