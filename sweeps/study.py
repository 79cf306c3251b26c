"""A study: one YAML file, resolved into pairs, teachers and arms that every later stage reads as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from kdtrain.augment import count_views
from kdtrain.config import TrialConfig, digest, drop_later_defaults
from kdtrain.images import DataInfo, load_info
from kdtrain.method import load_method
from kdtrain.model import canonical_model
from kdtrain.names import describe_unknown
from sweeps.arms import (
    COMMON_DEFAULTS,
    Arm,
    LabelledMethod,
    Pair,
    build_arms,
    build_methods,
    cast_setting,
    check_common,
    list_settings,
    read_common,
)
from sweeps.asha import list_rungs
from sweeps.budget import compress, compress_settings
from sweeps.cautions import list_cautions
from sweeps.contradictions import (
    refuse_best_val_without_validation,
    refuse_grid_without_steps,
    refuse_idle_compression,
)
from sweeps.fitting import refuse_misfits
from sweeps.origin import Sources
from sweeps.problems import Problems
from sweeps.schema import (
    Data,
    Failure,
    PairEntry,
    Repeat,
    Resources,
    Search,
    Stop,
    StudyFile,
    Teachers,
    TeacherTable,
    Views,
    list_problems,
)
from sweeps.space import Value
from sweeps.training import Teacher, data_fields, list_exceptions, resolve_student, resolve_teachers
from sweeps.unique_keys import read_yaml

__all__ = ["Arm", "Pair", "Study", "Teacher", "list_studies", "load", "parse"]

_SHIPPED = Path(__file__).parent / "studies"
_SUFFIXES = (".yaml", ".yml")
_PLACE = ("resources", "teacher_table")     # where and how wide a study runs, and what it keeps, is not what it is


@dataclass(frozen=True)
class Study:
    """What a study is, and where its trials run."""

    name: str
    data: Data
    pairs: tuple[Pair, ...]
    arms: tuple[Arm, ...]
    teachers: tuple[Teacher, ...]
    fix: Mapping[str, Any]          # every training field of a TrialConfig
    exceptions: Mapping[str, Mapping[str, Any]]   # student -> the fields of `fix` that its recipe has otherwise
    search: Search
    stop: Stop
    repeat: Repeat
    views: Views
    teacher_table: TeacherTable | None   # None: every trial asks its teacher itself
    resources: Resources
    failure: Failure
    warnings: tuple[str, ...]
    source_text: str                # the file as given
    weights_dir: str | None = None  # where teachers lie
    tables_dir: str | None = None   # where teacher tables lie; None: there are none
    device: str = "auto"

    @property
    def seed(self) -> int:
        return self.search.seed

    @property
    def epochs(self) -> int:
        """The budget of a trial that runs to its end."""
        return self.fix["epochs"]

    @property
    def rungs(self) -> tuple[int, ...]:
        """The budgets below the whole at which an arm's weaker settings pause or stop."""
        return () if self.stop.rule == "none" else list_rungs(self.stop.grace, self.stop.eta, self.epochs)

    def find_next_budget(self, after: int) -> int | None:
        """The epochs of a setting's next trial when it has come to `after`, 0 at its beginning; None: the study's."""
        if self.stop.budgets == "truncate":
            return None
        return next((rung for rung in self.rungs if rung > after), None)

    @cached_property
    def config_hash(self) -> str:
        """16 hex digits of the resolved study. Where and how wide it runs is left out."""
        return digest({key: value for key, value in self.to_json().items() if key not in _PLACE})

    @property
    def study_id(self) -> str:
        return "s" + self.config_hash

    def to_json(self) -> dict[str, Any]:
        """The resolved study as plain JSON values, without directories and devices."""
        return {
            "study": self.name,
            "data": self.data.model_dump(exclude={"root", "download"}),
            "pairs": [dataclasses.asdict(pair) for pair in self.pairs],
            "arms": [arm.to_json() for arm in self.arms],
            "teachers": [teacher.to_json() for teacher in self.teachers],
            "fix": drop_later_defaults({**self.fix, "milestones": list(self.fix["milestones"])}),
            **({"exceptions": self.exceptions} if self.exceptions else {}),  # else a study is the one it always was
            "search": self.search.model_dump(),
            "stop": self.stop.to_json(),
            "repeat": self.repeat.to_json(),
            **({"views": self.views.model_dump()} if self._shares_views else {}),  # as above
            "failure": self.failure.model_dump(),
            "resources": self.resources.model_dump(),
            "teacher_table": self.teacher_table and self.teacher_table.model_dump(),
        }

    def at(
        self, *, weights_dir: str | Path | None = None, tables_dir: str | Path | None = None,
        data_root: str | Path | None = None, device: str | None = None,
    ) -> Study:
        """The same study at another place; None leaves what is there."""
        place = {"weights_dir": weights_dir, "data_root": data_root, "device": device}
        place = {name: str(value) for name, value in place.items() if value is not None}
        teachers = tuple(teacher.at({**place, "workers": self.resources.workers}) for teacher in self.teachers)
        data = self.data.model_copy(update={"root": place.pop("data_root", self.data.root)})
        if tables_dir is not None and self.teacher_table is not None:
            place["tables_dir"] = str(tables_dir)
        return dataclasses.replace(self, data=data, teachers=teachers, **place)

    def trial_config(
        self,
        arm: Arm,
        settings: Mapping[str, Value],
        *,
        seed: int,
        stage: Literal["tune", "repeat"],
        budget: int | None = None,
    ) -> TrialConfig:
        """The trial of an arm at one point of its space. Repeat trials train as `repeat` says and measure test.

        budget: its epochs, into which the whole training is compressed; None: the study's.
        """
        method = load_method(arm.method)
        defaults = list_settings(method)
        searched = {
            name: cast_setting(value, {**COMMON_DEFAULTS, **defaults}[name]) for name, value in settings.items()
        }
        shared = {name: value for name, value in searched.items() if name in COMMON_DEFAULTS}
        own = {name: value for name, value in searched.items() if name not in COMMON_DEFAULTS}
        training = {**self.fix, **self.exceptions.get(arm.student, {}), **arm.training, **shared}
        whole = {**defaults, **arm.fixed, **own}
        if budget is not None:
            whole = compress_settings(whole, method.in_epochs, budget / training["epochs"])
            training = compress(training, budget)
        config = TrialConfig(
            **data_fields(self.data),
            **training,
            student=arm.student,
            method=arm.method,
            settings=whole,
            teacher=arm.teacher,
            teacher_id=arm.teacher_id,
            train_on=self.repeat.train_on if stage == "repeat" else "train",
            seed=seed,
            epoch_rule=self.repeat.epoch,
            measure_test=stage == "repeat",
            test_curve=stage == "repeat" and self.repeat.test_curve,
            device=self.device,
            weights_dir=self.weights_dir,
            workers=self.resources.workers,
            tables_dir=self.tables_dir,
            table_bytes=self.teacher_table and self.teacher_table.max_bytes,
        )
        is_shared = getattr(self.views, stage) == "shared" and count_views(config) != 1
        return dataclasses.replace(config, view_seed=self.seed) if is_shared else config

    @property
    def _shares_views(self) -> bool:
        """Whether trials of any stage do: where an image has one view there is nothing to share."""
        stages = [self.trial_config(arm, {}, seed=0, stage=stage) for arm in self.arms for stage in ("tune", "repeat")]
        return any(config.view_seed is not None for config in stages)


