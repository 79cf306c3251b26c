"""Arms: what is searched, early-stopped and ranked by itself, with its fixed settings, ranges and first points."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdtrain.config import TrialConfig, digest
from kdtrain.method import Distillation, asks_teacher, build_method, load_method
from kdtrain.names import suggest
from sweeps.label_training import Multiple, apply, read_field
from sweeps.problems import Problems
from sweeps.schema import MethodEntry
from sweeps.space import Choice, Range, Value, Whole, parse_range, read_number, read_whole

COMMON_FIELDS = ("lr", "weight_decay", "momentum", "batch_size")   # of every method's trials: searched under `tune`
COMMON_DEFAULTS = {f.name: f.default for f in dataclasses.fields(TrialConfig) if f.name in COMMON_FIELDS}


@dataclass(frozen=True)
class Pair:
    """A data set, a teacher and a student; no teacher in a study whose methods need none."""

    data: str
    teacher: str | None
    teacher_id: str | None
    student: str


@dataclass(frozen=True)
class Arm:
    """A pair and a labelled method. Without a need for a teacher: a data set, a student and a labelled method."""

    arm_id: str                         # data/teacher/student/label; `none` for no teacher
    index: int
    data: str
    student: str
    teacher: str | None
    teacher_id: str | None
    method: str
    label: str
    fixed: Mapping[str, Value]          # settings that the label gives
    space: Mapping[str, Range]          # common fields and settings that are searched
    first: tuple[Mapping[str, Value], ...]  # points tried first; a key that is absent is drawn
    training: Mapping[str, Value] = field(default_factory=dict)     # training fields that the label gives

    def setting_id(self, settings: Mapping[str, Value]) -> str:
        """`s` and 16 hex digits: the same for every trial of this arm with these settings."""
        return "s" + digest([self.arm_id, dict(settings)])

    def to_json(self) -> dict[str, Any]:
        """Every field as plain JSON values."""
        shown = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if not self.training:
            del shown["training"]   # so that a study is the one it was before labels could give any
        return {
            **shown,
            "fixed": dict(self.fixed),
            "space": {name: found.to_json() for name, found in self.space.items()},
            "first": [dict(point) for point in self.first],
        }


@dataclass(frozen=True)
class LabelledMethod:
    """A method of the study with what is fixed and what is searched."""

    label: str
    name: str
    method: type[Distillation]
    fixed: dict[str, Value]
    space: dict[str, Range]
    training: dict[str, Value | Multiple]

    @property
    def needs_teacher(self) -> bool:
        return asks_teacher(self.method.needs)


def list_settings(method: type[Distillation]) -> dict[str, Any]:
    """The method's settings and their defaults."""
    return {f.name: f.default for f in dataclasses.fields(method)}


def cast_setting(value: Any, default: Any) -> Any:
    """The value in the type of its default, so that 2 and 2.0 are one setting. Raises ValueError for another type."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value
    if isinstance(default, int):
        return read_whole(value)
    if isinstance(default, float):
        return float(read_number(value))
    if isinstance(default, str) and not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def build_methods(entries: Iterable[MethodEntry], tune: Mapping[str, Any], problems: Problems) -> list[LabelledMethod]:
    """The study's methods with their own ranges; what is wrong with them goes to `problems`."""
    labels: dict[str, str] = {}
    built = []
    for place, entry in enumerate(entries):
        where = f"methods[{place}]"
        if entry.label in labels:
            hint = f"give each its own: {{label: ..., method: {entry.method}}}"
            problems.add(f"{where}: the label `{entry.label}` stands twice\n\nhint: {hint}")
            continue
        labels[entry.label] = entry.method
        with problems.collect(f"{where}.method: "):
            method = load_method(entry.method)
            fixed = _read_fixed(entry, method, where, problems)
            space = _read_space(entry, method, tune, problems)
            training = _read_training(entry, method, where, problems)
            built.append(LabelledMethod(entry.label, entry.method, method, fixed, space, training))
    _refuse_borrowed_names(labels, problems)
    _refuse_idle_ranges(labels, tune, problems)
    return built


