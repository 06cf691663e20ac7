"""Figures with their goals, as a table and as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured.

    Attributes:
        value: None where it could not be measured; `note` then says why.
        unit: Follows the value where it is shown.
        goal: What it must be, such as `>= 3`; empty where nothing is asked of it.
        ok: Whether it is; None where nothing is asked.
    """

    name: str
    value: float | None
    unit: str = ""
    goal: str = ""
    ok: bool | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        """The value as people read it."""
        if self.value is None:
            return "-"
        return f"{_number(self.value)} {self.unit}".strip()

    def to_record(self) -> dict[str, object]:
        """Return what the JSON file holds."""
        return asdict(self)


def figure(
    name: str,
    value: float | None,
    unit: str = "",
    *,
    at_least: float | None = None,
    below: float | None = None,
    note: str = "",
) -> Figure:
    """Return a figure held against its goal; one that is missing misses its goal."""
    goal, ok = "", None
    if at_least is not None:
        goal, ok = f">= {_number(at_least)}", value is not None and value >= at_least
    elif below is not None:
        goal, ok = f"< {_number(below)}", value is not None and value < below
    return Figure(name=name, value=value, unit=unit, goal=goal, ok=ok, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast one contender went.

    Attributes:
        kind: What the plot colours it by.
        chunks: How many it got.
        seconds: From texts in memory to a committed table, with the model's load; the engine's are
            without both. None where it did not run.
        apart: What is not in `seconds`, such as its imports.
        note: Why it did not run.
    """

    name: str
    kind: Literal["peer", "ours", "engine"]
    chunks: int
    tokens: int
    seconds: float | None = None
    apart: str = ""
    resident_mb: float | None = None
    share_mb: float | None = None
    versions: str = ""
    note: str = ""

    @property
    def chunks_per_second(self) -> float | None:
        """None where it did not run."""
        return self.chunks / self.seconds if self.seconds else None

    @property
    def tokens_per_second(self) -> float | None:
        """Real tokens, as the model reads them."""
        return self.tokens / self.seconds if self.seconds else None

    def to_record(self) -> dict[str, object]:
        """Return what the JSON file holds."""
        record: dict[str, object] = asdict(self)
        record["chunks_per_second"] = self.chunks_per_second
        record["tokens_per_second"] = self.tokens_per_second
        return record


def mean_of(first: Rate, second: Rate) -> Rate:
    """Return one rate for two looks at the same contender; where one failed, that one."""
    if first.seconds is None or second.seconds is None:
        return first if first.seconds is None else second
    return replace(
        first,
        seconds=(first.seconds + second.seconds) / 2,
        resident_mb=_larger(first.resident_mb, second.resident_mb),
        share_mb=_larger(first.share_mb, second.share_mb),
    )


def print_rates(rates: Sequence[Rate], ours: Rate) -> None:
    """Print what each contender reached, and how many times as fast ours is."""
    print("\n| | chunks | chunks/s | tokens/s | ours to it | peak MB | shared once | not timed |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for rate in rates:
        if rate.seconds is None:
            print(f"| {rate.name} | | | | | | | {rate.note} |")
            continue
        ratio = ours.seconds and ours.chunks / ours.seconds / (rate.chunks / rate.seconds)
        cells = (
            rate.name,
            f"{rate.chunks:,}",
            _cell(rate.chunks_per_second, ".1f"),
            _cell(rate.tokens_per_second, ",.0f"),
            _cell(ratio, ".2f"),
            _cell(rate.resident_mb, ",.0f"),
            _cell(rate.share_mb, ",.0f"),
            rate.apart,
        )
        print(f"| {' | '.join(cells)} |")


def print_figures(title: str, figures: Iterable[Figure]) -> None:
    """Print figures as a Markdown table."""
    print(f"\n| {title} | measured | goal | |\n|---|---:|---:|---|")
    for item in figures:
        verdict = {True: "ok", False: "not ok", None: ""}[item.ok]
        said = ": ".join(filter(None, (verdict, item.note)))
        print(f"| {item.name} | {item.shown} | {item.goal} | {said} |", flush=True)


def _larger(first: float | None, second: float | None) -> float | None:
    return max((size for size in (first, second) if size is not None), default=None)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) < 0.1 or 0.99 < value < 1:
        return f"{value:.5f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
