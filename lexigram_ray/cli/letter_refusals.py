"""Dead letters that a command leaves as they are, by reason, and what a dry run says of that."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED
from lexigram_ray.cli.job_ids import short_ids
from lexigram_ray.cli.output import count, printable, say, write_line

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
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

    def to_list(self) -> list[dict[str, object]]:
        """Return `refused` of `--json`: the commonest reason first."""
        return [
            {"reason": reason, "count": number, "ids": self.named[reason]}
            for reason, number in self._commonest_first()
        ]

    def say(self) -> None:
        """Say on stderr what was left out and why, a line a reason."""
        for reason, number in self._commonest_first():
            ids = ", ".join(short_ids(self.named[reason]))
            more = ", …" if number > len(self.named[reason]) else ""
            line = f"{number:,}, because {reason} ({ids}{more})"
            say(printable(line), label="left out", style="yellow")

    def exit_code(self, done: int, *, are_named: bool) -> int:
        """Return what it means to a script that some letters were left as they are.

        Args:
            done: Letters that were not.
            are_named: Whether the user has named the letters; those that only match some options
                need not all be fit for what is done.
        """
        if not (are_named and self.total):
            return EXIT_DONE
        return EXIT_SOME_FAILED if done else EXIT_FAILED

    def _commonest_first(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda counted: -counted[1])


def answer_dry_run(
    eligible: int, refusals: Refusals, invocation: Invocation, *, what: str, are_named: bool
) -> int:
    """Print what a command would do, and return its exit code.

    Args:
        eligible: Letters to which it would be done.
        what: Would be done to them, such as `archived`.
        are_named: See `Refusals.exit_code`.
    """
    code = refusals.exit_code(eligible, are_named=are_named)
    if invocation.json:
        answer = {"dry_run": True, "eligible": eligible, "refused": refusals.to_list()}
        invocation.answer(answer)
        return code
    write_line(sys.stdout, f"{count(eligible, 'dead letter')} would be {what}")
    refusals.say()
    say("nothing was changed: run it without --dry-run", label="dry run")
    return code
