"""Wrappers: methods around methods. `select(kd)` is KD on a part of each batch; `select(standardize(kd))` nests.

A wrapper is the class `Wrapper` of a file of kdtrain/wrappers: a frozen dataclass derived from `Wrapping`, whose fields
are its settings. Around a method it makes a type that is a method like any other: its settings, needs, ranges and own
parameters are those of both. A wrapper changes what the student learns from the method; the term `label` stays the
method's, of the logits that the student gives. Each wrapper sees the batch as the one around it hands it on.

B batch, C classes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, ClassVar

from torch import Tensor, nn

from kdtrain.method import Batch, Card, Distillation, Needs, asks_teacher, list_methods, load_method
from kdtrain.names import list_modules, load_named, load_own

_SPEC = re.compile(r"([\w.]+(?::\w+)?)\(([\w.:()]+)\)")
_HINT = "write select(kd), or select(standardize(kd)); settings stand beside it: {method: select(kd), share: 0.2}"

Settings = dict[str, Any]


class Wrapping(Distillation):
    """What most wrappers leave as it is. The class variables below are set where a wrapper meets its method."""

    wraps: ClassVar[str] = "any method"                 # for people
    wraps_taught: ClassVar[bool] = False                # only methods that ask for a teacher's logits
    spec: ClassVar[str]                                 # `select(kd)`
    inner_name: ClassVar[str]                           # `kd`
    inner_type: ClassVar[type[Distillation]]
    own_paper_settings: ClassVar[list[Settings]]        # without the method's

    def __post_init__(self) -> None:
        _ = self.inner  # checks the method's settings

    @cached_property
    def inner(self) -> Distillation:
        """The wrapped method with its settings."""
        names = [field.name for field in dataclasses.fields(self.inner_type)]
        return self.inner_type(**{name: getattr(self, name) for name in names})

    @classmethod
    def list_whole_settings(
        cls, inner: str, *, data: str | None = None, teacher: str | None = None, student: str | None = None
    ) -> list[Settings] | None:
        """Wrapper's and method's settings together where the wrapper's paper gives them for this method, else None."""
        return None

    @classmethod
    def list_paper_settings(cls, *, data: str, teacher: str | None, student: str) -> list[Settings]:
        """The paper's settings for this very method; else each of the method's with each of the wrapper's."""
        pair = {"data": data, "teacher": teacher, "student": student}
        whole = cls.list_whole_settings(cls.inner_name, **pair)
        return _join(cls.own_paper_settings, cls.inner_type.list_paper_settings(**pair)) if whole is None else whole

    def build(
        self, student: Card, teacher: Card | None, num_classes: int, *, num_images: int
    ) -> nn.ModuleDict | None:
        """`method` and `wrapper`: what each has of its own; None where neither has anything."""
        built = {  # the method first: with equal seeds it begins as it would alone
            "method": self.inner.build(student, teacher, num_classes, num_images=num_images),
            "wrapper": self.build_own(student, num_classes),
        }
        parts = {name: part for name, part in built.items() if part is not None}
        return nn.ModuleDict(parts) if parts else None

    def build_own(self, student: Card, num_classes: int) -> nn.Module | None:
        """The wrapper's own parameters, or None."""
        return None

    def deployed(self, student: nn.Module, own: nn.ModuleDict | None) -> nn.Module:
        """What the method ships."""
        return self.inner.deployed(student, take_part(own, "method"))

    def ask(self, batch: Batch, own: nn.ModuleDict | None) -> dict[str, Tensor]:
        """The method's terms."""
        return self.inner(batch, take_part(own, "method"))

    def weigh(self, terms: Mapping[str, Tensor], weight_B: Tensor) -> dict[str, Tensor]:
        """The terms times the samples' weights, but for `label`. Raises ValueError for what has none to weigh."""
        others = [name for name in terms if name != "label"]
        if not others:
            raise ValueError(f"{self.spec}: `{self.inner_name}` has no term but `label`: there is nothing to weigh")
        for name in others:
            if terms[name].shape != weight_B.shape:
                raise ValueError(f"{self.spec}: the term `{name}` is of a whole batch: its samples cannot be weighed")
        return {name: term if name == "label" else weight_B * term for name, term in terms.items()}


def take_part(own: nn.ModuleDict | None, name: str) -> nn.Module | None:
    """The part `method` or `wrapper` of what `build` made, or None."""
    return own[name] if own is not None and name in own else None


