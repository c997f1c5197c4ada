"""Search spaces: what `tune` may choose the value of an option from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from emrl_ray.config.errors import UserError

Space: TypeAlias = str | float | list[Any] | dict[str, Any]
"""A domain as users write it: a value, a list of values, or a range, as `parse_space` takes it."""
Value: TypeAlias = str | float | int
FORMS = "give a value, values as A,B,C or a list, or a range as LOW:HIGH or {low: LOW, high: HIGH}"


class RangeDomain(NamedTuple):
    """All numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Whether equal ratios, and not equal differences, are equally likely."""

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values that are furthest apart."""
        return self.low, self.high

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.low == self.high

    def __contains__(self, value: object) -> bool:
        """Return whether a number lies in the range."""
        return isinstance(value, float | int) and self.low <= value <= self.high

    def times(self, factor: float) -> RangeDomain:
        """Return the range of numbers that are `factor` times as large."""
        return RangeDomain(self.low * factor, self.high * factor, self.log)

    def plain(self) -> Space:
        """Return the range as YAML and JSON hold it, the same however it was written."""
        return {"low": self.low, "high": self.high, "log": self.log}


class ChoiceDomain(NamedTuple):
    """One of some values; one alone is fixed."""

    values: tuple[Value, ...]

    @property
    def extremes(self) -> tuple[Value, ...]:
        """All values."""
        return self.values

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.values) == 1

    def __contains__(self, value: object) -> bool:
        """Return whether it is one of the values."""
        return value in self.values

    def plain(self) -> Space:
        """Return the values as YAML and JSON hold them: one by itself, several as a list."""
        return self.values[0] if self.fixed else list(self.values)


SearchDomain: TypeAlias = RangeDomain | ChoiceDomain


def parse_space(option: str, space: Space, kind: type, log: bool) -> SearchDomain:
    """Return the domain of an option whose values are of type `kind` (int, float or str).

    In text, LOW:HIGH is a range (of numbers) and commas separate values. A range is logarithmic if `log` says so
    and no `log` stands in a mapping. Raises UserError, in one line, for what is none.
    """
    if isinstance(space, dict):
        return _range(option, space, kind, log)
    if isinstance(space, str) and kind is not str and space.count(":") == 1:
        low, _, high = space.partition(":")
        return _range(option, {"low": low, "high": high}, kind, log)
    if isinstance(space, str):
        space = [word.strip() for word in space.split(",")]
    return _choice(option, space if isinstance(space, list) else [space], kind)


def _range(option: str, ends: dict[str, Any], kind: type, log: bool) -> SearchDomain:
    if kind is str or not {"low", "high"} <= ends.keys() <= {"low", "high", "log"}:
        raise _refused(option, ends)
    low, high = (_value(option, ends[end], kind) for end in ("low", "high"))
    log = ends.get("log", log)
    if not isinstance(log, bool):
        raise UserError(f"{_named(option)}: log: {log}: must be true or false")
    if not low <= high:  # type: ignore[operator]
        raise UserError(f"{_named(option)} {low}:{high}: the low end lies above the high one")
    if low == high:
        return ChoiceDomain((low,))
    if log and not low > 0:  # type: ignore[operator]
        raise UserError(
            f"{_named(option)} {low}:{high}: a logarithmic range begins above 0 "
            "(in YAML, log: false makes it an even one)"
        )
    return RangeDomain(low, high, log)  # type: ignore[arg-type]


def _choice(option: str, values: Iterable[Any], kind: type) -> ChoiceDomain:
    found = tuple(_value(option, value, kind) for value in values)
    if not found:
        raise _refused(option, "[]")
    for place, value in enumerate(found):
        if value in found[:place]:
            raise UserError(f"{_named(option)}: {value} stands there twice")
    return ChoiceDomain(found)


def _value(option: str, value: object, kind: type) -> Value:
    """Return a value of an option as its type."""
    if kind is str:
        if isinstance(value, str) and value:
            return value
        raise _refused(option, value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _refused(option, value) from None
    if isinstance(value, bool) or number - number != 0:  # NaN and infinities differ from themselves
        raise _refused(option, value)
    if kind is int and number != int(number):
        raise UserError(f"{_named(option)} {value}: must be a whole number")
    return int(number) if kind is int else number


def _refused(option: str, value: object) -> UserError:
    return UserError(f"{_named(option)} {value}: {FORMS}")


def _named(option: str) -> str:
    return f"--{option.replace('_', '-')}"
