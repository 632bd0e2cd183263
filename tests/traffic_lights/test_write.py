from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mindpad_mm.core.drawing import draw_light, draw_street
from mindpad_mm.core.errors import UserError
from mindpad_mm.traffic_lights.dataset import Recipe
from mindpad_mm.traffic_lights.write import make_traffic_lights

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / 'shared' / 'data'
SMALL = Recipe(num_train=8, num_val=4, size=64)


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob('*') if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def pictures(tmp_path):
    """Five photos, one of them annotated with a traffic light, and six crops."""
    photos, lights = tmp_path / 'coco' / 'images', tmp_path / 'lights'
    photos.mkdir(parents=True)
    for k in range(5):
        cv2.imwrite(str(photos / f'{k}.png'), draw_street(70, 90, k))
    for k in range(6):
        colour = ('red', 'green')[k % 2]
        (lights / colour).mkdir(parents=True, exist_ok=True)
        # The file names are the same for both colours; only the paths differ.
        cv2.imwrite(str(lights / colour / f'{k // 2}.png'), draw_light(40, colour, k))
    coco = {
        'images': [{'id': 9, 'file_name': '3.png'}, {'id': 8, 'file_name': '2.png'}],
        'annotations': [{'image_id': 9, 'category_id': 10}, {'image_id': 8, 'category_id': 1}],
        'categories': [{'id': 10, 'name': 'traffic light'}, {'id': 1, 'name': 'person'}],
    }
    (tmp_path / 'coco' / 'annotations').mkdir()
    (tmp_path / 'coco' / 'annotations' / 'instances.json').write_text(json.dumps(coco))
    return {'photos': photos, 'lights': lights}


