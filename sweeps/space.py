"""Search ranges as a study file writes them: {log: [a, b]}, {range: [a, b]}, {int: [a, b]}, {choice: [...]}.

`steps: n` beside a log or range says how many points a grid takes from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from kdtrain.names import suggest

Value = float | int | str | bool

_FORMS = "write {log: [low, high]}, {range: [low, high]}, {int: [low, high]} or {choice: [...]}"
_FIXED = "a fixed value goes under `fix` or into the method's entry"


@dataclass(frozen=True)
class Log:
    """Real numbers in [low, high], drawn evenly on a logarithmic scale."""

    low: float
    high: float
    steps: int | None = None    # points in a grid

    def contains(self, value: Value) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def to_optuna(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high, log=True)

    def to_json(self) -> dict[str, Any]:
        return _with_steps({"log": [self.low, self.high]}, self.steps)

    def grid_points(self) -> tuple[float, ...]:
        """`steps` points with equal ratios, both ends exact."""
        return _spread(self, lambda share: self.low * (self.high / self.low) ** share)


@dataclass(frozen=True)
class Linear:
    """Real numbers in [low, high], drawn evenly."""

    low: float
    high: float
    steps: int | None = None    # points in a grid

    def contains(self, value: Value) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def to_optuna(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        return _with_steps({"range": [self.low, self.high]}, self.steps)

    def grid_points(self) -> tuple[float, ...]:
        """`steps` points with equal distances, both ends exact."""
        return _spread(self, lambda share: self.low + (self.high - self.low) * share)


@dataclass(frozen=True)
class Whole:
    """Whole numbers in [low, high], drawn evenly."""

    low: int
    high: int

    def contains(self, value: Value) -> bool:
        return _is_number(value) and self.low <= value <= self.high and float(value).is_integer()

    def to_optuna(self) -> BaseDistribution:
        return IntDistribution(self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        return {"int": [self.low, self.high]}

    def grid_points(self) -> tuple[int, ...]:
        """Every number."""
        return tuple(range(self.low, self.high + 1))


@dataclass(frozen=True)
class Choice:
    """One of a few values without an order."""

    values: tuple[Value, ...]

    def contains(self, value: Value) -> bool:
        return value in self.values

    def to_optuna(self) -> BaseDistribution:
        return CategoricalDistribution(self.values)

    def to_json(self) -> dict[str, Any]:
        return {"choice": list(self.values)}

    def grid_points(self) -> tuple[Value, ...]:
        """Every value."""
        return self.values


Range = Log | Linear | Whole | Choice


def parse_range(given: object, where: str) -> Range:
    """The range that a study file's mapping means. Raises ValueError, which begins with `where`."""
    try:
        return _parse(given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def read_number(given: object) -> float | int:
    """A finite number; YAML leaves `1e-4` a string, which is accepted. Raises ValueError."""
    number = _to_number(given) if isinstance(given, str) else given
    if not _is_number(number) or not math.isfinite(number):
        raise ValueError(f"{given!r} is not a number")
    return number


def read_whole(given: object) -> int:
    """A whole number, also when written `1e3` or `4.0`. Raises ValueError."""
    number = read_number(given)
    if not float(number).is_integer():
        raise ValueError(f"{given!r} is not a whole number")
    return int(number)


def _parse(given: object) -> Range:
    if not isinstance(given, Mapping):
        raise ValueError(f"{given!r} is not a range\n\nhint: {_FORMS}; {_FIXED}")
    kinds = [kind for kind in _PARSERS if kind in given]
    if len(kinds) != 1:
        raise ValueError(f"{dict(given)!r} is not a range\n\nhint: {_FORMS}")
    known = (kinds[0], "steps") if kinds[0] in ("log", "range") else (kinds[0],)
    for key in given:
        if key not in known:
            raise ValueError(f"no such key `{key}` in a range.{suggest(str(key), known)}")
    return _PARSERS[kinds[0]](given)


def _parse_log(given: Mapping[str, Any]) -> Log:
    low, high = (float(bound) for bound in _read_bounds(given["log"], "log"))
    if low <= 0:
        raise ValueError(f"low {low!r} has no logarithm\n\nhint: write {{range: [{low!r}, {high!r}]}} or a low above 0")
    return Log(low, high, _read_steps(given))


def _parse_linear(given: Mapping[str, Any]) -> Linear:
    low, high = (float(bound) for bound in _read_bounds(given["range"], "range"))
    return Linear(low, high, _read_steps(given))


def _parse_whole(given: Mapping[str, Any]) -> Whole:
    low, high = _read_bounds(given["int"], "int")
    return Whole(read_whole(low), read_whole(high))


def _parse_choice(given: Mapping[str, Any]) -> Choice:
    values = given["choice"]
    if not isinstance(values, list) or not values:
        raise ValueError(f"{values!r} is not a list of values\n\nhint: write {{choice: [1, 2]}}")
    values = [_read_value(value) for value in values]
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"the value {value!r} stands twice")
    return Choice(tuple(values))


_PARSERS = {"log": _parse_log, "range": _parse_linear, "int": _parse_whole, "choice": _parse_choice}


def _read_bounds(given: object, kind: str) -> tuple[float | int, float | int]:
    if not isinstance(given, list) or len(given) != 2:
        raise ValueError(f"{given!r} is not a low and a high\n\nhint: write {{{kind}: [low, high]}}")
    low, high = read_number(given[0]), read_number(given[1])
    if low > high:
        raise ValueError(f"low {low!r} is above high {high!r}\n\nhint: write {{{kind}: [{high!r}, {low!r}]}}")
    if low == high:
        raise ValueError(f"low and high are both {low!r}\n\nhint: {_FIXED}")
    return low, high


def _read_steps(given: Mapping[str, Any]) -> int | None:
    if given.get("steps") is None:
        return None
    steps = read_whole(given["steps"])
    if steps < 2:
        raise ValueError(f"steps {steps} is below 2")
    return steps


def _read_value(given: object) -> Value:
    if isinstance(given, str):
        number = _to_number(given)
        return given if number is None else number
    if isinstance(given, bool):
        return given
    return read_number(given)


def _to_number(text: str) -> float | int | None:
    """The finite number that a text is, else None."""
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(text) if text.strip("+-").isdigit() else number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spread(of: Log | Linear, place: Any) -> tuple[float, ...]:
    """`of.steps` points from low to high. Raises ValueError where a study did not say how many."""
    if of.steps is None:
        (kind, ends), *_ = of.to_json().items()
        raise ValueError(f"a grid needs the number of steps\n\nhint: write {{{kind}: {ends!r}, steps: n}}")
    inner = (place(step / (of.steps - 1)) for step in range(1, of.steps - 1))
    # Rounding must not put an inner point outside: the ends are the study's own.
    return (of.low, *(min(max(point, of.low), of.high) for point in inner), of.high)


def _with_steps(written: dict[str, Any], steps: int | None) -> dict[str, Any]:
    return written if steps is None else {**written, "steps": steps}
