"""Compare measures what MMDetection's test measures, on whatever data set and evaluator it tests."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.loading import load_config
from mindpad_mm.evaluation import evaluate
from mindpad_mm.evaluation.compare import compare
from mindpad_mm.evaluation.entries import Run
from mindpad_mm.evaluation.ground_truth import TestSet, check_pairing, paired_categories
from mindpad_mm.report.comparison_page import comparison_tables
from mindpad_mm.settings.compare import CompareSettings
from tests.evaluation.known_objects import (
    CLASSES,
    HEIGHT,
    IMAGES,
    WIDTH,
    as_coco,
    config_text,
    draw_set,
    write_voc,
)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = draw_set(tmp_path_factory.mktemp('known') / 'set')
    write_voc(folder)
    return folder


@pytest.fixture
def folder(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / 'set', symlinks=True)
    return tmp_path / 'set'


def dump(folder, content, name='coco.json'):
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def sorted_by_name(content):
    content['categories'].sort(key=lambda category: category['name'])
    return content


def coco(folder, **options):
    return dict(type='CocoMetric', ann_file=str(folder / 'coco.json'), **options)


def _plain(folder):
    return {}, dict(type='CocoDataset'), coco(folder)


def _no_ann_file(folder):
    return {}, dict(type='CocoDataset'), dict(type='CocoMetric')


def _sorted_categories(folder):
    dump(folder, sorted_by_name(as_coco(folder)))
    return {}, dict(type='Objects365V1Dataset'), coco(folder, sort_categories=True)


def _evaluator_with_its_own_file(folder):
    other = dump(folder, as_coco(folder), 'other.json')
    dump(folder, sorted_by_name(as_coco(folder)))
    return {}, dict(type='CocoDataset'), dict(type='CocoMetric', ann_file=other)


def _ignored_image(folder):
    content = as_coco(folder)
    # The data set leaves this image out, the file has it.
    content['images'][0]['file_name'] = 'patch16/objects365_v2_00908726.jpg'
    for image in content['images'][1:]:
        image['file_name'] = f'images/{image["file_name"]}'
    dump(folder, content)
    dataset = dict(type='Objects365V2Dataset', data_prefix=dict(img=''))
    return {}, dataset, coco(folder)


def _voc(folder):
    dataset = dict(
        type='XMLDataset',
        ann_file='voc/names.txt',
        ann_subdir='Annotations',
        img_subdir='JPEGImages',
        data_prefix=dict(sub_data_root='voc/'),
    )
    return {}, dataset, dict(type='CocoMetric')


def _concatenated(folder):
    content = as_coco(folder)
    for name, chosen in (('a.json', content['images'][:5]), ('b.json', content['images'][5:])):
        ids = {image['id'] for image in chosen}
        part = [entry for entry in content['annotations'] if entry['image_id'] in ids]
        dump(folder, {**content, 'images': chosen, 'annotations': part}, name)
    parts = [dict(type='CocoDataset', ann_file=name) for name in ('a.json', 'b.json')]
    return {}, dict(type='ConcatDataset', datasets=parts), coco(folder)


def _repeated(folder):
    dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='CocoDataset'))
    return {}, dataset, coco(folder)


def _indices(folder):
    return {}, dict(type='CocoDataset', indices=[1, 3, 4, 8]), coco(folder)


def _indices_without_ann_file(folder):
    return {}, dict(type='CocoDataset', indices=5), dict(type='CocoMetric')


def _list_of_evaluators(folder):
    rest = dict(type='DumpDetResults', out_file_path=str(folder / 'found.pkl'))
    return {}, dict(type='CocoDataset'), [coco(folder), rest]


def _spatial(folder):
    return {}, dict(type='DeepFashionDataset'), {**coco(folder), 'type': 'SpatialCocoMetric'}


def _other_thresholds(folder):
    evaluator = coco(folder, iou_thrs=[0.3, 0.5, 0.75], proposal_nums=(2, 100, 4))
    return {}, dict(type='CocoDataset'), evaluator


def _classwise(folder):
    return {}, dict(type='CocoDataset'), coco(folder, classwise=True, proposal_nums=(100, 300, 2))


def _fewer_classes(folder):
    classes = ('train', 'car')
    dataset = dict(type='CocoDataset', metainfo=dict(classes=classes))
    return {'classes': classes}, dataset, coco(folder)


def _ids_from_zero(folder):
    dump(folder, as_coco(folder, first_id=0))
    return {}, dict(type='CocoDataset'), coco(folder)


def _half_precision(folder):
    return {'fp16': True}, dict(type='CocoDataset'), coco(folder)


CASES = [
    _plain, _no_ann_file, _sorted_categories, _evaluator_with_its_own_file, _ignored_image, _voc,
    _concatenated, _repeated, _indices, _indices_without_ann_file, _list_of_evaluators, _spatial,
    _other_thresholds, _classwise, _fewer_classes, _ids_from_zero, _half_precision,
]  # fmt: skip


def write_config(folder, case):
    options, dataset, evaluator = case(folder)
    config = folder / 'config.py'
    config.write_text(config_text(folder, dataset, evaluator, **options))
    return config


def both(folder, case):
    config = write_config(folder, case)
    run = Run(str(config), str(folder / 'weights.pth'), 'known')
    compared = compare([run], folder / 'out', CompareSettings(draws=1))
    return compared, evaluate(config, folder / 'weights.pth', folder / 'work')


@pytest.mark.parametrize('case', CASES)
def test_compare_and_test_agree_to_the_digit(folder, case):
    compared, tested = both(folder, case)
    found = compared.reference.metrics
    assert found['mAP'].value > 0.2
    shared = [name for name in found if f'coco/bbox_{name}' in tested]
    shared += [name for name in found if f'coco/{name}' in tested]
    assert {'mAP', 'mAP_50', 'mAP_75'} <= set(shared)
    for name in shared:
        theirs = tested.get(f'coco/bbox_{name}', tested.get(f'coco/{name}'))
        ours = -1 if found[name].value is None else found[name].value
        assert abs(ours - theirs) <= 0.0005 + 1e-9, name
    if case is _classwise:
        assert {f'{name}_precision' for name in CLASSES} <= set(shared)
        shown = ' '.join(map(str, comparison_tables(compared)))
        assert all(name in shown for name in CLASSES)


def test_every_way_to_write_one_set_gives_the_same_figure(folder):
    ways = (_plain, _no_ann_file, _sorted_categories, _concatenated, _ids_from_zero)
    values = []
    for way in ways:
        copy = folder.parent / way.__name__
        shutil.copytree(folder, copy, symlinks=True)
        values.append(both(copy, way)[0].reference.metrics['mAP'].value)
    assert len(set(values)) == 1


def test_images_that_were_not_tested_count_neither_in_compare_nor_in_test(folder):
    compared, tested = both(folder, _indices)
    assert compared.test_set.images == 4
    # All objects are found, so precision falls only by the boxes that are none.
    whole = both(folder, _plain)[1]['coco/bbox_mAP_50']
    assert tested['coco/bbox_mAP_50'] > 0.8 * whole


def test_categories_in_another_order_than_the_classes_are_refused_by_all(folder):
    # MMDetection pairs by order, and the file's order is that of other classes.
    dump(folder, sorted_by_name(as_coco(folder)))
    config = write_config(folder, _plain)
    run = Run(str(config), str(folder / 'weights.pth'))
    message = "'train' as 'bus'.* same order; test_evaluator.sort_categories=True does so"
    for call in (
        lambda: compare([run], folder / 'out'),
        lambda: evaluate(config, run.checkpoint, folder / 'work'),
        lambda: check_pairing(load_config(str(config))),
    ):
        with pytest.raises(UserError, match=message):
            call()
    with pytest.raises(UserError, match='same order'):
        TestSet.of(load_config(str(write_config(folder, _no_ann_file))))


@given(order=st.permutations(range(5)), ids=st.permutations(range(5)), data=st.data())
@settings(deadline=None)
def test_classes_are_paired_by_name_or_not_at_all(order, ids, data):
    names = [f'class {index}' for index in range(5)]
    listed = [{'id': ids[index], 'name': names[index]} for index in order]
    classes = data.draw(st.lists(st.sampled_from([*names, 'other']), min_size=1, max_size=5))
    try:
        found = paired_categories(listed, classes, 'file.json')
    except UserError:
        positions = [order.index(names.index(c)) for c in classes if c in names]
        assert 'other' in classes or positions != sorted(set(positions))
        return
    by_id = {category['id']: category['name'] for category in listed}
    assert [by_id[cat_id] for cat_id in found] == classes


REFUSED = {
    'VOCMetric': (dict(type='VOCMetric'), 'evaluated by VOCMetric, but exactly one CocoMetric'),
    'two': ([dict(type='CocoMetric')] * 2, 'by CocoMetric, CocoMetric, but exactly one'),
    'unknown': (dict(type='NoMetric'), 'by NoMetric, but'),
    'option': (dict(type='CocoMetric', clas_wise=True), 'clas_wise'),
    'mAP at 100': (dict(type='CocoMetric', proposal_nums=(1, 10, 300)), 'lacks 100'),
    'LVIS': (dict(type='LVISMetric'), 'by LVISMetric, but'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_evaluators_that_compute_something_else_are_refused(folder, case):
    evaluator, message = REFUSED[case]
    config = write_config(folder, lambda _: ({}, dict(type='CocoDataset'), evaluator))
    with pytest.raises(UserError, match=message):
        TestSet.of(load_config(str(config)))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content['categories'].append({'id': 7, 'name': 'car'}), "two .* 'car'"),
        (lambda content: content['categories'].pop(), "no category 'car' .1 of the"),
        (lambda content: content['categories'].clear(), 'none of the classes'),
    ],
)
def test_ambiguous_categories_are_refused(folder, change, message):
    content = as_coco(folder)
    change(content)
    dump(folder, content)
    config = write_config(folder, _plain)
    with pytest.raises(UserError, match=message):
        TestSet.of(load_config(str(config)))
    with pytest.raises(UserError, match=message):
        check_pairing(load_config(str(config)))


def _image_gone(content):
    removed = content['images'].pop()['id']
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != removed]


def _image_renamed(content):
    content['images'][3]['file_name'] = 'else/003.png'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (_image_gone, f'loads image {IMAGES}, which is not'),
        (_image_renamed, r'image 4 .* is 003\.jpg, but 003\.png'),
    ],
)
def test_images_that_the_evaluator_does_not_know_are_refused(folder, change, message):
    content = as_coco(folder)
    change(content)
    evaluator = dict(type='CocoMetric', ann_file=dump(folder, content, 'other.json'))
    config = write_config(folder, lambda _: ({}, dict(type='CocoDataset'), evaluator))
    with pytest.raises(UserError, match=message):
        TestSet.of(load_config(str(config)))


@pytest.mark.parametrize('all_images', [True, False])
def test_sizes_that_the_photos_do_not_have_are_refused(folder, all_images):
    # mAP does not depend on them, but the regions do.
    content = as_coco(folder)
    for image in content['images'][: None if all_images else 1]:
        image['width'], image['height'] = image['height'], image['width']
    dump(folder, content)
    config = write_config(folder, _spatial)
    run = Run(str(config), str(folder / 'weights.pth'))
    message = r'image 1 \(000\.jpg\) has 80 x 60 pixels, but .* say 60 x 80'
    with pytest.raises(UserError, match=message):
        compare([run], folder / 'out')
    with pytest.raises(UserError, match=message):
        evaluate(config, run.checkpoint, folder / 'work')


VALUES = (None, math.nan, math.inf, -1, 0, 1, 1e308, '5', [], {}, True, 10**400, 1.5)


@pytest.mark.parametrize('value', VALUES, ids=[repr(value)[:9] for value in VALUES])
def test_a_changed_fact_is_one_line_or_compare_and_test_still_agree(folder, value):
    agreed = []
    keys = [(part, key) for part, entries in as_coco(folder).items() for key in entries[0]]
    for part, key in [*keys, ('annotations', 0), ('annotations', 2)]:
        content = as_coco(folder)
        if isinstance(key, int):
            content[part][7]['bbox'][key] = value
        else:
            content[part][7 if part == 'annotations' else 1][key] = value
        dump(folder, content)
        config = write_config(folder, _plain)
        run = Run(str(config), str(folder / 'weights.pth'))
        try:
            ours = compare([run], folder / 'out', CompareSettings(draws=1)).reference.metrics['mAP']
        except UserError:
            continue
        theirs = evaluate(config, run.checkpoint, folder / 'work')['coco/bbox_mAP']
        assert abs(ours.value - theirs) <= 0.0005 + 1e-9, (part, key)
        agreed.append((part, key))
    assert not {('images', key) for key in ('id', 'file_name', 'width', 'height')} & set(agreed)


def test_masks_are_checked_where_a_test_reads_them(folder):
    content = as_coco(folder)
    for entry in content['annotations']:
        entry['segmentation'] = {'size': [HEIGHT, WIDTH], 'counts': [5, 7]}
    dump(folder, content)
    TestSet.of(load_config(str(write_config(folder, _plain))))  # boxes alone

    def masks(folder):
        return {}, dict(type='CocoDataset'), coco(folder, metric=['bbox', 'segm'])

    config = load_config(str(write_config(folder, masks)))
    for call in (TestSet.of, check_pairing):
        with pytest.raises(UserError, match=r'annotations\[0\] of .* run lengths of 12 pixels'):
            call(config)
