"""The law that every file of kdtrain/wrappers obeys, around every method that it takes.

Wrappers and methods are picked up by their names; nothing is registered but which methods a wrapper takes.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import sys
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from kdtrain.fit import find_mismatch
from kdtrain.method import Batch, Distillation, Outputs, build_method, list_methods, load_method
from kdtrain.model import build_model
from kdtrain.wrapper import Wrapping, list_wrappers, load_wrapper
from tests.kdtrain.batches import STUDENT, draw_batch, make_cards
from tests.kdtrain.test_every_method import STOPPED_GRADIENT

# The gradient of these is not the derivative of their value, by definition; each has a test of its own.
STOPPED_BY_WRAPPER = {"weight_by_discrepancy": "test_the_weights_of_weight_by_discrepancy_have_no_gradient"}
CRD_PAIRS = [
    ("resnet56", "resnet20"), ("resnet110", "resnet20"), ("resnet110", "resnet32"), ("resnet32x4", "resnet8x4"),
    ("wrn_40_2", "wrn_16_2"), ("wrn_40_2", "wrn_40_1"), ("vgg13", "vgg8"), ("vgg13", "MobileNetV2"),
    ("ResNet50", "MobileNetV2"), ("ResNet50", "vgg8"), ("resnet32x4", "ShuffleV1"), ("resnet32x4", "ShuffleV2"),
    ("wrn_40_2", "ShuffleV1"),
]


def build(spec: str, settings: dict | None = None, *, num_classes: int = 5,
          dtype: torch.dtype = torch.float32) -> tuple[Distillation, nn.Module | None]:
    """The method and what it has of its own, the same at each call."""
    method = build_method(spec, settings or {})
    student, teacher = make_cards(num_classes)
    torch.manual_seed(0)
    own = method.build(student, teacher if method.needs.teacher_logits else None, num_classes, num_images=100)
    return method, None if own is None else own.to(dtype)


@cache
def _observe(method: str) -> dict[str, bool]:
    """What a wrapper may ask of a method, seen from outside."""
    built, own = build(method)
    terms = built(draw_batch(built.needs, count=6), own)
    others = [term for name, term in terms.items() if name != "label"]
    return {
        "taught": built.needs.teacher_logits,
        "bare": own is None,
        "per_sample": bool(others) and all(term.shape == (6,) for term in others),
    }


TAKES = {
    "standardize": ("taught", "bare"),
    "select": ("per_sample",),
    "weight_by_discrepancy": ("per_sample",),
    "auxiliary_head": ("taught",),
}
PAIRS = [(wrapper, method) for wrapper in list_wrappers() for method in list_methods()]
TAKEN = [(wrapper, method) for wrapper, method in PAIRS if all(_observe(method)[law] for law in TAKES[wrapper])]
every_wrapper = pytest.mark.parametrize("wrapper", list_wrappers())
every_pair = pytest.mark.parametrize(("wrapper", "method"), TAKEN)


def _total(terms: dict[str, Tensor]) -> Tensor:
    return sum(term.sum() for term in terms.values())


def _replace_student(batch: Batch, logits_BC: Tensor, pooled_BD: Tensor | None) -> Batch:
    student = dataclasses.replace(batch.student, logits_BC=logits_BC, pooled_BD=pooled_BD)
    return dataclasses.replace(batch, student=student)


def _require_gradient(batch: Batch) -> tuple[Batch, list[Tensor]]:
    """The batch and the student's outputs, of which a method may ask the gradient."""
    leaves = [batch.student.logits_BC.clone().requires_grad_()]
    leaves += [] if batch.student.pooled_BD is None else [batch.student.pooled_BD.clone().requires_grad_()]
    return _replace_student(batch, leaves[0], leaves[1] if len(leaves) > 1 else None), leaves


def _sum_gradients(leaves: list[Tensor]) -> float:
    return sum(leaf.grad.abs().sum().item() for leaf in leaves if leaf.grad is not None)


def test_which_methods_each_wrapper_takes_is_written_here():
    assert set(TAKES) == set(list_wrappers())
    assert {wrapper for wrapper, _ in TAKEN} == set(list_wrappers())


@pytest.mark.parametrize(("wrapper", "method"), PAIRS)
def test_a_method_that_a_wrapper_cannot_take_is_refused_and_no_other(wrapper, method):
    spec = f"{wrapper}({method})"
    student, teacher = make_cards(5)
    try:
        built = build_method(spec, {})
        sentence = find_mismatch(built, student, teacher if built.needs.teacher_logits else None)
    except ValueError as error:
        sentence = str(error)
    assert (sentence is None) == ((wrapper, method) in TAKEN)
    assert sentence is None or sentence.startswith(f"{spec}: ")


