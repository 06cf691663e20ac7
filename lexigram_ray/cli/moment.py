"""A moment of a long run, as every display sees it, whatever the run counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lexigram_ray.cli.output import duration

PHASES_OF_ANY_RUN = {
    "checking": "checking the table against the ledger",
    "waiting": "waiting for another run of the same job",
}


class Moment(Protocol):
    """What displays need to know of a run's progress."""

    @property
    def phase(self) -> str:
        """A new one is shown at once."""
        ...

    @property
    def title(self) -> str:
        """The phase in words."""
        ...

    @property
    def job_id(self) -> str:
        """Empty before there is a job."""
        ...

    @property
    def fraction(self) -> float | None:
        """The work done, from 0 to 1; None while its total is unknown."""
        ...

    @property
    def rated(self) -> int:
        """What a rate is made of: things done, never less than before."""
        ...

    @property
    def seconds_remaining(self) -> float | None:
        """None while unknown."""
        ...

    @property
    def current(self) -> str:
        """What ended last, where such things have names; else empty."""
        ...

    @property
    def kept(self) -> str:
        """What is not lost when the run ends now, as a clause; empty before there is any."""
        ...

    def counts(self, per_second: float) -> Sequence[str]:
        """Say what is done; `per_second` is the rate of `rated`."""
        ...

    def to_record(self) -> dict[str, object]:
        """Return the status object of `--json-progress`."""
        ...


def in_one_line(moment: Moment, per_second: float, seconds: float) -> str:
    """Return a moment, `seconds` after the start, as one line of a log."""
    parts = list(moment.counts(per_second))
    if moment.fraction:
        parts.insert(0, f"{moment.fraction:.0%}")
    if moment.seconds_remaining:
        parts.append(f"about {duration(moment.seconds_remaining)} left")
    line = f"[{duration(seconds)}] {moment.title}"
    return f"{line}: {', '.join(parts)}" if parts else line
