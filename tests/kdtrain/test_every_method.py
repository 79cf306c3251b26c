"""The law that every file of kdtrain/methods obeys. A new method is picked up by its name; nothing is registered."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import re
import sys

import pytest
import torch
from torch import Tensor, nn

from kdtrain.method import Batch, Distillation, Outputs, build_method, list_methods, load_method
from kdtrain.model import build_model
from tests.kdtrain.batches import STUDENT, draw_batch, make_cards, with_student_logits

# The gradient of these is not the derivative of their value, by definition; each has a test of its own.
STOPPED_GRADIENT = {
    "tf_nkd": "test_the_gradient_of_tf_nkd_takes_the_student_s_confidence_as_given",
    "uskd": "test_the_gradient_of_uskd_takes_its_soft_labels_as_given",
    "wsld": "test_the_gradient_of_wsld_takes_the_weights_as_given",
}
PAIRS = [
    ("digits", "resnet14", "resnet8(width=4)"),
    ("cifar10", "resnet32x4", "resnet8x4"),
    ("cifar100", "resnet56", "resnet20"),
    ("cifar100", "wrn_40_2(width=16)", "wrn_16_2"),
    ("cifar100", "ResNet34", "ResNet18"),
    ("cifar100", "vgg13", "MobileNetV2"),
    ("imagenet", "torchvision/resnet34", "torchvision/resnet18"),
    ("imagenet", "torchvision/resnet50", "MobileNetV1"),
    ("folder/photographs", "package.module:teacher", "package.module:student"),
]


def _ends(bounds: dict) -> tuple:
    """First and last value of a range."""
    (values,) = bounds.values()
    return values[0], values[-1]


def _settings_to_try() -> list:
    """Each method at its defaults, at the paper's settings and at both ends of its search space."""
    found = []
    for name in list_methods():
        method = load_method(name)
        ends = [{key: _ends(bounds)[end] for key, bounds in method.search_space.items()} for end in (0, 1)]
        tried = {json.dumps(settings): settings for settings in ({}, *method.paper_settings, *ends)}
        found += [pytest.param(name, settings, id=f"{name}-{text}") for text, settings in tried.items()]
    return found


every_method = pytest.mark.parametrize("name", list_methods())
every_setting = pytest.mark.parametrize(("name", "settings"), _settings_to_try())


def _build(name: str, settings: dict, num_classes: int = 5,
           dtype: torch.dtype = torch.float32) -> tuple[Distillation, nn.Module | None]:
    method = build_method(name, settings)
    student, teacher = make_cards(num_classes)
    torch.manual_seed(0)
    own = method.build(student, teacher if method.needs.teacher_logits else None, num_classes, num_images=100)
    return method, None if own is None else own.to(dtype)


def _ask(method: Distillation, batch: Batch, own: nn.Module | None) -> dict[str, Tensor]:
    """The terms, from a copy of what the method has of its own: some remember what they were asked."""
    return method(batch, copy.deepcopy(own))


def _total(terms: dict[str, Tensor]) -> Tensor:
    return sum(term.sum() for term in terms.values())


def _require_gradient(batch: Batch) -> Batch:
    return with_student_logits(batch, batch.student.logits_BC.clone().requires_grad_())


@every_setting
def test_terms_are_finite_float32_per_sample_or_single(name, settings):
    method, own = _build(name, settings)
    terms = method(draw_batch(method.needs, count=6), own)
    assert terms
    for term in terms.values():
        assert term.dtype == torch.float32
        assert term.shape in {(6,), ()}
        assert term.isfinite().all()


@every_setting
def test_something_pulls_on_the_student(name, settings):
    method, own = _build(name, settings)
    batch = _require_gradient(draw_batch(method.needs))
    _total(method(batch, own)).backward()
    assert batch.student.logits_BC.grad.abs().sum() > 0


@every_method
def test_terms_are_documented_where_they_are_made(name):
    method, own = _build(name, {})
    for term in method(draw_batch(method.needs), own):
        assert f"`{term}`" in load_method(name).__call__.__doc__


@every_method
def test_per_sample_terms_move_with_their_samples_and_single_ones_stay(name):
    method, own = _build(name, {}, dtype=torch.float64)
    batch = draw_batch(method.needs, count=6, dtype=torch.float64)
    order_B = torch.tensor([3, 0, 5, 1, 4, 2])
    before, after = _ask(method, batch, own), _ask(method, _reorder(batch, order_B), own)
    for term, value in before.items():
        torch.testing.assert_close(after[term], value[order_B] if value.ndim else value, rtol=1e-12, atol=1e-12)


