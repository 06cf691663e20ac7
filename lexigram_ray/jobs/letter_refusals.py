"""Dead letters that are left as they are, counted by the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lexigram_ray.jobs.letter_records import DeadLetter

IDS_NAMED = 5


@dataclass(slots=True, kw_only=True)
class Refusals:
    """How many letters were left as they are, and why.

    Attributes:
        counts: Letters by reason.
        named: The first letters of each reason.
    """

    counts: dict[str, int] = field(default_factory=dict[str, int])
    named: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def total(self) -> int:
        """Letters that were left as they are."""
        return sum(self.counts.values())

    def add(self, refused: Iterable[tuple[DeadLetter, str]]) -> None:
        """Count letters with their reasons."""
        for letter, reason in refused:
            self.count(str(reason), 1, [letter.id])

    def count(self, reason: str, number: int, ids: Iterable[str]) -> None:
        """Count letters of one reason, of which some ids are known."""
        self.counts[reason] = self.counts.get(reason, 0) + number
        named = self.named.setdefault(reason, [])
        named += list(ids)[: IDS_NAMED - len(named)]

    def commonest_first(self) -> list[tuple[str, int]]:
        """Return the reasons with their counts."""
        return sorted(self.counts.items(), key=lambda counted: -counted[1])

    def to_list(self) -> list[dict[str, object]]:
        """Return `refused` of `--json`: the commonest reason first."""
        return [
            {"reason": reason, "count": number, "ids": self.named[reason]}
            for reason, number in self.commonest_first()
        ]