@pytest.mark.parametrize(("wrapper", "method"), PAIRS)
def test_no_setting_of_a_wrapper_is_called_like_a_method_s(wrapper, method):
    of_wrapper = {field.name for field in dataclasses.fields(load_wrapper(wrapper))}
    assert not of_wrapper & {field.name for field in dataclasses.fields(load_method(method))}


@every_pair
def test_settings_and_needs_are_those_of_both(wrapper, method):
    outer, inner, both = load_wrapper(wrapper), load_method(method), load_method(f"{wrapper}({method})")
    names = [field.name for field in dataclasses.fields(both)]
    assert names == [field.name for one in (outer, inner) for field in dataclasses.fields(one)]
    defaults = {field.name: field.default for one in (outer, inner) for field in dataclasses.fields(one)}
    assert {field.name: field.default for field in dataclasses.fields(both)} == defaults
    for field in dataclasses.fields(both.needs):
        needed = [getattr(one.needs, field.name) for one in (outer, inner)]
        assert getattr(both.needs, field.name) == max(needed)


@every_pair
def test_terms_are_those_of_the_method_finite_and_float32(wrapper, method):
    plain, plain_own = build(method)
    wrapped, own = build(f"{wrapper}({method})")
    batch = draw_batch(wrapped.needs, count=6)
    expected, terms = plain(batch, plain_own), wrapped(batch, own)
    assert list(terms) == list(expected)
    for name, term in terms.items():
        assert term.dtype == torch.float32
        assert term.shape == expected[name].shape
        assert term.isfinite().all()


@every_pair
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_label_s_term_is_the_method_s_to_the_last_bit(wrapper, method, smoothing):
    plain, plain_own = build(method)
    wrapped, own = build(f"{wrapper}({method})")
    batch = dataclasses.replace(draw_batch(wrapped.needs, count=6), label_smoothing=smoothing)
    mixed = dataclasses.replace(batch, soft_label_BC=torch.rand(6, 5).softmax(1))
    for given in (batch, mixed):
        assert torch.equal(wrapped(given, own)["label"], plain(given, plain_own)["label"])


@every_pair
def test_something_pulls_on_the_student(wrapper, method):
    wrapped, own = build(f"{wrapper}({method})")
    batch, leaves = _require_gradient(draw_batch(wrapped.needs))
    _total(wrapped(batch, own)).backward()
    assert _sum_gradients(leaves) > 0


@every_pair
def test_per_sample_terms_move_with_their_samples_and_single_ones_stay(wrapper, method):
    wrapped, own = build(f"{wrapper}({method})", dtype=torch.float64)
    batch = draw_batch(wrapped.needs, count=6, dtype=torch.float64)
    order_B = torch.tensor([3, 0, 5, 1, 4, 2])
    before = wrapped(batch, copy.deepcopy(own))
    after = wrapped(_reorder(batch, order_B), copy.deepcopy(own))
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


@every_pair
def test_gradients_are_the_derivatives(wrapper, method):
    if wrapper in STOPPED_BY_WRAPPER or method in STOPPED_GRADIENT:
        import tests.kdtrain.test_wrappers_known as known

        assert wrapper not in STOPPED_BY_WRAPPER or hasattr(known, STOPPED_BY_WRAPPER[wrapper])
        return
    wrapped, own = build(f"{wrapper}({method})", dtype=torch.float64)
    batch, leaves = _require_gradient(draw_batch(wrapped.needs, count=3, dtype=torch.float64))

    def total(logits_BC: Tensor, pooled_BD: Tensor | None = None) -> Tensor:
        return _total(wrapped(_replace_student(batch, logits_BC, pooled_BD), copy.deepcopy(own)))

    assert torch.autograd.gradcheck(total, leaves, rtol=1e-4, atol=1e-6)


@every_pair
def test_no_gradient_reaches_the_teacher(wrapper, method):
    wrapped, own = build(f"{wrapper}({method})")
    batch, _ = _require_gradient(draw_batch(wrapped.needs))
    if batch.teacher is None:
        return
    seen = [batch.teacher.logits_BC, *batch.teacher.maps.values()]
    seen += [] if batch.teacher.pooled_BD is None else [batch.teacher.pooled_BD]
    for tensor in seen:
        tensor.requires_grad_()
    _total(wrapped(batch, own)).backward()
    assert all(tensor.grad is None for tensor in seen)


@every_pair
@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("size", [0.0, 1e4])
def test_terms_and_gradients_are_finite_at_equal_and_at_huge_logits(wrapper, method, num_classes, size):
    wrapped, own = build(f"{wrapper}({method})", num_classes=num_classes)
    batch = draw_batch(wrapped.needs, count=64, num_classes=num_classes)
    batch.student.logits_BC.copy_(torch.where(batch.student.logits_BC > 0, size, -size))
    if batch.teacher is not None:
        batch.teacher.logits_BC.copy_(torch.where(batch.teacher.logits_BC > 0, size, -size))
    batch, leaves = _require_gradient(batch)
    terms = wrapped(batch, own)
    _total(terms).backward()
    assert all(term.isfinite().all() for term in terms.values())
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