def _reorder(batch: Batch, order_B: Tensor) -> Batch:
    def reorder(value: object) -> object:
        if isinstance(value, Tensor):
            return value[order_B]
        if isinstance(value, Outputs):
            maps = {name: map_BDHW[order_B] for name, map_BDHW in value.maps.items()}
            return Outputs(reorder(value.logits_BC), reorder(value.pooled_BD), maps)
        return value

    values = {field.name: reorder(getattr(batch, field.name)) for field in dataclasses.fields(batch)}
    return Batch(**values | {"generator": torch.Generator().manual_seed(0)})


@every_setting
def test_gradients_are_the_derivatives(name, settings):
    if name in STOPPED_GRADIENT:
        module = importlib.import_module(f"tests.kdtrain.test_methods_{name}")
        assert STOPPED_GRADIENT[name] in vars(module)
        return
    method, own = _build(name, settings, dtype=torch.float64)
    batch = draw_batch(method.needs, count=3, dtype=torch.float64)

    def total(logits_BC: Tensor) -> Tensor:
        return _total(_ask(method, with_student_logits(batch, logits_BC), own))

    assert torch.autograd.gradcheck(total, batch.student.logits_BC.clone().requires_grad_(), rtol=1e-4, atol=1e-6)


@every_setting
def test_no_gradient_reaches_the_teacher(name, settings):
    method, own = _build(name, settings)
    batch = _require_gradient(draw_batch(method.needs))
    if batch.teacher is None:
        return
    seen = [batch.teacher.logits_BC, *batch.teacher.maps.values()]
    seen += [] if batch.teacher.pooled_BD is None else [batch.teacher.pooled_BD]
    for tensor in seen:
        tensor.requires_grad_()
    _total(method(batch, own)).backward()
    assert all(tensor.grad is None for tensor in seen)


@every_setting
@pytest.mark.parametrize("num_classes", [2, 5])
def test_terms_and_gradients_are_finite_at_huge_logits(name, settings, num_classes):
    method, own = _build(name, settings, num_classes)
    batch = draw_batch(method.needs, count=64, num_classes=num_classes)
    student_BC = torch.where(batch.student.logits_BC > 0, 1e4, -1e4).requires_grad_()
    if batch.teacher is not None:
        batch.teacher.logits_BC.copy_(torch.where(batch.teacher.logits_BC > 0, 1e4, -1e4))
    terms = method(with_student_logits(batch, student_BC), own)
    _total(terms).backward()
    assert all(term.isfinite().all() for term in terms.values())
    assert student_BC.grad.isfinite().all()


@every_setting
def test_two_classes_are_enough(name, settings):
    method, own = _build(name, settings, num_classes=2)
    batch = _require_gradient(draw_batch(method.needs, num_classes=2))
    terms = method(batch, own)
    _total(terms).backward()
    assert all(term.isfinite().all() for term in terms.values())
    assert batch.student.logits_BC.grad.isfinite().all()


@every_setting
def test_a_soft_label_that_is_certain_equals_the_hard_label(name, settings):
    method, own = _build(name, settings, dtype=torch.float64)
    batch = draw_batch(method.needs, num_classes=5, dtype=torch.float64)
    certain_BC = nn.functional.one_hot(batch.label_B, 5).to(torch.float64)
    hard = _ask(method, batch, own)
    mixed = dataclasses.replace(batch, soft_label_BC=certain_BC, generator=torch.Generator().manual_seed(0))
    soft = _ask(method, mixed, own)
    assert hard.keys() == soft.keys()
    for term in hard:
        torch.testing.assert_close(soft[term], hard[term], rtol=1e-12, atol=1e-12)


@every_setting
@pytest.mark.parametrize("mixed", [[[0.6, 0.4], [0.3, 0.7]], [[0.6, 0.4, 0.0], [0.0, 0.3, 0.7]]], ids=["all", "some"])
def test_mixed_labels_give_finite_terms_and_gradients(name, settings, mixed):
    mixed_BC = torch.tensor(mixed)
    method, own = _build(name, settings, num_classes=mixed_BC.shape[1])
    batch = _require_gradient(draw_batch(method.needs, count=2, num_classes=mixed_BC.shape[1]))
    terms = method(dataclasses.replace(batch, soft_label_BC=mixed_BC, label_B=mixed_BC.argmax(1)), own)
    _total(terms).backward()
    assert all(term.isfinite().all() for term in terms.values())
    assert batch.student.logits_BC.grad.isfinite().all()


