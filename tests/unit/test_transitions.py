"""The table of transitions and the diagram in ARCHITECTURE.md say the same."""

from __future__ import annotations

import re
from pathlib import Path

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.transitions import TRANSITIONS, Transition

PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def drawn() -> set[Transition]:
    section = PAGE.read_text().split("## States of a job", 1)[1].split("\n## ", 1)[0]
    arrows = re.findall(r"^\s*(\S+) --> (\w+): (.+)$", section, re.MULTILINE)
    return {
        Transition(None if before == "[*]" else JobStatus(before), JobStatus(after), by.strip())
        for before, after, methods in arrows
        for by in methods.split(",")
    }


def test_the_diagram_shows_every_transition_and_no_other() -> None:
    assert drawn() == TRANSITIONS


def test_every_transition_is_made_by_a_method_of_the_store() -> None:
    assert {by for _, _, by in TRANSITIONS if not callable(getattr(Store, by, None))} == set()


def test_a_final_state_is_never_left_and_every_other_can_be() -> None:
    left = {before for before, _, _ in TRANSITIONS if before is not None}
    assert left == {status for status in JobStatus if not status.is_final}
    assert {after for _, after, _ in TRANSITIONS} == set(JobStatus)
