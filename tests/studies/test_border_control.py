"""The positive control of border loss."""

from __future__ import annotations

from pathlib import Path

from mindpad_mm import border_loss
from mindpad_mm.border import BorderResult, with_interval
from studies.border_control import MARGINS, ControlStudy, control_markdown
from tests.border.toys import HeatDetector, convolutions, noise_photo

ROOT = Path(__file__).parents[2]


def test_each_training_reads_its_own_set_and_both_train_alike(tmp_path):
    config = ROOT / 'configs' / 'study' / 'ssd128_zeros_traffic-light.py'
    study = ControlStudy(config, tmp_path, tmp_path, tmp_path / 'data', tmp_path / 'work', ())
    loaded = {margin: study.training(margin).load() for margin in MARGINS}
    for margin, cfg in loaded.items():
        root = f'{tmp_path}/data/margin{margin}/'
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.data_root == root
        for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
            assert evaluator.ann_file == f'{root}annotations/val.json'
    first, second = loaded.values()
    for key in ('model', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness'):
        assert first[key] == second[key]
    assert study.training(24).epochs == first.param_scheduler[1].end == 6


def test_the_table_has_a_row_for_every_variant_with_its_padding_losses():
    result = border_loss(
        HeatDetector(convolutions('zeros')).wrapped(),
        [noise_photo(300, 300, number) for number in range(5)],
        window=(160, 160), far=32, minutes=0, found_thr=0.01, draws=100, max_objects=1, sides='left',
    )  # fmt: skip
    assert isinstance(result, BorderResult)
    text = control_markdown({24: result})
    assert '| as trained |' in text
    shown = result.statistics['as trained']['by_side']['all']['0']['padding_loss']
    assert f'| {with_interval(shown)} |' in text
    assert all(sentence in text for sentence in result.verdict)
