"""The examples of README and docs run as they stand, and their links lead somewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from mmdet.apis import init_detector
from torch import nn

from mindpad_mm.testing.small import CLASSES
from tests.border.toys import noise_photo
from tests.processes import run_python

ROOT = Path(__file__).resolve().parents[1]


PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]


def blocks_of(page):
    return re.findall(r'```python\n(.*?)```', (ROOT / page).read_text('utf-8'), re.DOTALL)


def run_example(page, call, files, folder, change=('', '')):
    """Run a page's example with a call, on a small detector's files."""
    (example,) = [block for block in blocks_of(page) if call in block]
    assert change[0] in example
    example = example.replace(*change)
    shutil.copy(files / 'config.py', folder / 'my_config.py')
    weights = torch.load(files / 'weights.pth')
    # As a training by MMEngine leaves it.
    weights['meta'] = {'dataset_meta': {'classes': CLASSES}}
    torch.save(weights, folder / 'my_checkpoint.pth')
    return run_python(example, folder)


def test_the_scan_in_python_runs_as_its_page_says(files, tmp_path):
    shutil.copy(files / 'photo.png', tmp_path / 'street.jpg')
    shutil.copy(files / 'light.png', tmp_path / 'light.png')
    printed = run_example('docs/SCAN.md', 'blindspot_scan(model', files, tmp_path)
    assert "'traffic light' at" in printed or 'flagged' in printed


@pytest.mark.parametrize('page', ['README.md', 'docs/BORDER.md'])
def test_the_border_loss_in_python_runs_as_the_page_says(page, files, tmp_path):
    (tmp_path / 'photos').mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / 'photos' / f'{number}.png'), noise_photo(150, 160, number))
    # The small detector is untrained and sees 96 pixels.
    small = ('minutes=5', 'minutes=0, found_thr=0.02, far=16, distances=0')
    printed = run_example(page, 'border_loss(model', files, tmp_path, small)
    assert 'Within 16 px of the border this detector' in printed


def test_the_readmes_config_swaps_the_padding(files, tmp_path):
    shutil.copy(files / 'config.py', tmp_path / 'my_config.py')
    (example,) = [block for block in blocks_of('README.md') if 'padding_cfg' in block]
    (tmp_path / 'swapped.py').write_text(example)
    model = init_detector(str(tmp_path / 'swapped.py'), None, device='cpu', palette='random')
    padded = [m for m in model.backbone.modules() if isinstance(m, nn.Conv2d) and any(m.padding)]
    assert padded
    assert {layer.padding_mode for layer in padded} == {'circular'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for link in re.findall(r'\]\((?!https?:)([^)\s]+)\)', page.read_text('utf-8')):
        path, _, heading = link.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), link
        if heading:
            titles = re.findall(r'(?m)^#+ (.*)$', file.read_text('utf-8'))
            anchors = {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}
            assert heading in anchors, link