def read_common(tune: Mapping[str, Any], problems: Problems) -> dict[str, Range]:
    """The ranges of the fields that every arm shares."""
    space = {}
    for name in COMMON_FIELDS:
        if name in tune:
            with problems.collect():
                space[name] = _read_range(tune[name], COMMON_DEFAULTS[name], f"tune.{name}")
    return space


def check_common(common: Mapping[str, Range], training: Mapping[str, Any], problems: Problems) -> None:
    """The ends of the shared ranges must be values that a trial accepts."""
    for name, space in common.items():
        for value in _list_ends(space):
            with problems.collect("tune."):
                TrialConfig(**{**training, "data": "any", "student": "any", name: value})


def build_arms(
    pairs: Iterable[Pair],
    methods: Iterable[LabelledMethod],
    common: Mapping[str, Range],
    training: Mapping[str, Mapping[str, Any]],
) -> tuple[tuple[Arm, ...], list[str]]:
    """All arms in the order of the file, and warnings. A method without a teacher has one arm for each student.

    `training`: student -> every training field.
    """
    arms: dict[str, Arm] = {}
    warnings: list[str] = []
    methods = list(methods)
    for pair in pairs:
        for method in methods:
            first, found = _list_first(method, pair, common, training[pair.student])
            warnings += found
            arm = _build_arm(
                pair, method, common, training=training[pair.student], first=first, index=len(arms)
            )
            arms.setdefault(arm.arm_id, arm)
    return tuple(arms.values()), list(dict.fromkeys(warnings))


def _build_arm(
    pair: Pair,
    method: LabelledMethod,
    common: Mapping[str, Range],
    *,
    training: Mapping[str, Any],
    first: Any,
    index: int,
) -> Arm:
    teacher = pair.teacher if method.needs_teacher else None
    return Arm(
        arm_id="/".join((pair.data, teacher or "none", pair.student, method.label)),
        index=index,
        data=pair.data,
        student=pair.student,
        teacher=teacher,
        teacher_id=pair.teacher_id if method.needs_teacher else None,
        method=method.name,
        label=method.label,
        fixed=method.fixed,
        space={**_leave_open(common, method), **method.space},
        first=first,
        training=apply(method.training, training),
    )


def _leave_open(common: Mapping[str, Range], method: LabelledMethod) -> dict[str, Range]:
    """The shared ranges of what the label does not fix."""
    return {name: found for name, found in common.items() if name not in method.training}


def _read_fixed(entry: MethodEntry, method: type[Distillation], where: str, problems: Problems) -> dict[str, Value]:
    defaults = list_settings(method)
    fixed = {}
    for name, value in entry.settings.items():
        if _is_training(name, defaults):
            continue
        if name not in defaults:
            known = {*defaults, *COMMON_FIELDS}     # a label may fix both
            problems.add(f"{where}.{name}: {_describe_unknown_setting(entry.method, name, known)}")
            continue
        with problems.collect(f"{where}.{name}: "):
            fixed[name] = cast_setting(value, defaults[name])
            build_method(entry.method, {name: fixed[name]})  # a method may know bounds of its own
    return fixed


def _read_training(
    entry: MethodEntry, method: type[Distillation], where: str, problems: Problems
) -> dict[str, Value | Multiple]:
    training = {}
    for name, given in entry.settings.items():
        if _is_training(name, list_settings(method)):
            with problems.collect(f"{where}.{name}: "):
                training[name] = read_field(name, given)
    return training


