"""A subject runs a network exactly as its own framework does."""

from __future__ import annotations

import mindpad_mm  # noqa: F401  # isort: skip  # first, so that MMDetection imports on mmcv-lite

import numpy as np
import pytest
import torch
from torchvision.models import ResNet18_Weights

from mindpad_mm.core.errors import UserError
from mindpad_mm.diagnose import Subject
from mindpad_mm.diagnose.tracing import ShapeRunner
from mindpad_mm.padding.layers import mode_of
from mindpad_mm.zoo import model_files


@pytest.fixture(scope='module')
def zoo():
    config, checkpoint = model_files('zeros')
    return Subject.load(str(config), str(checkpoint))


def pictures(size, count=2):
    return list(np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8))


def test_a_detectors_input_and_head_outputs_are_those_of_mmdetection(zoo):
    assert zoo.input_size == (256, 256)
    images = pictures(zoo.input_size)
    inputs = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    expected = zoo.model.data_preprocessor({'inputs': inputs})['inputs']
    batch = zoo.preprocess(images)
    torch.testing.assert_close(batch, expected, rtol=0, atol=0)
    # The same memory format, so that sums are rounded in the same order.
    expected = expected.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for ours, theirs in zip(zoo.dense(batch), zoo.model(expected, mode='tensor')):
            for a, b in zip(ours, theirs):
                torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_classifiers_input_is_torchvisions_own_preset():
    subject = Subject.load('torchvision:resnet18')
    image = pictures((224, 224), 1)[0]
    preset = ResNet18_Weights.IMAGENET1K_V1.transforms(crop_size=224, resize_size=224)
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
    torch.testing.assert_close(subject.preprocess([image])[0], preset(rgb), rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_same_every_time():
    one, two = (Subject.load('torchvision:resnet18').model.state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_padded_copy_leaves_the_network_alone(zoo):
    reflect = zoo.padded_by('reflect')
    assert mode_of(reflect.model.backbone.conv1) == 'reflect'
    assert mode_of(zoo.model.backbone.conv1) == 'zeros'
    assert torch.equal(reflect.model.backbone.conv1.weight, zoo.model.backbone.conv1.weight)


def test_a_misspelt_classifier_is_one_clear_line():
    with pytest.raises(UserError, match=r"no classifier 'resnet81'.*resnet18"):
        Subject.load('torchvision:resnet81')


def test_a_mode_is_tried_without_a_second_copy_of_the_weights(zoo):
    ours, theirs = zoo.model.backbone.conv1, zoo.padded_by('reflect').model.backbone.conv1
    assert theirs is not ours
    assert theirs.weight.data_ptr() == ours.weight.data_ptr()


@pytest.mark.parametrize(
    ('config', 'last'),
    [
        ('detr/detr_r18_8xb2-500e_coco.py', 'neck.convs.0'),
        ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', 'neck'),
    ],
)
def test_heads_that_are_not_dense_are_not_run(config, last, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(f"_base_ = 'mmdet::{config}'")
    subject = Subject.load(str(path), input_size=(96, 128))
    names = [slide.layer for slide in ShapeRunner(subject).run(subject.input_size).slides]
    assert names[0] == 'backbone.conv1'
    assert names[-1].startswith(last)
