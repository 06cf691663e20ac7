"""Dead letters that a command leaves as they are, by reason, and what a dry run says of that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED
from lexigram_ray.cli.job_ids import short_ids
from lexigram_ray.cli.output import count, printable, say, write_line

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.jobs.letter_refusals import Refusals


def say_refusals(refusals: Refusals) -> None:
    """Say on stderr what was left out and why, a line a reason."""
    for reason, number in refusals.commonest_first():
        ids = ", ".join(short_ids(refusals.named[reason]))
        more = ", …" if number > len(refusals.named[reason]) else ""
        line = f"{number:,}, because {reason} ({ids}{more})"
        say(printable(line), label="left out", style="yellow")


def exit_code(refusals: Refusals, done: int, *, are_named: bool) -> int:
    """Return what it means to a script that some letters were left as they are.

    Args:
        refusals: Those that were.
        done: Letters that were not.
        are_named: Whether the user has named the letters; those that only match some options need
            not all be fit for what is done.
    """
    if not (are_named and refusals.total):
        return EXIT_DONE
    return EXIT_SOME_FAILED if done else EXIT_FAILED


def answer_dry_run(
    eligible: int, refusals: Refusals, invocation: Invocation, *, what: str, are_named: bool
) -> int:
    """Print what a command would do, and return its exit code.

    Args:
        eligible: Letters to which it would be done.
        what: Would be done to them, such as `archived`.
        are_named: See `exit_code`.
    """
    from lexigram_ray.jobs.letter_actions import dry_run_object

    code = exit_code(refusals, eligible, are_named=are_named)
    if invocation.json:
        invocation.answer(dry_run_object(eligible, refusals))
        return code
    write_line(sys.stdout, f"{count(eligible, 'dead letter')} would be {what}")
    say_refusals(refusals)
    say("nothing was changed: run it without --dry-run", label="dry run")
    return code
