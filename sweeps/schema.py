"""The study file as it is written: its keys, their types and bounds. What the keys mean together is study.py's part."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, model_validator

from kdtrain.names import suggest
from sweeps.space import read_number, read_whole

Number = Annotated[float, BeforeValidator(read_number)]
Count = Annotated[int, BeforeValidator(read_whole)]


def _read_name(given: object) -> str:
    """A name that can be a directory and a part of an arm's identity."""
    if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", given):
        raise ValueError(f"{given!r} is not a name\n\nhint: letters, digits, and . _ + - inside")
    return given


Name = Annotated[str, BeforeValidator(_read_name)]


def _read_sha256(given: object) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", given):
        raise ValueError(f"{given!r} is not a SHA-256\n\nhint: 64 hex digits, as `sha256sum FILE` prints them")
    return given.lower()


class Section(BaseModel):
    """A mapping of the file. Other keys than its fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    name: str                                               # file of kdtrain/data, or package.module:Name
    validation: Annotated[Count, Field(ge=1)] | None = None  # images held out of train; default: the data set's
    split_seed: Count = 0
    train_images: Annotated[Count, Field(ge=1)] | None = None  # only so many train images
    root: str | None = None                                 # default: $KDSWEEP_DATA
    download: StrictBool = False


class Training(Section):
    """The fields of a TrialConfig that a recipe has; TrialConfig checks their values."""

    recipe: str | None = None
    epochs: Annotated[Count, Field(ge=1)] | None = None
    batch_size: Count | None = None
    lr: Number | None = None
    momentum: Number | None = None
    nesterov: StrictBool | None = None
    weight_decay: Number | None = None
    schedule: str | None = None
    milestones: tuple[Annotated[Number, Field(gt=0, lt=1)], ...] | None = None
    decay: Annotated[Number, Field(gt=0)] | None = None
    warmup_epochs: Count | None = None
    min_lr: Number | None = None
    poly_power: Number | None = None
    optimizer: str | None = None
    decay_norms: StrictBool | None = None
    clip_norm: Number | None = None
    precision: str | None = None
    compile: str | None = None
    augment: str | None = None
    padding: Count | None = None
    image_size: Count | None = None
    rand_augment: Count | None = None
    rand_magnitude: Count | None = None
    erasing: Number | None = None
    mixup: Number | None = None
    cutmix: Number | None = None
    mix_probability: Number | None = None
    label_smoothing: Number | None = None
    deterministic: StrictBool | None = None

    def given(self) -> dict[str, Any]:
        """The training fields that the file sets, without the recipe's name."""
        return {name: getattr(self, name) for name in TRAINING_FIELDS if getattr(self, name) is not None}


TRAINING_FIELDS = tuple(name for name in Training.model_fields if name != "recipe")


class Gate(Section):
    val_top1: Annotated[Number, Field(ge=0, le=1)]


class Teaching(Training):
    """How one teacher model is trained."""

    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    gate: Gate | None = None


class Imported(Teaching):
    """How one teacher model is trained, or which file holds its weights: then it is not trained."""

    file: str | None = None                                 # from the study file's directory on
    sha256: Annotated[str, BeforeValidator(_read_sha256)] | None = None
    held_out: StrictBool = False                            # it never saw the validation images

    @property
    def is_training(self) -> bool:
        """Whether the file says of this very teacher how it is trained."""
        return self.recipe is not None or self.seeds is not None or bool(self.given())

    @model_validator(mode="after")
    def _refuse_training(self) -> Imported:
        if self.file is None:
            for name in ("sha256", "held_out"):
                if getattr(self, name):
                    raise ValueError(f"{name}: has no effect without file")
        for name in ("recipe", "seeds", *self.given()):
            if self.file is not None and getattr(self, name) is not None:
                raise ValueError(f"{name}: has no effect with file: that teacher is trained already")
        return self


