"""What adds up to one line of the table."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.proof_types import Outcome
from tests.chaos.same_rows import Difference


@dataclass(slots=True)
class Tally:
    """What is counted for one line of the table."""

    times: int = 0
    lost: int = 0
    duplicated: int = 0
    notes: list[str] = field(default_factory=list[str])

    def add(self, differs: Difference) -> None:
        """Add what a comparison has found."""
        self.lost += differs.lost
        self.duplicated += differs.duplicated

    def outcome(self, fault: str) -> Outcome:
        """Return the line."""
        return Outcome(
            fault=fault,
            times=self.times,
            lost=self.lost,
            duplicated=self.duplicated,
            notes=tuple(self.notes),
        )
