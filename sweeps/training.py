"""How students and teachers are trained: the data set's defaults, over them a recipe, over both the study's words."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kdtrain.config import TrialConfig, check_choices
from kdtrain.images import DataInfo
from kdtrain.names import suggest
from kdtrain.recipes import load_recipe
from kdtrain.teachers import name_imported, name_teacher
from sweeps.origin import Origin, Sources
from sweeps.problems import Problems
from sweeps.schema import TRAINING_FIELDS, Data, Imported, PairEntry, Teachers, Teaching, Training
from sweeps.sections import Sections, find_section, list_sections, locate

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(TrialConfig) if f.name in TRAINING_FIELDS}
_ACTS_WITH = {  # a field, and the values of another with which alone it has an effect
    "milestones": ("schedule", ("step",)),
    "decay": ("schedule", ("step", "exponential")),
    "min_lr": ("schedule", ("cosine", "linear", "poly")),
    "poly_power": ("schedule", ("poly",)),
    "warmup_epochs": ("schedule", ("constant", "step", "exponential", "cosine", "linear", "poly")),
    "momentum": ("optimizer", ("sgd",)),
    "nesterov": ("optimizer", ("sgd",)),
    "padding": ("augment", ("crop", "crop_flip")),
}
_ACTS_ABOVE_0 = {  # a field, and others one of which must be above 0
    "rand_magnitude": ("rand_augment",),
    "mix_probability": ("mixup", "cutmix"),
    "decay_norms": ("weight_decay",),
}


@dataclass(frozen=True)
class Teacher:
    """A teacher that the study trains, or finds trained, or imports."""

    teacher_id: str
    config: TrialConfig     # of one that is imported, only its model and its data mean something
    gate: float | None      # least val_top1 that it may teach with
    origin: Origin | None = None  # where its weights come from where they are imported

    def to_json(self) -> dict[str, Any]:
        """The teacher as plain JSON values, its place left out."""
        known = {"config": self.config.identity()} if self.origin is None else {"imported": self.origin.to_json()}
        return {"teacher_id": self.teacher_id, "model": self.config.student, "gate": self.gate, **known}

    def at(self, place: Mapping[str, str | int]) -> Teacher:
        """The same teacher, trained and stored at another place."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **place))


def data_fields(data: Data) -> dict[str, Any]:
    """What a study's data set is, as fields of a TrialConfig."""
    return {
        "data": data.name,
        "validation": data.validation,
        "split_seed": data.split_seed,
        "train_images": data.train_images,
        "data_root": data.root,
        "download": data.download,
    }


def resolve_student(
    given: Training, info: DataInfo, data: Data, problems: Problems, *, model: str | None = None,
    varied: Collection[str] = (),
) -> dict[str, Any]:
    """Every training field of the students; with `model` those of this model, for which a recipe may have its own.

    varied: the fields that trials may have otherwise, searched or fixed by a label. What is wrong goes to `problems`.
    """
    identity = {**data_fields(data), "student": model or "any"}
    return _resolve(given, _start(info), {"fix": given}, identity, problems, varied=varied)