class Teachers(Teaching):
    """How all teachers are trained; a mapping under a model's name goes before."""

    by_model: dict[str, Imported] = {}

    @model_validator(mode="before")
    @classmethod
    def _collect_models(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = set(cls.model_fields) - {"by_model"}
        models = {key: value for key, value in given.items() if key not in fields and isinstance(value, dict)}
        return {"by_model": models, **{key: value for key, value in given.items() if key not in models}}


class PairEntry(Section):
    student: str
    teacher: str | None = None                              # none where no method of the study needs one
    teacher_seed: Count | None = None                       # default: the first of the teacher's seeds


class MethodEntry(BaseModel):
    """A name, or a label with fixed settings; every other key is a setting of the method."""

    model_config = ConfigDict(extra="allow", frozen=True)

    method: str
    label: Name

    @model_validator(mode="before")
    @classmethod
    def _expand_name(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"method": given, "label": _to_label(given)}
        if isinstance(given, dict) and isinstance(given.get("method"), str):
            return {"label": _to_label(given["method"]), **given}
        return given

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


def _to_label(method: str) -> str:
    """`kd`; of `package.module:Name` the name; of a method in wrappers all names, such as `select_standardize_kd`."""
    named = "_".join(part.rpartition(":")[2] for part in re.split(r"[()]", method) if part)
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", named).strip("_")  # a method that does not exist is told of as one


class Search(Section):
    trials_per_arm: Annotated[Count, Field(ge=1)]           # a total: the same for every arm
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    seed: Count = 0


class Stop(Section):
    rule: Literal["asha", "asha_stop", "none"] = "none"
    eta: Annotated[Count, Field(ge=2)] = 3                  # one in eta goes on; chosen by hand
    grace: Annotated[Count, Field(ge=1)] = 1                # the first rung
    budgets: Literal["truncate", "compress"] = "truncate"   # a rung is an epoch of a trial, or a whole shorter trial
    immune: Annotated[Number, Field(ge=0, lt=1)] = 0.0      # share of settings that always run to the end

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; budgets only where they are compressed, so that a study is the one it always was."""
        return self.model_dump(exclude={"budgets"} if self.budgets == "truncate" else None)


class Repeat(Section):
    seeds: Annotated[Count, Field(ge=1)] = 5
    train_on: Literal["train", "train+validation"] = "train+validation"
    epoch: Literal["last", "best_val"] = "last"
    test_curve: StrictBool = False                          # test after every epoch, in a table of its own

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; a curve only where there is one, so that a study is the one it was before the key."""
        return self.model_dump(exclude=None if self.test_curve else {"test_curve"})


class Views(Section):
    """Whether the trials of a stage see the same view of an image in the same epoch, or each draws its own."""

    tune: Literal["shared", "own"] = "shared"
    repeat: Literal["shared", "own"] = "own"

    @model_validator(mode="before")
    @classmethod
    def _expand_name(cls, given: Any) -> Any:
        return {"tune": given, "repeat": given} if isinstance(given, str) else given


class TeacherTable(Section):
    """What the teachers said, kept on disk: see kdtrain/teacher_table.py."""

    max_bytes: Annotated[Count, Field(ge=1)] = 32 * 10**9   # of one table; chosen by hand: ten CIFAR-100 teachers


def _read_switch(given: object) -> object:
    """`off` and `on`, which YAML reads as false and true, beside a mapping."""
    return {False: None, True: {}}[given] if isinstance(given, bool) else given


class Resources(Section):
    cpu: Annotated[Number, Field(gt=0)] = 1                 # of one job
    gpu: Annotated[Number, Field(ge=0)] = 0                 # of one job; fractions share a GPU
    max_parallel: Annotated[Count, Field(ge=1)] | None = None
    workers: Annotated[Count, Field(ge=0)] = 0              # processes of one job that decode and transform its images


class Failure(Section):
    retries: Annotated[Count, Field(ge=0)] = 2
    max_failed_fraction: Annotated[Number, Field(ge=0, le=1)] = 0.2


class StudyFile(Section):
    study: Name
    data: Data
    teachers: Teachers = Teachers()
    pairs: Annotated[tuple[PairEntry, ...], Field(min_length=1)]
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    tune: dict[str, dict[str, Any]] = {}                    # lr: range; a label or a method: its settings: ranges
    fix: Training
    search: Search
    stop: Stop = Stop()
    repeat: Repeat = Repeat()
    views: Views = Views()
    teacher_table: Annotated[TeacherTable | None, BeforeValidator(_read_switch)] = TeacherTable()
    resources: Resources = Resources()
    failure: Failure = Failure()


def list_problems(error: ValidationError) -> list[str]:
    """One `key.path: sentence` for each thing that is wrong."""
    return [f"{_write_path(found['loc'])}: {_explain(found)}" for found in error.errors()]


def _write_path(loc: tuple[str | int, ...]) -> str:
    """`tune.lr`, `pairs[1].teacher`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != "by_model")
    return "".join(parts).removeprefix(".") or "the file"


_SENTENCES = {
    "missing": "is missing",
    "greater_than": "{input!r} is not above {gt:g}",
    "greater_than_equal": "{input!r} is below {ge:g}",
    "less_than": "{input!r} is not below {lt:g}\n\nhint: it is a share, such as 0.5",
    "less_than_equal": "{input!r} is above {le:g}",
    "literal_error": "{input!r} is none of {expected}",
    "too_short": "is empty",
    "model_type": "{input!r} is not a mapping",
    "model_attributes_type": "{input!r} is not a mapping",
    "dict_type": "{input!r} is not a mapping",
    "tuple_type": "{input!r} is not a list",
    "string_type": "{input!r} is not a text",
    "bool_type": "{input!r} is neither true nor false",
}


def _explain(found: Any) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"no such key.{suggest(str(found['loc'][-1]), _list_keys(found['loc'][:-1]))}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(input=found["input"], **context)
    return found["msg"]


def _list_keys(loc: tuple[str | int, ...]) -> list[str]:
    """The keys of the section that lies at `loc`."""
    section: Any = StudyFile
    for part in loc:
        if isinstance(part, str) and part in section.model_fields:
            section = _find_section(section.model_fields[part].annotation)
    return [key for key in section.model_fields if key != "by_model"]


def _find_section(annotation: Any) -> Any:
    """The one section among an annotation's parts: of `tuple[PairEntry, ...]`, PairEntry."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _find_section(part))), None)
