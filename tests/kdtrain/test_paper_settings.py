"""Which published settings a pair tries first."""

from __future__ import annotations

import pytest

from kdtrain.method import load_method
from kdtrain.paper_settings import plain_name


def _first(method: str, data: str, teacher: str | None, student: str) -> dict:
    return load_method(method).list_paper_settings(data=data, teacher=teacher, student=student)[0]


@pytest.mark.parametrize(("teacher", "student", "beta"), [
    # megvii-research/mdistiller: configs/cifar100/dkd/*.yaml; where they say nothing, engine/cfg.py
    ("resnet56", "resnet20", 2.0),
    ("resnet110", "resnet32", 2.0),
    ("vgg13", "vgg8", 6.0),
    ("vgg13", "MobileNetV2", 6.0),
    ("wrn_40_2", "wrn_16_2", 6.0),
    ("wrn_40_2", "wrn_40_1", 6.0),
    ("resnet32x4", "resnet8x4", 8.0),
    ("resnet32x4", "ShuffleV1", 8.0),
    ("resnet32x4", "ShuffleV2", 8.0),
    ("ResNet50", "MobileNetV2", 8.0),
    ("wrn_40_2", "ShuffleV1", 8.0),
])
def test_dkd_begins_on_cifar100_with_the_published_weight_of_the_pair(teacher, student, beta):
    assert _first("dkd", "cifar100", teacher, student) == {"temperature": 4.0, "beta": beta}


@pytest.mark.parametrize(("teacher", "student", "beta"), [
    # the same: configs/imagenet/*/dkd.yaml
    ("torchvision/resnet34", "torchvision/resnet18", 0.5),
    ("torchvision/resnet50", "MobileNetV1", 2.0),
    ("timm/resnet50", "torchvision/mobilenet_v2", 2.0),
])
def test_dkd_begins_on_imagenet_with_the_published_weight_of_the_pair(teacher, student, beta):
    assert _first("dkd", "imagenet", teacher, student) == {"temperature": 1.0, "beta": beta}


def test_a_pair_of_one_data_set_says_nothing_of_another():
    assert _first("dkd", "cifar10", "resnet56", "resnet20") == {"temperature": 4.0, "beta": 8.0}


@pytest.mark.parametrize(("method", "cifar", "imagenet"), [
    ("kd", {"temperature": 4.0, "weight": 0.9}, {"temperature": 1.0, "weight": 0.5}),
    ("nkd", {"temperature": 3.0, "gamma": 3.5}, {"temperature": 1.0, "gamma": 1.5}),
    ("wsld", {"temperature": 4.0, "weight": 2.25}, {"temperature": 2.0, "weight": 2.5}),
    ("dist", {"temperature": 4.0, "beta": 2.0, "gamma": 2.0}, {"temperature": 1.0, "beta": 2.0, "gamma": 2.0}),
    ("uskd", {"alpha": 0.1, "beta": 0.1, "mu": 0.1}, {"alpha": 1.0, "beta": 0.1, "mu": 0.005}),
    ("ctkd", {"label_weight": 0.1, "weight": 0.9, "curriculum_epochs": 10},
     {"label_weight": 1.0, "weight": 1.0, "curriculum_epochs": 5}),
])
def test_the_setting_of_the_data_comes_first_and_the_other_next(method, cifar, imagenet):
    settings = load_method(method).list_paper_settings
    pair = {"teacher": "ResNet34", "student": "ResNet18"}
    assert settings(data="cifar100", **pair) == [cifar, imagenet]
    assert settings(data="imagenet", **pair) == [imagenet, cifar]
    assert settings(data="digits", **pair) == load_method(method).paper_settings


@pytest.mark.parametrize(("student", "setting"), [
    ("ResNet18", {"temperature": 20.0, "weight": 0.1, "multiplier": 1.0}),
    ("MobileNetV2", {"temperature": 40.0, "weight": 0.95, "multiplier": 0.01}),
    ("ShuffleV2", {"temperature": 10.0, "weight": 0.95, "multiplier": 0.01}),
])
def test_tf_kd_begins_with_the_setting_of_the_student(student, setting):
    assert _first("tf_kd", "cifar100", None, student) == setting


@pytest.mark.parametrize(("model", "plain"), [
    ("wrn_40_2(width=16)", "wrn402"),
    ("torchvision/mobilenet_v2(weights=IMAGENET1K_V1)", "mobilenetv2"),
    (" ResNet34 ", "resnet34"),
    ("my.models:Best_Net", "my.models:bestnet"),
    (None, ""),
])
def test_names_of_models_are_compared_without_folder_options_case_and_underscores(model, plain):
    assert plain_name(model) == plain
