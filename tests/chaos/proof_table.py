"""The lines of `make chaos`, as they come and as a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.proof_types import Outcome

HEAD = ("fault", "times", "lost", "duplicated", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An outcome, where it comes from, and how long it took."""

    scenario: str
    outcome: Outcome
    seconds: float


def print_line(line: Line) -> None:
    """Print an outcome as soon as it is known."""
    outcome = line.outcome
    word = "ok" if outcome.is_clean else "WRONG"
    figures = f"{outcome.times} times, {outcome.lost} lost, {outcome.duplicated} duplicated"
    print(f"{word}: {line.scenario}: {outcome.fault}: {figures}, {line.seconds:.0f} s", flush=True)
    for note in outcome.notes:
        print(f"    {note}", flush=True)


def print_table(lines: Sequence[Line], seconds: float) -> None:
    """Print all outcomes as Markdown, with their sums."""
    print(f"\n| {' | '.join(HEAD)} |\n|---|---:|---:|---:|---:|")
    for line in lines:
        outcome = line.outcome
        cells = (outcome.fault, outcome.times, outcome.lost, outcome.duplicated)
        print(f"| {' | '.join(map(str, cells))} | {line.seconds:.0f} |")
    print(f"\n{summary(lines)}, {seconds:.0f} s", flush=True)


def summary(lines: Sequence[Line]) -> str:
    """Add up."""
    outcomes = [line.outcome for line in lines]
    kills = sum(outcome.kills for outcome in outcomes)
    faults = sum(outcome.times for outcome in outcomes)
    lost = sum(outcome.lost for outcome in outcomes)
    duplicated = sum(outcome.duplicated for outcome in outcomes)
    wrong = sum(not outcome.is_clean for outcome in outcomes)
    return (
        f"{faults} faults, {kills} of them SIGKILL: {lost} lost, {duplicated} duplicated, "
        f"{wrong} of {len(outcomes)} lines wrong"
    )