def replace_student_logits(batch: Batch, logits_BC: Tensor) -> Batch:
    """The batch with these student logits, the label's cross-entropy still of those that the network deployed gives."""
    label_logits_BC = batch.student.logits_BC if batch.label_logits_BC is None else batch.label_logits_BC
    student = dataclasses.replace(batch.student, logits_BC=logits_BC)
    return dataclasses.replace(batch, student=student, label_logits_BC=label_logits_BC)


def list_wrappers() -> list[str]:
    """The names that a study file may put around a method."""
    return list_modules("kdtrain.wrappers")


def load_wrapper(name: str) -> type[Wrapping]:
    """The class `Wrapper` of kdtrain/wrappers/`name`.py, or a user's own `package.module:Name`. Raises ValueError."""
    if ":" in name:
        found = load_own("wrapper", name)
        if not (isinstance(found, type) and issubclass(found, Wrapping)):
            hint = "a wrapper is a frozen dataclass derived from Wrapping"
            raise ValueError(f"`{name}` is not a wrapper\n\nhint: {hint}")
        return found
    if name not in list_wrappers() and name in list_methods():
        raise ValueError(f"`{name}` is a method, and no wrapper\n\nhint: write the wrapper outside: select({name})")
    return load_named("wrapper", name, room="kdtrain.wrappers").Wrapper


def load_wrapped(spec: str) -> type[Wrapping]:
    """The type that `wrapper(method)` means. Raises ValueError: names, or a method that the wrapper cannot take."""
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise ValueError(f"{spec!r} is no method in a wrapper\n\nhint: {_HINT}")
    wrapper, inner = found.groups()
    return wrap(load_wrapper(wrapper), load_method(inner), inner, spec)


@cache
def wrap(wrapper: type[Wrapping], inner: type[Distillation], inner_name: str, spec: str) -> type[Wrapping]:
    """A frozen dataclass with the settings of both. Raises ValueError for a method that the wrapper cannot take."""
    _refuse_misfits(wrapper, inner, inner_name, spec)
    whole = wrapper.list_whole_settings(inner_name)
    known = {
        "spec": spec,
        "inner_name": inner_name,
        "inner_type": inner,
        "needs": _unite(wrapper.needs, inner.needs),
        "search_space": {**wrapper.search_space, **inner.search_space},
        "in_epochs": wrapper.in_epochs + inner.in_epochs,
        "own_paper_settings": wrapper.paper_settings,
        "paper_settings": _join(wrapper.paper_settings, inner.paper_settings) if whole is None else whole,
        "__doc__": f"{wrapper.__doc__}\n\nAround {inner_name}: {inner.__doc__}",
        "__module__": wrapper.__module__,
    }
    fields = [(field.name, field.type, dataclasses.field(default=field.default)) for field in dataclasses.fields(inner)]
    return dataclasses.make_dataclass(spec, fields, bases=(wrapper,), namespace=known, frozen=True)


def _refuse_misfits(wrapper: type[Wrapping], inner: type[Distillation], inner_name: str, spec: str) -> None:
    if wrapper.wraps_taught and not asks_teacher(inner.needs):
        hint = f"{spec.partition('(')[0]} wraps {wrapper.wraps}"
        raise ValueError(f"{spec}: `{inner_name}` learns from no teacher\n\nhint: {hint}")
    if _holds(wrapper, inner):
        raise ValueError(f"{spec}: the same wrapper stands twice")
    taken = {*dir(wrapper), *Wrapping.__annotations__}
    common = sorted({field.name for field in dataclasses.fields(inner)} & taken)
    if common:
        raise ValueError(f"{spec}: wrapper and method both have `{common[0]}`\n\nhint: call the setting otherwise")


def _holds(wrapper: type[Wrapping], method: type[Distillation]) -> bool:
    """Whether the wrapper stands somewhere in the method."""
    if not issubclass(method, Wrapping):
        return False
    return issubclass(method, wrapper) or _holds(wrapper, method.inner_type)


def _unite(one: Needs, other: Needs) -> Needs:
    """Yes where either says yes, and the larger number."""
    names = [field.name for field in dataclasses.fields(Needs)]
    return Needs(**{name: max(getattr(one, name), getattr(other, name)) for name in names})


def _join(outer: list[Settings], inner: list[Settings]) -> list[Settings]:
    """Each of the one with each of the other."""
    return [{**a, **b} for a in outer or [{}] for b in inner or [{}]] if outer or inner else []