def list_exceptions(
    given: Training, models: Iterable[str], info: DataInfo, data: Data, problems: Problems, *,
    varied: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """The training fields in which a model differs from the others, for each that does: a recipe's own rules."""
    common = resolve_student(given, info, data, problems, varied=varied)
    exceptions = {}
    for model in models:
        fields = resolve_student(given, info, data, problems, model=model, varied=varied)
        if changed := {name: value for name, value in fields.items() if value != common.get(name)}:
            exceptions[model] = changed
    return exceptions


def resolve_teachers(
    teachers: Teachers,
    pairs: list[PairEntry],
    *,
    student: Training,
    info: DataInfo,
    data: Data,
    sources: Sources,
    problems: Problems,
) -> tuple[dict[tuple[str, int | None], Teacher], list[str]]:
    """The pairs' teachers by (model, the seed that the pair asks for), and warnings.

    Where `teachers` names no recipe they train as the students do, but for what it says.
    """
    _refuse_unknown_models(teachers, pairs, problems)
    planned: dict[tuple[str, int | None], Teacher] = {}
    used: dict[str, set[int]] = {}
    imported, warnings = _resolve_imported(teachers, pairs, student, info, data, sources, problems)
    for place, pair in enumerate(pairs):
        if pair.teacher is None:
            continue
        if pair.teacher in imported:
            if pair.teacher_seed is not None:
                problems.add(f"pairs[{place}].teacher_seed: the teacher is imported, it has no seed here")
            planned[pair.teacher, pair.teacher_seed] = imported[pair.teacher]
            continue
        given = _merge(teachers, pair.teacher)
        seeds = given.seeds or (0,)
        seed = seeds[0] if pair.teacher_seed is None else pair.teacher_seed
        if seed not in seeds:
            problems.add(f"pairs[{place}].teacher_seed: {seed} is none of the teacher's seeds {list(seeds)}")
            continue
        used.setdefault(pair.teacher, set()).add(seed)
        start = _start(info)
        if given.recipe is None:
            start = _inherit(student, info, data, problems, model=pair.teacher)
        identity = {**data_fields(data), "student": pair.teacher, "seed": seed, "measure_test": True}
        sections = list_sections(teachers, pair.teacher, student=student)
        fields = _resolve(given, start, sections, identity, problems)
        if fields:
            config = TrialConfig(**identity, **fields)
            gate = None if given.gate is None else given.gate.val_top1
            planned[pair.teacher, pair.teacher_seed] = Teacher(name_teacher(config), config, gate)
    return planned, warnings + _list_unused_seeds(teachers, used)


def _resolve_imported(
    teachers: Teachers, pairs: list[PairEntry], student: Training, info: DataInfo, data: Data, sources: Sources,
    problems: Problems,
) -> tuple[dict[str, Teacher], list[str]]:
    """The teachers that are not trained, by model, and warnings."""
    found, warnings = {}, []
    for model in dict.fromkeys(pair.teacher for pair in pairs if pair.teacher is not None):
        given = teachers.by_model.get(model, Imported())
        origin = sources.find_origin(given, model, num_classes=info.num_classes, problems=problems)
        if origin is not None:
            # it is measured on what it will teach on: images of the students' size
            image_size = _inherit(student, info, data, problems, model=model).get("image_size")
            config = TrialConfig(**data_fields(data), student=model, image_size=image_size)
            gate = given.gate or teachers.gate
            teacher_id = name_imported(config, origin.sha256)
            found[model] = Teacher(teacher_id, config, None if gate is None else gate.val_top1, origin)
            warnings += sources.list_warnings(given, model, origin)
    return found, warnings


def _inherit(student: Training, info: DataInfo, data: Data, problems: Problems, *, model: str) -> dict[str, Any]:
    """What `fix` says of a model. What has no effect there was refused of the students, or some of them have it."""
    return resolve_student(student, info, data, problems, model=model, varied=TRAINING_FIELDS)


def _start(info: DataInfo) -> dict[str, Any]:
    """The training fields before recipe and study: the defaults, and the data set's own augmentation."""
    return {**_DEFAULTS, "augment": info.augment, "padding": info.padding}


def _resolve(
    given: Training, start: dict[str, Any], sections: Sections, identity: Mapping[str, Any], problems: Problems,
    *, varied: Collection[str] = (),
) -> dict[str, Any]:
    """Every training field, checked by building a trial of it; empty where something is wrong."""
    model = identity["student"]
    with problems.collect(f"{find_section('recipe', sections, model=model)}.recipe: "):
        recipe = {} if given.recipe is None else load_recipe(given.recipe, model)
        fields = {**start, **recipe, **given.given()}
        with problems.collect(f"{find_section('schedule', sections, model=model)}."):
            _refuse_half_schedules(fields, given)
            try:
                TrialConfig(**{**identity, **_settle(fields, given, varied)})
            except ValueError as error:
                problems.add(locate(str(error), sections, model=model))
            else:
                return fields
    return {}


def _settle(fields: dict[str, Any], given: Training, varied: Collection[str]) -> dict[str, Any]:
    """The fields without what has no effect, so that equal trainings are equal trials. Raises ValueError."""
    check_choices(fields)
    if list(fields["milestones"]) != sorted(set(fields["milestones"])):
        raise ValueError(f"milestones: {list(fields['milestones'])} do not rise")
    for name, (other, values) in _ACTS_WITH.items():
        if fields[other] not in values:
            _forget(name, fields, given, other=other, hint=f"write {other}: {' or '.join(values)}")
    for name, others in _ACTS_ABOVE_0.items():
        if not any(fields[other] or other in varied for other in others):
            _forget(name, fields, given, other=others[0], hint=f"write {' or '.join(others)} above 0")
    if fields["warmup_epochs"] >= fields["epochs"]:
        raise ValueError(f"warmup_epochs: {fields['warmup_epochs']} is not below epochs {fields['epochs']}")
    if not fields["mix_probability"]:
        raise ValueError("mix_probability: 0 mixes no batch\n\nhint: write mixup: 0 and cutmix: 0")
    return fields


def _refuse_half_schedules(fields: Mapping[str, Any], given: Training) -> None:
    """Raises ValueError where the schedule lacks what only the study can say."""
    if fields["schedule"] == "step" and not fields["milestones"]:
        hint = "write shares of the epochs, such as [0.625, 0.75, 0.875]"
        raise ValueError(f"milestones: a step schedule needs them\n\nhint: {hint}")
    if given.schedule == "exponential" and given.decay is None:  # what is usual at a milestone is not after each epoch
        hint = "write what lr is multiplied by after each epoch, such as 0.98"
        raise ValueError(f"decay: an exponential schedule needs it\n\nhint: {hint}")


def _forget(name: str, fields: dict[str, Any], given: Training, *, other: str, hint: str) -> None:
    """Puts a field that has no effect at its default. Raises ValueError where the study asks for more than nothing."""
    asked = getattr(given, name)
    if asked is False if _DEFAULTS[name] is True else asked:
        raise ValueError(f"{name}: has no effect with {other} {fields[other]}\n\nhint: {hint}")
    fields[name] = _DEFAULTS[name]


def _merge(teachers: Teachers, model: str) -> Teaching:
    """How a teacher is trained: its model's own words over those for all teachers."""
    common = teachers.model_dump(exclude={"by_model"}, exclude_none=True)
    if model not in teachers.by_model:
        return Teaching.model_validate(common)
    own = teachers.by_model[model].model_dump(exclude={"file", "sha256", "held_out"}, exclude_none=True)
    return Teaching.model_validate({**common, **own})


def _refuse_unknown_models(teachers: Teachers, pairs: list[PairEntry], problems: Problems) -> None:
    """What `teachers` says must be said of someone."""
    used = {pair.teacher for pair in pairs if pair.teacher is not None}
    if not used and teachers != Teachers():
        problems.add("teachers: no pair has a teacher")
    for place, pair in enumerate(pairs):
        if pair.teacher is None and pair.teacher_seed is not None:
            problems.add(f"pairs[{place}].teacher_seed: the pair has no teacher")
    for model in teachers.by_model:
        if model not in used:
            problems.add(f"teachers.{model}: no such teacher in `pairs`.{suggest(model, used)}")


def _list_unused_seeds(teachers: Teachers, used: Mapping[str, set[int]]) -> list[str]:
    return [
        f"teachers: seed {seed} of {model} teaches in no pair and is not trained"
        for model, seeds in used.items()
        for seed in _merge(teachers, model).seeds or ()
        if seed not in seeds
    ]
