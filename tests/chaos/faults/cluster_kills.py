"""SIGKILL of every kind of process that `up` runs, again and again, while jobs are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.hunting import (
    EMBEDDER,
    LETTERS,
    PARSER,
    QUEUE,
    RUNNER,
    TEXT_EMBEDDER,
    WORKER,
    Hunter,
    Victim,
)
from tests.chaos.metrics_agree import disagreements
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.site import NOBODY_IS_BLAMED, Site
from tests.chaos.supply import Supply, reference_of

LONG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Kills of some kinds in one collection, whose rows are compared after them.

    Attributes:
        documents: In each job; 0 for a collection of texts.
        every_seconds: The shortest and the longest time between two kills.
    """

    name: str
    victims: dict[Victim, int]
    every_seconds: tuple[float, float]
    documents: int = 12
    texts: int = 0


PHASES = (
    Phase(name="embedder", victims={EMBEDDER: 8}, every_seconds=(1.5, 4.0)),
    Phase(name="worker", victims={WORKER: 8}, every_seconds=(1.5, 4.0)),
    # A killed parser is what the dead-letter actor has work from.
    Phase(name="parser", victims={PARSER: 8, LETTERS: 6}, every_seconds=(0.5, 2.5)),
    Phase(
        name="texts",
        victims={TEXT_EMBEDDER: 6},
        every_seconds=(2.0, 5.0),
        documents=0,
        texts=600,
    ),
    # Many jobs, each soon done: a job whose process dies again and again has to wait.
    Phase(name="queue", victims={QUEUE: 8, RUNNER: 8}, every_seconds=(0.5, 3.0), documents=8),
)


def run(trial: Trial) -> Iterator[Outcome]:
    """Yield an outcome for each kind of process."""
    site, reference = Site(trial.state("killed"), NOBODY_IS_BLAMED), reference_of(trial)
    with site.up():
        for phase in PHASES:
            yield from _outcomes(trial, phase, site, reference)


def _outcomes(trial: Trial, phase: Phase, site: Site, reference: Site) -> Iterator[Outcome]:
    size = phase.documents or phase.texts
    supply = Supply(trial, site, phase.name, size, texts=bool(phase.texts))
    times = {victim: count * (LONG if trial.long else 1) for victim, count in phase.victims.items()}
    with site.store() as store:
        hunter = Hunter(site.processes, lambda: supply.keep_busy(store), trial.chance(phase.name))
        killed = hunter.hunt(times, phase.every_seconds)
    notes = tuple(site.settled())
    with site.store() as store:
        notes += tuple(disagreements(store))
    differs = supply.differs(reference)
    for victim, wanted in times.items():
        few = (f"only {killed[victim]} of {wanted} were there to be killed",)
        yield Outcome(
            fault=f"{SIGKILL} of {victim.name}",
            times=killed[victim],
            lost=differs.lost,
            duplicated=differs.duplicated,
            notes=notes + (few if killed[victim] < wanted else ()),
        )
