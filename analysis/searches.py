"""What every arm's search tried: its ranges, and its trials with their settings and validation values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import ranges
from analysis.arm_rows import ARM_KEYS
from analysis.arms import Arm, Plan, read_plans
from analysis.footer import name_arm
from analysis.names import describe_unknown
from analysis.queries import Results
from analysis.ranges import Range, Value
from analysis.settings import SETTINGS

Row = Mapping[str, Any]

_QUERIES = {
    "trials": f"SELECT * FROM ({SETTINGS}) ORDER BY number",
    "studies": "SELECT * FROM studies ORDER BY created_at, study_id",
}


@dataclass(frozen=True)
class Tried:
    """One setting of a search. `val_top1` is None where it did not run to the end: another budget's is no equal."""

    settings: Mapping[str, Value]       # those that were searched
    status: str
    val_top1: float | None


@dataclass(frozen=True)
class Search:
    """The search of one arm."""

    arm: Arm
    study: str                          # the study's name
    sampler: str | None                 # tpe, random or grid
    ranges: Mapping[str, Range]         # of the settings that vary, in the order of their names
    tried: tuple[Tried, ...]            # in the order in which they were asked for
    untold: tuple[str, ...]             # searched settings that the tables do not tell

    @property
    def name(self) -> str:
        return name_arm(self.arm)

    @property
    def group(self) -> tuple[str, str]:
        """What arms share that search the same settings on other pairs: study_id and method label."""
        return self.arm.pair.study_id, self.arm.label

    @property
    def completed(self) -> list[Tried]:
        return [trial for trial in self.tried if trial.val_top1 is not None]

    @property
    def unfinished(self) -> list[Tried]:
        return [trial for trial in self.tried if trial.val_top1 is None]

    @property
    def keys(self) -> dict[str, Any]:
        """The arm as a row's keys."""
        pair = self.arm.pair
        told = (self.study, pair.data, pair.teacher, pair.teacher_id, pair.student, self.arm.label)
        return dict(zip(ARM_KEYS, told, strict=True))


def read_searches(results: Results, *, method: str | None = None) -> list[Search]:
    """The searches of all arms in the order of the studies' plans, or of the method with this label.

    ValueError for a label that no study has, and where a trial's setting is outside its arm's range.
    """
    facts = results.rows(_QUERIES)
    plans = read_plans(facts["studies"])
    trials = defaultdict(list)
    for row in facts["trials"]:
        trials[row["study_id"], row["arm_id"]].append(row)
    searches = [search for plan in plans.values() for search in _read_plan(plan, trials)]
    labels = {search.arm.label for search in searches}
    if method is not None and method not in labels:
        raise ValueError(describe_unknown("method", method, labels))
    return [search for search in searches if method in (None, search.arm.label)]


def describe_arms(searches: Sequence[Search], said: Sequence[str | None]) -> Iterator[str]:
    """One sentence for all arms of which the same is said; nothing of those with None."""
    for sentence in dict.fromkeys(said):
        if sentence is not None:
            alike = (search.name for search, other in zip(searches, said, strict=True) if other == sentence)
            yield f"{sentence}: {'; '.join(alike)}"


def describe_untold(searches: Iterable[Search]) -> Iterator[str]:
    """One sentence per arm of which the tables do not tell all that was searched."""
    for search in searches:
        if search.untold:
            yield f"{search.name}: {', '.join(search.untold)} was searched, but the tables do not tell its values"


def _read_plan(plan: Plan, trials: Mapping[tuple[str, str], Sequence[Row]]) -> list[Search]:
    written = {arm["arm_id"]: arm.get("space") or {} for arm in plan.config.get("arms") or []}
    return [
        _read_search(plan, arm, written[arm.arm_id], trials.get((arm.pair.study_id, arm.arm_id), ()))
        for arm in plan.arms()
    ]


def _read_search(plan: Plan, arm: Arm, written: Mapping[str, Any], own: Sequence[Row]) -> Search:
    told = [_read_settings(row) for row in own]
    searched = {name: ranges.parse(given) for name, given in written.items()}
    varied = {name: found for name, found in sorted(searched.items()) if found.varies}
    untold = tuple(name for name in varied if any(settings.get(name) is None for settings in told))
    kept = {name: found for name, found in varied.items() if name not in untold}
    tried = tuple(_build(row, settings, kept) for row, settings in zip(own, told, strict=True))
    return Search(arm, plan.name, (plan.config.get("search") or {}).get("sampler"), kept, tried, untold)


def _read_settings(row: Row) -> dict[str, Any]:
    """The row's own columns, which hold the learning rate, and over them the method's settings in their own types."""
    return {**row, **json.loads(row["settings_json"] or "{}")}


def _build(row: Row, settings: Mapping[str, Any], searched: Mapping[str, Range]) -> Tried:
    for name, found in searched.items():
        if not found.contains(settings[name]):
            raise ValueError(
                f"trial {row['trial_id']}: its {name} {settings[name]!r} is outside the arm's {found.describe()}"
                "\n\nhint: the tables and the study's plan disagree; `kdsweep check` looks further"
            )
    val_top1 = row["val_top1"] if row["status"] == "completed" else None
    return Tried({name: settings[name] for name in searched}, row["status"], val_top1)