def test_same_seed_same_bytes_and_another_seed_other_images(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        make_traffic_lights(tmp_path / name, Recipe(num_train=5, num_val=2, size=64, seed=seed))
    a, b, c = (contents(tmp_path / name) for name in 'abc')
    assert len(a) == 5 + 2 + 2 + 1
    assert a == b
    assert all(a[name] != c[name] for name in a)


def test_pycocotools_loads_both_splits_and_every_box_lies_inside_its_image(tmp_path):
    meta = make_traffic_lights(tmp_path / 'out', SMALL)
    for split, number in (('train', 8), ('val', 4)):
        coco = COCO(str(tmp_path / 'out' / 'annotations' / f'{split}.json'))
        assert coco.loadCats(coco.getCatIds())[0]['name'] == 'traffic light'
        assert len(coco.imgs) == number == meta['counts'][split]['images']
        assert len(coco.anns) == meta['counts'][split]['lights'] > 0
        for image in coco.imgs.values():
            picture = cv2.imread(str(tmp_path / 'out' / split / image['file_name']))
            assert picture.shape == (image['height'], image['width'], 3)
        for ann in coco.anns.values():
            mask = coco.annToMask(ann)
            ys, xs = np.nonzero(mask)
            assert ann['bbox'] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert ann['area'] == mask.sum()


def test_no_photo_and_no_crop_is_in_both_splits_and_photos_with_lights_are_left_out(
    tmp_path, pictures
):
    recipe = Recipe(num_train=30, num_val=30, size=48)
    meta = make_traffic_lights(tmp_path / 'out', recipe, **pictures, val_photos=['1.png', '3.png'])
    assert meta == json.loads((tmp_path / 'out' / 'meta.json').read_text())
    assert meta['skipped_photos'] == ['3.png']
    used = {}
    for split in ('train', 'val'):
        coco = json.loads((tmp_path / 'out' / 'annotations' / f'{split}.json').read_text())
        used[split] = {i['photo'] for i in coco['images']} | {
            a['crop'] for a in coco['annotations']
        }
        assert used[split] == set(meta['photos'][split]) | set(meta['lights'][split])
    assert not used['train'] & used['val']
    assert '1.png' in used['val']
    assert '3.png' not in used['train'] | used['val']


@pytest.mark.parametrize('given', ['photos', 'lights'])
def test_photos_and_lights_may_each_be_given_without_the_other(tmp_path, pictures, given):
    meta = make_traffic_lights(tmp_path / 'out', SMALL, **{given: pictures[given]})
    assert meta[given]['train']
    assert meta[{'photos': 'lights', 'lights': 'photos'}[given]] is None


def test_an_existing_folder_is_only_replaced_on_demand_and_only_if_it_is_such_a_set(tmp_path):
    out = tmp_path / 'out'
    make_traffic_lights(out, SMALL)
    before = contents(out)
    with pytest.raises(UserError, match='`overwrite`'):
        make_traffic_lights(out, SMALL)
    assert contents(out) == before
    make_traffic_lights(out, Recipe(num_train=2, num_val=1, size=64), overwrite=True)
    assert len(contents(out)) == 2 + 1 + 2 + 1
    foreign = tmp_path / 'foreign'
    (foreign / 'train').mkdir(parents=True)
    (foreign / 'train' / 'mine.txt').write_text('mine')
    with pytest.raises(UserError, match='not a set made by this tool'):
        make_traffic_lights(foreign, SMALL, overwrite=True)
    assert (foreign / 'train' / 'mine.txt').read_text() == 'mine'


def test_bad_input_is_named(tmp_path, pictures):
    def fails(match: str, **arguments) -> None:
        with pytest.raises(UserError, match=match) as caught:
            make_traffic_lights(**{'out': tmp_path / 'out', 'recipe': SMALL, **arguments})
        assert '\n' not in str(caught.value)
        assert not (tmp_path / 'out').exists()

    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('x')
    fails('no such folder', photos=tmp_path / 'nowhere')
    fails('no image', lights=tmp_path / 'empty')
    fails('is a file', out=tmp_path / 'file')
    fails('cannot be written', out=tmp_path / 'file' / 'out')
    fails('not JSON', photos=pictures['photos'], photo_annotations=tmp_path / 'file')
    fails('No such file', photos=pictures['photos'], photo_annotations=tmp_path / 'gone.json')
    fails('no such photo', photos=pictures['photos'], val_photos=['gone.png'])
    fails('needs `photos`', val_photos=['3.png'])
    (pictures['photos'] / 'broken.jpg').write_bytes(b'\xff\xd8 not a picture')
    fails('broken.jpg', photos=pictures['photos'])
    (pictures['photos'] / 'broken.jpg').unlink()
    cv2.imwrite(str(pictures['lights'] / 'glass.png'), np.zeros((9, 9, 4), np.uint8))
    fails('fully transparent', lights=pictures['lights'])
    (tmp_path / 'one').mkdir()
    cv2.imwrite(str(tmp_path / 'one' / 'only.png'), draw_street(40, 40, 0))
    fails('too few', photos=tmp_path / 'one')


def test_the_tool_needs_no_files_and_reports_bad_input_in_one_line(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / 'tools' / 'make_traffic_lights.py'), *arguments]
        environment = {'PYTHONPATH': str(ROOT), 'PATH': ''}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    options = ('--out', str(tmp_path / 'out'), '--num-images', '4', '--size', '48')
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert 'val: 1 images' in done.stdout
    assert len(list((tmp_path / 'out' / 'train').iterdir())) == 4
    again = run(*options)
    assert again.returncode == 2
    assert again.stderr.count('\n') == 1
    assert again.stderr.startswith('error: --out')


@pytest.mark.skipif(not SHARED.is_dir(), reason='needs ../shared/data (real photos and crops)')
def test_real_crops_on_real_photos_leave_out_the_photos_with_lights(tmp_path):
    photos, lights = SHARED / 'coco96' / 'images', SHARED / 'traffic_lights'
    meta = make_traffic_lights(tmp_path / 'out', SMALL, photos=photos, lights=lights)
    assert len(meta['skipped_photos']) == 3
    assert len(meta['photos']['train']) + len(meta['photos']['val']) == 93
    assert len(meta['lights']['train']) + len(meta['lights']['val']) == 600


@pytest.mark.parametrize('what', ['photos', 'lights'])
def test_a_truncated_image_is_refused_and_not_filled_with_grey(tmp_path, pictures, what):
    file = sorted(pictures[what].rglob('*.png'))[0].with_name('torn.jpg')
    cv2.imwrite(str(file), draw_street(70, 90, 7))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert cv2.imread(str(file)) is not None
    with pytest.raises(UserError, match=r"torn\.jpg' is not a readable image"):
        make_traffic_lights(tmp_path / 'out', SMALL, **pictures)
