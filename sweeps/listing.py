"""What a study file may name: methods, models, data sets, studies and recipes, a row of plain values each."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

from kdtrain.data import folder
from kdtrain.images import list_data, load_info
from kdtrain.method import Needs, list_methods, load_method
from kdtrain.model import list_libraries, list_models, load_library
from kdtrain.names import list_modules
from kdtrain.recipes import Recipe, describe_recipe, list_recipes
from kdtrain.wrapper import list_wrappers, load_wrapper
from sweeps import study as studies
from sweeps.figures import count

_SHOWN_OF_A_RECIPE = ("batch_size", "lr", "weight_decay", "schedule")   # `kdsweep validate --show` prints all

_NAME = "/<name>"

Row = dict[str, str]
"""name, about, source, needs; all texts, empty where there is nothing to say."""


def list_rows(kind: str) -> list[Row]:
    """A row for each thing of the kind: methods, models, data, studies or recipes."""
    names, describe = _KINDS[kind]
    return [{"name": name, **describe(name)} for name in names()]


def _list_methods_and_wrappers() -> list[str]:
    """`kd` and `select(...)`."""
    return [*list_methods(), *(f"{name}(...)" for name in list_wrappers())]


def _describe_method(name: str) -> Row:
    wrapper = load_wrapper(name.removesuffix("(...)")) if name.endswith("(...)") else None
    method = wrapper or load_method(name)
    about, source = _split_head(_read_head(inspect.getmodule(method)))
    settings = ", ".join(found.name for found in dataclasses.fields(method))
    needs = [_describe_needs(method.needs), *([f"wraps {wrapper.wraps}"] if wrapper else [])]
    row = {"about": f"{about} ({settings})" if settings else about, "source": source}
    return {**row, "needs": "; ".join(filter(None, needs))}


def _describe_needs(needs: Needs) -> str:
    """`teacher_logits, views 2`: what is not as a plain method leaves it."""
    asked = []
    for found in dataclasses.fields(needs):
        value = getattr(needs, found.name)
        if value != found.default:
            asked.append(found.name if value is True else f"{found.name} {_join(value)}")
    return ", ".join(asked)


def _list_models_and_libraries() -> list[str]:
    """`resnet8` and `torchvision/<name>`."""
    return [*list_models(), *(f"{library}{_NAME}" for library in list_libraries())]


def _describe_model(name: str) -> Row:
    if name.endswith(_NAME):
        return _describe_library(name.removesuffix(_NAME))
    function = _find_model(name)
    _, source = _split_head(_read_head(inspect.getmodule(function)))
    options = ", ".join(
        f"{given.name}={given.default}"
        for given in inspect.signature(function).parameters.values()
        if given.kind is inspect.Parameter.KEYWORD_ONLY
    )
    about = _read_head(function).rstrip(".")
    return {"about": f"{about} ({options})" if options else about, "source": source, "needs": ""}


def _describe_library(library: str) -> Row:
    models = load_library(library)
    about, source = _split_head(_read_head(models))
    try:
        names = models.list_names()
    except ValueError as error:     # not installed
        return {"about": f"{about}: {str(error).rpartition('hint: ')[2]}", "source": source, "needs": library}
    known = f"any of {len(names):,}, {names[0]} to {names[-1]}, as in {models.EXAMPLE}"
    return {"about": f"{about}: {known}", "source": source, "needs": ""}


def _find_model(name: str) -> Callable[..., Any]:
    for family in list_modules("kdtrain.models"):
        if (function := getattr(importlib.import_module(f"kdtrain.models.{family}"), name, None)) is not None:
            return function
    raise AssertionError(f"{name} is listed and in no file of kdtrain/models")


def _describe_data(name: str) -> Row:
    if name not in list_modules("kdtrain.data"):
        return {"about": _read_head(folder), "source": "", "needs": folder.NEEDS}
    info = load_info(name)
    height, width = info.size
    about = (
        f"{info.num_classes} classes, {height}x{width}, {info.channels} channel{'s' if info.channels > 1 else ''}, "
        f"{info.num_train:,} to train on ({info.validation:,} of them for validation), {info.num_test:,} to test"
    )
    return {"about": about, "source": info.source, "needs": info.needs}


def _describe_study(name: str) -> Row:
    study = studies.load(name)
    about = (
        f"{_read_question(study.source_text)} {count(len(study.pairs), 'pair')}, {count(len(study.arms), 'arm')} of "
        f"{count(study.search.trials_per_arm, 'trial')} and {count(study.repeat.seeds, 'repeat')}, "
        f"{count(study.epochs, 'epoch')}"
    )
    gpu = ", a GPU" if study.resources.gpu else ""
    return {"about": about, "source": _find_papers(study.source_text), "needs": f"data {study.data.name}{gpu}"}


def _read_question(text: str) -> str:
    """What a study asks: the paragraph that its file opens with."""
    first = itertools.takewhile(lambda line: line.startswith("# "), text.splitlines())
    return " ".join(line.removeprefix("# ") for line in first)


def _find_papers(text: str) -> str:
    """The papers that the head of a study file names, in its order."""
    head, _, _ = text.partition("\nstudy:")
    return ", ".join(dict.fromkeys(f"arXiv:{paper}" for paper in re.findall(r"arXiv:(\d{4}\.\d{4,5})", head)))


def _describe_recipe(name: str) -> Row:
    recipe = describe_recipe(name)
    fields = ", ".join(f"{key} {_join(recipe.fields[key])}" for key in _SHOWN_OF_A_RECIPE)
    return {"about": f"{recipe.about} ({fields})", "source": recipe.source, "needs": _describe_exceptions(recipe)}


def _describe_exceptions(recipe: Recipe) -> str:
    """`ShuffleV1: lr 0.01`: what a model of that name needs instead."""
    return "; ".join(
        f"{model}: {', '.join(f'{key} {_join(value)}' for key, value in fields.items())}"
        for model, fields in recipe.by_model.items()
    )


def _join(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read_head(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _split_head(head: str) -> tuple[str, str]:
    """`What it is. Who, year, arXiv:id.  Letters of the axes.` as what it is, and who, year, id."""
    words, _, _axes = head.partition(".  ")
    about, _, source = words.partition(". ")
    return about.rstrip("."), re.sub(r"\.$", "", source)


_KINDS: dict[str, tuple[Callable[[], list[str]], Callable[[str], Row]]] = {
    "methods": (_list_methods_and_wrappers, _describe_method),
    "models": (_list_models_and_libraries, _describe_model),
    "data": (list_data, _describe_data),
    "studies": (studies.list_studies, _describe_study),
    "recipes": (list_recipes, _describe_recipe),
}
