"""The table of MMDetection's config folders is complete, and says why not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from breadth.configs import CONFIGS, SIZE, chosen_config, folders, small_config
from breadth.document import document
from breadth.isolated import isolated
from breadth.probe import STEPS, run

RESULTS = Path(__file__).parents[2] / 'docs' / 'results' / 'support.json'


def test_every_folder_has_a_config():
    assert set(folders()) == {path.parent.name for path in CONFIGS.glob('*/*.py')} - {'_base_'}
    for folder in folders():
        assert chosen_config(folder).is_file()


def test_only_sizes_change_in_a_small_config():
    config = small_config(chosen_config('faster_rcnn'))
    resize = config.test_dataloader.dataset.pipeline[1]
    assert (resize.scale, resize.keep_ratio) == ((SIZE, SIZE), False)
    assert config.model.test_cfg.rpn.max_per_img < 1000
    assert config.model.train_cfg.rpn_proposal.max_per_img == 1000


def generate(how):
    yield 1
    if how == 'crash':
        os.abort()
    if how == 'hang':
        time.sleep(60)
    if how == 'memory':
        bytearray(2 << 30)
    yield 2


@pytest.mark.parametrize(
    ('how', 'values', 'reason'),
    [
        ('good', [1, 2], None),
        ('crash', [1], 'signal 6'),
        ('hang', [1], 'more than 1 s'),
        ('memory', [1], 'status 1'),
    ],
)
def test_what_a_process_found_before_it_died_is_kept(how, values, reason):
    found, ended = isolated(generate, how, seconds=1, gigabytes=1)
    assert found == values
    assert ended is None if reason is None else reason in ended


def test_a_config_that_works_and_one_that_does_not():
    steps = run(chosen_config('ssd'))
    builds, swaps = next(steps), next(steps)
    assert builds['found']['equal_weights']
    assert builds['found']['swapped_by_config'] == swaps['found']['swapped'] > 20
    assert swaps['found']['shapes_equal']
    assert swaps['found']['zeros_bit_equal']
    assert swaps['found']['values_changed']
    (only,) = run(chosen_config('common'))
    assert 'has no model' in only['refused']


def test_the_page_has_a_verdict_the_reasons_and_every_row():
    results = json.loads(RESULTS.read_text())
    page = document(results)
    for name, row in results['folders'].items():
        assert f'| {name} | {row["config"].removesuffix(".py")} |' in page
        assert set(row['steps']) <= set(STEPS)
    assert page.index('## Verdict') < page.index('## Why not') < page.index('## All folders')
    built = sum('found' in row['steps']['builds'] for row in results['folders'].values())
    assert f'{built} of {len(results["folders"])} folders build' in page


def test_the_page_is_that_of_the_results():
    page = RESULTS.parents[1] / 'SUPPORT.md'
    assert page.read_text() == document(json.loads(RESULTS.read_text()))