def _is_training(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether a key of a method's entry is a training field: a method's own setting of that name goes before."""
    return name in COMMON_FIELDS and name not in settings


def _read_space(
    entry: MethodEntry, method: type[Distillation], tune: Mapping[str, Any], problems: Problems
) -> dict[str, Range]:
    """The method's own space, over it the ranges under its name, over those the ranges under the label."""
    defaults = list_settings(method)
    written = {name: (f"methods.{entry.method}.{name}", given) for name, given in method.search_space.items()}
    for key in dict.fromkeys((entry.method, entry.label)):
        ranges = tune.get(key, {})
        written |= {name: (f"tune.{key}.{name}", given) for name, given in ranges.items()}
    space = {}
    for name, (where, given) in written.items():
        if name not in defaults:
            problems.add(f"{where}: {_describe_unknown_setting(entry.method, name, defaults)}")
        elif name not in entry.settings:
            with problems.collect():
                space[name] = _read_range(given, defaults[name], where)
                _check_ends(entry, name, space[name], where)
    return space


def _read_range(given: Any, default: Any, where: str) -> Range:
    """The range, its values in the type of the setting. Raises ValueError, which begins with `where`."""
    found = parse_range(given, where)
    if isinstance(found, Choice):
        try:
            return Choice(tuple(cast_setting(value, default) for value in found.values))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if not isinstance(default, int | float) or isinstance(default, bool):
        raise ValueError(f"{where}: its values are no numbers\n\nhint: write {{choice: [...]}}")
    if isinstance(default, int) and not isinstance(found, Whole):
        raise ValueError(f"{where}: its values are whole numbers\n\nhint: write {{int: [low, high]}}")
    return found


def _check_ends(entry: MethodEntry, name: str, space: Range, where: str) -> None:
    """A range's ends, or each choice, must be settings that the method accepts."""
    for value in _list_ends(space):
        try:
            build_method(entry.method, {name: value})
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def _list_ends(space: Range) -> tuple[Value, ...]:
    return space.values if isinstance(space, Choice) else (space.low, space.high)


def _describe_unknown_setting(method: str, name: str, known: Iterable[str]) -> str:
    return f"no such setting of method {method}.{suggest(name, list(known) or ['(none)'])}"


def _refuse_borrowed_names(labels: Mapping[str, str], problems: Problems) -> None:
    """A label that is another method's name would make `tune` ambiguous."""
    for label, method in labels.items():
        if label != method and label in labels.values():
            problems.add(f"methods: the label `{label}` of method {method} is the name of another method of this study")


def _refuse_idle_ranges(labels: Mapping[str, str], tune: Mapping[str, Any], problems: Problems) -> None:
    known = {*COMMON_FIELDS, *labels, *labels.values()}
    for key in tune:
        if key not in known:
            problems.add(f"tune.{key}: no such label, method or training field in this study.{suggest(key, known)}")


def _list_first(
    method: LabelledMethod, pair: Pair, common: Mapping[str, Range], training: Mapping[str, Any]
) -> tuple[tuple[dict[str, Value], ...], list[str]]:
    """The points that the arm's search begins with, and a warning for each point of the paper that does not fit."""
    defaults = list_settings(method.method)
    shared = {name: cast_setting(training[name], COMMON_DEFAULTS[name])
              for name, found in _leave_open(common, method).items() if found.contains(training[name])}
    points: list[dict[str, Value]] = []
    warnings = []
    teacher = pair.teacher if method.needs_teacher else None
    for given in method.method.list_paper_settings(data=pair.data, teacher=teacher, student=pair.student) or [{}]:
        paper = {name: cast_setting(value, defaults[name]) for name, value in given.items()}
        misfit = _find_misfit(paper, method, defaults)
        if misfit:
            warnings.append(f"methods.{method.label}: the paper's setting {paper} is not tried first: {misfit}")
            continue
        inside = {name: paper.get(name, defaults[name]) for name, found in method.space.items()
                  if found.contains(paper.get(name, defaults[name]))}
        point = {**shared, **inside}
        if point and point not in points:
            points.append(point)
    return tuple(points), warnings


def _find_misfit(paper: Mapping[str, Value], method: LabelledMethod, defaults: Mapping[str, Any]) -> str | None:
    """Why the arm cannot try the paper's setting, if so."""
    for name, value in paper.items():
        if name in method.space:
            if not method.space[name].contains(value):
                return f"{name} {value!r} is outside {method.space[name].to_json()}"
        elif value != method.fixed.get(name, defaults[name]):
            return f"{name} is fixed at {method.fixed.get(name, defaults[name])!r}"
    return None