@every_method
def test_a_recipe_s_label_smoothing_changes_the_label_s_term_alone(name):
    method, own = _build(name, {})
    batch = draw_batch(method.needs)
    plain = _ask(method, batch, own)
    batch = dataclasses.replace(batch, label_smoothing=0.1, generator=torch.Generator().manual_seed(0))
    smoothed = _ask(method, batch, own)
    assert [term for term in plain if not torch.equal(plain[term], smoothed[term])] == ["label"]


@every_method
def test_a_method_is_a_frozen_dataclass_of_json_values(name):
    method = build_method(name, {})
    settings = dataclasses.asdict(method)
    assert all(isinstance(value, float | int | str) for value in settings.values())
    assert build_method(name, json.loads(json.dumps(settings))) == method
    for field in settings:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, field, 1)


@every_method
def test_the_search_space_names_settings_and_holds_the_paper_s(name):
    method = load_method(name)
    fields = {field.name for field in dataclasses.fields(method)}
    assert set(method.search_space) <= fields
    for settings in method.paper_settings:
        assert set(settings) == set(method.search_space)
        assert all(_holds(method.search_space[key], value) for key, value in settings.items())
    assert bool(method.search_space) == bool(method.paper_settings)


@every_method
@pytest.mark.parametrize(("data", "teacher", "student"), PAIRS)
def test_every_pair_tries_the_paper_s_settings_and_none_outside_the_search_space(name, data, teacher, student):
    method = load_method(name)
    teacher = teacher if method.needs.teacher_logits else None
    found = method.list_paper_settings(data=data, teacher=teacher, student=student)
    assert all(settings in found for settings in method.paper_settings)
    assert len({json.dumps(settings, sort_keys=True) for settings in found}) == len(found)
    for settings in found:
        assert set(settings) == set(method.search_space)
        assert all(_holds(method.search_space[key], value) for key, value in settings.items())


def _holds(bounds: dict, value: object) -> bool:
    ((kind, values),) = bounds.items()
    assert kind in {"log", "range", "int", "choice"}
    if kind == "choice":
        return value in values
    low, high = values
    assert low < high
    assert kind != "log" or low > 0
    return low <= value <= high


@every_method
def test_settings_that_count_epochs_are_whole_numbers_and_each_is_named_as_one(name):
    found = {field.name: field.default for field in dataclasses.fields(load_method(name))}
    assert set(load_method(name).in_epochs) == {setting for setting in found if setting.endswith("_epochs")}
    assert all(isinstance(found[setting], int) for setting in load_method(name).in_epochs)


@every_method
def test_a_setting_that_is_not_finite_is_refused(name):
    for field in dataclasses.fields(load_method(name)):
        for value in (float("nan"), float("inf"), -1.0):
            with pytest.raises(ValueError, match=rf"^{field.name}: .* is not a number"):
                build_method(name, {field.name: value})


@every_method
def test_a_setting_that_does_not_exist_is_answered_with_those_that_do(name):
    with pytest.raises(ValueError, match=rf"no setting of method {name} `colour`\..*Known:"):
        build_method(name, {"colour": 1})


@every_method
def test_what_is_deployed_classifies_images(name):
    method, own = _build(name, {}, num_classes=5)
    deployed = method.deployed(build_model(STUDENT, 5, 1), own)
    assert deployed(torch.zeros(2, 1, 8, 8)).shape == (2, 5)


@every_method
def test_own_parameters_are_trained(name):
    method, own = _build(name, {})
    if own is None:
        return
    _total(method(_require_gradient(draw_batch(method.needs)), own)).backward()
    assert all(parameter.grad is not None for parameter in own.parameters())


@every_method
def test_the_head_of_the_file_names_its_source_and_the_class_its_equation(name):
    method = load_method(name)
    head = sys.modules[method.__module__].__doc__
    assert re.search(r"arXiv:\d{4}\.\d{5}|Source: ", head)
    assert re.search(r"\bB batch\b", head)
    assert method.__doc__
    assert not method.__doc__.startswith("Method(")  # what a dataclass writes where its author wrote nothing