@every_pair
def test_a_soft_label_that_is_certain_equals_the_hard_label(wrapper, method):
    wrapped, own = build(f"{wrapper}({method})", dtype=torch.float64)
    batch = draw_batch(wrapped.needs, dtype=torch.float64)
    certain_BC = nn.functional.one_hot(batch.label_B, 5).to(torch.float64)
    soft_batch = dataclasses.replace(batch, soft_label_BC=certain_BC, generator=torch.Generator().manual_seed(0))
    hard, soft = wrapped(batch, copy.deepcopy(own)), wrapped(soft_batch, copy.deepcopy(own))
    for term in hard:
        torch.testing.assert_close(soft[term], hard[term], rtol=1e-12, atol=1e-12)


@every_pair
def test_own_parameters_are_trained(wrapper, method):
    wrapped, own = build(f"{wrapper}({method})")
    if own is None:
        return
    batch, _ = _require_gradient(draw_batch(wrapped.needs))
    if any(parameter.requires_grad for parameter in own.parameters()):
        _total(wrapped(batch, own)).backward()
    assert all(parameter.grad is not None for parameter in own.parameters())


@every_pair
def test_what_the_method_has_of_its_own_begins_as_it_would_alone(wrapper, method):
    _, plain_own = build(method)
    _, own = build(f"{wrapper}({method})")
    expected = {} if plain_own is None else plain_own.state_dict()
    found = {} if own is None else own.state_dict()
    inner = {name.removeprefix("method."): value for name, value in found.items() if name.startswith("method.")}
    assert inner.keys() == expected.keys()
    assert all(torch.equal(inner[name], value) for name, value in expected.items())


@every_pair
def test_what_is_deployed_is_what_the_method_ships(wrapper, method):
    wrapped, own = build(f"{wrapper}({method})")
    plain, plain_own = build(method)
    student = build_model(STUDENT, 5, 1)
    deployed = wrapped.deployed(student, own)
    assert type(deployed) is type(plain.deployed(student, plain_own))
    assert deployed(torch.zeros(2, 1, 8, 8)).shape == (2, 5)


@every_pair
def test_a_wrapped_method_is_a_frozen_dataclass_of_json_values(wrapper, method):
    spec = f"{wrapper}({method})"
    built = build_method(spec, {})
    settings = dataclasses.asdict(built)
    assert all(isinstance(value, float | int | str) for value in settings.values())
    assert build_method(spec, json.loads(json.dumps(settings))) == built
    for field in settings:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(built, field, 1)


@every_pair
def test_the_search_space_holds_the_paper_s_settings_of_every_pair(wrapper, method):
    both = load_method(f"{wrapper}({method})")
    assert both.search_space == {**load_wrapper(wrapper).search_space, **load_method(method).search_space}
    lists = [both.paper_settings]
    for data in ("cifar100", "imagenet", "digits"):
        lists += [both.list_paper_settings(data=data, teacher=t, student=s) for t, s in CRD_PAIRS]
    for settings in (settings for found in lists for settings in found):
        assert set(settings) == set(both.search_space)
        assert all(_holds(both.search_space[key], value) for key, value in settings.items())
        build_method(f"{wrapper}({method})", settings)
    assert all(bool(found) == bool(both.search_space) for found in lists)


def _holds(bounds: dict, value: object) -> bool:
    ((kind, values),) = bounds.items()
    return value in values if kind == "choice" else values[0] <= value <= values[1]


@every_pair
def test_a_setting_that_is_not_finite_is_refused(wrapper, method):
    spec = f"{wrapper}({method})"
    for field in dataclasses.fields(load_method(spec)):
        for value in (float("nan"), float("inf"), -1.0):
            with pytest.raises(ValueError, match=rf"{field.name}: .* is not a number|no {field.name} "):
                build_method(spec, {field.name: value})


@every_pair
def test_a_setting_that_does_not_exist_is_answered_with_those_that_do(wrapper, method):
    spec = f"{wrapper}({method})"
    with pytest.raises(ValueError, match=rf"no setting of method {re.escape(spec)} `colour`\..*Known:"):
        build_method(spec, {"colour": 1})


@every_wrapper
def test_the_head_of_the_file_names_its_source_and_the_class_its_equation(wrapper):
    found = load_wrapper(wrapper)
    head = sys.modules[found.__module__].__doc__
    assert re.search(r"arXiv:\d{4}\.\d{5}", head)
    assert re.search(r"\bB batch\b", head)
    assert found.__doc__
    assert not found.__doc__.startswith("Wrapper(")  # what a dataclass writes where its author wrote nothing
    assert found.wraps != Wrapping.wraps
