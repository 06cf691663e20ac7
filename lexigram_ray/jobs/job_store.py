"""What the store promises of jobs, and of turns at a collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import SNOOZED, Attempt, Busy, Claim, Job, Submission

if TYPE_CHECKING:
    from lexigram_ray.jobs.database import Database


class JobStore:
    """The part of `Store` that knows jobs; `transitions` lists the changes of state it makes.

    Times of callers carry a time zone.
    """

    def __init__(self, database: Database) -> None:
        # SQLAlchemy takes longer to import than all else that a cold command needs.
        from lexigram_ray.jobs.ending import Ending
        from lexigram_ray.jobs.grouped_intake import GroupedIntake
        from lexigram_ray.jobs.intake import Intake
        from lexigram_ray.jobs.letter_writing import LetterWriting
        from lexigram_ray.jobs.lifecycle import Lifecycle
        from lexigram_ray.jobs.listing import Listing
        from lexigram_ray.jobs.queue import Queue
        from lexigram_ray.jobs.turns import Turns

        self._database = database
        self._intake = Intake(database)
        self._letters = LetterWriting(database)
        self._queue = Queue(database, self._letters)
        self._claimed = Lifecycle(database, self._letters)
        self._ending = Ending(database, self._letters, self.turn)
        self._listing = Listing(database)
        self._turns = Turns(database)
        self._grouped = GroupedIntake(database, self._intake, self._turns)

    # -- Submitting --------------------------------------------------------------------------------

    def submit(
        self,
        *,
        kind: str,
        collection: str,
        spec: dict[str, object],
        spec_key: str,
        priority: int = 0,
        unique_key: str | None = None,
        retry_of: str | None = None,
        run_after: datetime | None = None,
        deadline: datetime | None = None,
    ) -> tuple[Job, bool]:
        """Make a job, or return the one that this request repeats.

        However many processes submit the same at once, one job is made.

        Args:
            kind: What sort of work it is, such as `ingest`.
            collection: What it works on.
            spec: What is asked; JSON values only.
            spec_key: Equal for requests that ask for the same.
            priority: Higher is claimed earlier.
            unique_key: Answers the same request with the same job for ever, finished or not.
            retry_of: Id of the final job that this one repeats.
            run_after: `claim_next` and `ready` leave the job alone before this time.
            deadline: From this time on the job is not started, and `fail_overdue` ends it.

        Returns:
            The job, and whether it was made now. False for an unfinished job of this kind and
            `spec_key`, and for whatever job first took `unique_key`; such a job stays as it is.

        Raises:
            ConflictError: `unique_key` belongs to a job that asks for something else.
            UsageError: There is no job `retry_of`, the deadline leaves no time, or a value
                cannot be stored.
        """
        return self._intake.submit(
            Submission(
                kind=kind,
                collection=collection,
                spec=spec,
                spec_key=spec_key,
                priority=priority,
                unique_key=unique_key,
                retry_of=retry_of,
                run_after=run_after,
                deadline=deadline,
            )
        )

    def submit_if_free(
        self, turn: str, submission: Submission, is_ready: Callable[[], bool]
    ) -> tuple[Job, bool] | None:
        """Submit as if in a turn, where nobody has it; an own turn takes two more transactions.

        What several threads submit at the same time is one transaction.

        Args:
            turn: As of `turn`.
            submission: As of `submit`.
            is_ready: Asked while nobody can take the turn; it must be quick.

        Returns:
            As `submit`; None where somebody has the turn or waits for it, or it is not ready.
        """
        return self._grouped.submit(_turn_name(turn), submission, is_ready)

    def submit_many(self, submissions: Sequence[Submission]) -> list[tuple[Job, bool]]:
        """Submit in one transaction, and return what `submit` would for each, in their order.

        Of jobs of equal priority the earlier in the batch is claimed earlier.

        Raises:
            UsageError: As `submit`; none of the batch was submitted.
        """
        return self._intake.submit_many(submissions)

    # -- Claiming ----------------------------------------------------------------------------------

    def claim(
        self, job_id: str, owner: Owner, lease_seconds: float, *, actor: str = ""
    ) -> Claim | Busy:
        """Take a job that is pending, or whose owner is gone or has let its lease expire.

        From then on everything that carries an earlier claim is refused. A job that was to start
        later is taken all the same; one whose deadline has passed fails instead.

        Args:
            job_id: Of the job.
            owner: The process that will work on it.
            lease_seconds: How long the claim holds without a beat.
            actor: Name of the Ray actor that will; kept with the attempt.

        Returns:
            The claim, or who holds the job: a live owner within its lease, be it this process.

        Raises:
            UsageError: There is no such job.
            LeaseLostError: The job is final.
        """
        return self._queue.claim(job_id, owner, lease_seconds, actor)

    def claim_next(
        self, kind: str, owner: Owner, lease_seconds: float, *, actor: str = ""
    ) -> Claim | None:
        """Take the next job of a kind: higher priority first, then older first.

        A job whose owner is gone, or whose lease has expired, stands in the same queue. One that is
        to start later, or whose deadline has passed, does not.
        """
        return self._queue.claim_next(kind, owner, lease_seconds, actor)

    def ready(self, kinds: Sequence[str], *, limit: int) -> list[Job]:
        """Return the jobs that could be claimed now, in the order of claiming; claim none.

        Neither finished jobs nor those that are to start later make it slower.
        """
        return self._queue.ready(kinds, limit)

    def running(self, kind: str) -> int:
        """Return how many jobs of a kind a live owner holds within its lease."""
        return self._queue.running(kind)

    def postpone(self, job_id: str, seen_fence: int, seconds: float) -> bool:
        """Let a pending job wait until `seconds` from now, whatever it was to wait for before.

        Returns:
            False, with nothing changed, where the job is not pending or was claimed since its fence
            was `seen_fence`.
        """
        return self._queue.postpone(job_id, seen_fence, seconds)

    # -- Working on a claimed job ------------------------------------------------------------------

    def beat(self, claim: Claim, lease_seconds: float) -> None:
        """Say that the owner lives: its lease ends `lease_seconds` from now."""
        self._claimed.beat(claim, lease_seconds)

    def save_progress(self, claim: Claim, progress: dict[str, object]) -> None:
        """Replace what is shown of the job; `total`, `done` and `failed` are."""
        self._claimed.save_progress(claim, progress)

    def release(
        self,
        claim: Claim,
        outcome: str,
        *,
        error: str | None = None,
        category: FailureCategory | None = None,
        traceback: str | None = None,
        wait_seconds: float = 0.0,
    ) -> None:
        """Give the job back unfinished: it is pending, and may be claimed again.

        Args:
            claim: Ends with this.
            outcome: How this attempt ended: `interrupted` where it was stopped from outside, else
                `error`.
            error: Why, in words.
            category: Of the error.
            traceback: Of the error, without secrets.
            wait_seconds: How long `claim_next` and `ready` leave the job alone.
        """
        self._claimed.release(
            claim,
            outcome,
            error=error,
            category=category,
            traceback=traceback,
            wait_seconds=wait_seconds,
        )

    def snooze(self, claim: Claim, seconds: float, reason: str) -> None:
        """Give the job back to wait `seconds`, which is no error of this attempt.

        Args:
            claim: Ends with this.
            seconds: How long `claim_next` and `ready` leave the job alone.
            reason: What it waits for; kept with the attempt, whose outcome is `snoozed`.
        """
        self._claimed.release(
            claim,
            SNOOZED,
            error=reason,
            category=None,
            traceback=None,
            wait_seconds=seconds,
        )

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        error: str | None = None,
        error_code: str | None = None,
        summary: dict[str, object],
        category: FailureCategory | None = None,
        traceback: str | None = None,
    ) -> None:
        """End the job for good: it never changes again.

        Raises:
            UsageError: `status` is not final.
        """
        self._claimed.finish(
            claim,
            status,
            error=error,
            error_code=error_code,
            summary=summary,
            category=category,
            traceback=traceback,
        )

    # -- Ending a job from outside -----------------------------------------------------------------

    def cancel(self, job_id: str, owner: Owner, *, turn_seconds: float) -> Job:
        """End a pending or running job; a job that is cancelled already stays as it is.

        Waits for a turn at the collection, so that none of the job's writes is between its check of
        the claim and its commit: no row appears once this has returned, unless a writer outlasts
        its own turn. A job that was never claimed needs no turn.

        Args:
            job_id: Of the job.
            owner: Of the turn: the calling process.
            turn_seconds: Lease of the turn.

        Raises:
            UsageError: There is no such job, or it has completed or failed.
        """
        return self._ending.cancel(job_id, owner, turn_seconds)

    def fail_overdue(self, owner: Owner, *, turn_seconds: float) -> list[str]:
        """Fail the jobs whose deadline has passed, with code `deadline`; running ones as `cancel`.

        Returns:
            Their ids.
        """
        return self._ending.fail_overdue(owner, turn_seconds)

    def give_up(self, job_id: str, seen_fence: int, *, error: str, error_code: str) -> bool:
        """Fail a pending job for good.

        Returns:
            False, with nothing changed, where the job is not pending or was claimed since its fence
            was `seen_fence`.
        """
        return self._ending.give_up(job_id, seen_fence, error=error, error_code=error_code)

    # -- Looking at jobs ---------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        """Return a job."""
        return self._listing.get(job_id)

    def of_unique_key(self, key: str) -> Job | None:
        """Return the job that took a unique key, finished or not."""
        return self._listing.of_unique_key(key)

    def beginning(self, prefix: str) -> list[Job]:
        """Return the jobs whose ids begin so, newest first.

        Args:
            prefix: Written as ids are: in lower case, with their hyphens.
        """
        return self._listing.beginning(prefix)

    def list_jobs(
        self,
        *,
        status: JobStatus | None = None,
        kind: str | None = None,
        collection: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Return jobs, newest first, and the cursor of the next page if there is one.

        Those that schedules have made are left out, unless it is them that are asked for: by the
        kind `maintenance`.

        Raises:
            UsageError: The cursor is not one of ours, or the limit is below 1.
        """
        return self._listing.newest(
            status=status, kind=kind, collection=collection, limit=limit, cursor=cursor
        )

    def has_unfinished_with(self, digest: str, *, kind: str) -> bool:
        """Return whether an unfinished job of a kind has a digest in its spec.

        Args:
            digest: In hexadecimal digits.
        """
        return self._listing.has_unfinished_with(digest, kind=kind)

    def counts(self, kind: str | None = None) -> dict[JobStatus, int]:
        """Return how many jobs are in each state, in every one.

        Args:
            kind: Only those of this kind; None for all but those of schedules.
        """
        return self._listing.counts(kind)

    def had_jobs_between(self, since: datetime, until: datetime) -> bool:
        """Return whether any job was submitted from one time on and before another.

        Those of schedules count too; jobs of old runs are forgotten.
        """
        return self._listing.had_jobs_between(since, until)

    def attempts_of(self, job_id: str) -> list[Attempt]:
        """Return the attempts at a job, first to last."""
        return self._listing.attempts_of(job_id)

    def errors_in_a_row(self, job_id: str) -> int:
        """Return how many attempts have ended since one was last interrupted, however they ended.

        Those that were snoozed, throttled or lost do not count, and do not end the row either. Of a
        job that may still be tried again, all that count have ended in an error.
        """
        return self._listing.errors_in_a_row(job_id)

    # -- Turns -------------------------------------------------------------------------------------

    def turn(
        self, collection: str, owner: Owner, lease_seconds: float
    ) -> AbstractContextManager[None]:
        """Wait for this writer's turn at a collection; the turn ends with the `with` block.

        Turns come in the order of asking. One whose owner is gone, or that lasts longer than
        `lease_seconds`, is passed over; its holder is not told: a turn serves throughput, not
        safety. Turns do not nest.
        """
        return self._turns.turn(_turn_name(collection), owner, lease_seconds)


def _turn_name(collection: str) -> str:
    return f"collection:{collection}"