def list_studies() -> list[str]:
    """The names of the studies that are shipped."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def load(path_or_name: str | Path, *, hashes: Mapping[str, str] | None = None) -> Study:
    """The study in a file, or the shipped study of that name. Raises ValueError for what is not there or wrong.

    hashes: those of the imported teachers' files by model, of a study that has begun; the files may be gone.
    """
    path = Path(path_or_name)
    if str(path_or_name) in list_studies():
        path = _SHIPPED / f"{path_or_name}.yaml"
        return parse(path.read_text(), path.name)
    if path.is_file():
        return parse(path.read_text(), str(path_or_name), sources=Sources(path.parent, hashes or {}))
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        hint = f"shipped studies are found by name: {', '.join(list_studies())}"
        raise ValueError(f"{path}: no such file\n\nhint: {hint}")
    hint = f"a study of your own is found by its path, such as ./{path}.yaml"
    raise ValueError(f"{describe_unknown('study', str(path), list_studies())}\n\nhint: {hint}")


def parse(text: str, source: str, *, sources: Sources = Sources()) -> Study:  # noqa: B008 - it is frozen
    """The study that a YAML text describes. Raises ValueError: the source, and each key with what is wrong."""
    problems = Problems(source)
    file = _read_file(text, problems)
    info = _resolve_data(file.data, problems)
    pairs = _resolve_models(file.pairs, problems)
    teaching = _resolve_teacher_names(file.teachers, problems)
    methods = build_methods(file.methods, file.tune, problems)
    _refuse_missing_teachers(pairs, methods, problems)
    common = read_common(file.tune, problems)
    refuse_best_val_without_validation(file.repeat, problems)
    refuse_idle_compression(file.stop, problems)
    problems.raise_any()

    data = file.data.model_copy(update={"validation": file.data.validation or info.validation})
    varied = {*common, *(name for method in methods for name in method.training)}
    fix = resolve_student(file.fix, info, data, problems, varied=varied)
    problems.raise_any()
    check_common(common, fix, problems)
    students = dict.fromkeys(pair.student for pair in pairs)
    exceptions = list_exceptions(file.fix, students, info, data, problems, varied=varied)
    by_pair, warnings = resolve_teachers(
        teaching, pairs, student=file.fix, info=info, data=data, sources=sources, problems=problems
    )
    problems.raise_any()

    teacher_ids = {key: teacher.teacher_id for key, teacher in by_pair.items()}
    planned = tuple(
        Pair(data.name, pair.teacher, teacher_ids.get((pair.teacher, pair.teacher_seed)), pair.student)
        for pair in pairs
    )
    refuse_misfits(planned, methods, info=info, image_size=fix["image_size"], problems=problems)
    training = {pair.student: {**fix, **exceptions.get(pair.student, {})} for pair in planned}
    arms, misfits = build_arms(planned, methods, common, training)
    study = Study(
        name=file.study, data=data, pairs=planned, arms=arms, teachers=tuple(dict.fromkeys(by_pair.values())), fix=fix,
        exceptions=exceptions,
        search=file.search, stop=file.stop, repeat=file.repeat, views=file.views, teacher_table=file.teacher_table,
        resources=file.resources, failure=file.failure, warnings=(), source_text=text,
    )
    refuse_grid_without_steps(study, problems)
    problems.raise_any()
    return dataclasses.replace(study, warnings=(*warnings, *misfits, *list_cautions(study)))


def _read_file(text: str, problems: Problems) -> StudyFile:
    try:
        return StudyFile.model_validate(read_yaml(text))
    except yaml.YAMLError as error:
        problems.add(f"is not YAML: {error}")
    except ValidationError as error:
        for problem in list_problems(error):
            problems.add(problem)
    except ValueError as error:
        problems.add(str(error))
    problems.raise_any()
    raise AssertionError("a file that cannot be read is a problem")


def _resolve_data(data: Data, problems: Problems) -> DataInfo | None:
    with problems.collect("data.name: "):
        info = load_info(data.name, data.root)
        _check_sizes(data, info, problems)
        return info
    return None


def _check_sizes(data: Data, info: DataInfo, problems: Problems) -> None:
    """Both cuts are stratified: each holds an image of every class at least."""
    validation = data.validation or info.validation
    if not info.num_classes <= validation < info.num_train:
        problems.add(
            f"data.validation: {validation} is not from {info.num_classes} (an image of each class) to below "
            f"{info.num_train} (the train images of {data.name})"
        )
    elif data.train_images is not None and not info.num_classes <= data.train_images <= info.num_train - validation:
        problems.add(
            f"data.train_images: {data.train_images} is not from {info.num_classes} (an image of each class) to "
            f"{info.num_train - validation} (the train images of {data.name} less {validation} for validation)"
        )


def _resolve_models(pairs: tuple[PairEntry, ...], problems: Problems) -> list[PairEntry]:
    """The pairs with their models' names in the one way to write them, none twice."""
    resolved: list[PairEntry] = []
    for place, pair in enumerate(pairs):
        models = {}
        for role in ("teacher", "student") if pair.teacher is not None else ("student",):
            with problems.collect(f"pairs[{place}].{role}: "):
                models[role] = canonical_model(getattr(pair, role))
        resolved.append(pair.model_copy(update=models))
        names = [(other.teacher, other.student) for other in resolved]
        if names[-1] in names[:-1]:
            problems.add(f"pairs[{place}]: the pair {names[-1][0] or 'no teacher'} -> {names[-1][1]} stands twice")
    return resolved


def _refuse_missing_teachers(pairs: Iterable[PairEntry], methods: Iterable[LabelledMethod], problems: Problems) -> None:
    needy = [method.label for method in methods if method.needs_teacher]
    for place, pair in enumerate(pairs):
        if pair.teacher is None and needy:
            problems.add(f"pairs[{place}].teacher: is missing: {', '.join(needy)} need{'s' * (len(needy) == 1)} one")


def _resolve_teacher_names(teachers: Teachers, problems: Problems) -> Teachers:
    by_model = {}
    for model, teaching in teachers.by_model.items():
        with problems.collect("teachers: "):
            by_model[canonical_model(model)] = teaching
    return teachers.model_copy(update={"by_model": by_model})
