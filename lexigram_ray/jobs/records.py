"""What the store keeps and returns: frozen, and free of SQL."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from lexigram_ray.core.types import FailureCategory, FileStamp, JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.owner import Owner

if TYPE_CHECKING:
    from lexigram_ray.jobs.letter_records import NewFailure


class LedgerState(StrEnum):
    """What the ledger says of a document.

    `writing` is an intent: the table may hold its old rows, its new ones, or none.
    """

    WRITING = "writing"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    REMOVED = "removed"


REMOVED_CODE = "removed"
"""Code of a unit whose document was pruned."""


INTERRUPTED = "interrupted"
"""Outcome of an attempt that was stopped from outside."""
SNOOZED = "snoozed"
"""Outcome of an attempt that found that it must wait, for a server's sake for one."""
LOST = "lost"
"""Outcome of an attempt whose owner died or let its lease expire."""
ERROR = "error"
"""Outcome of an attempt that failed and may be followed by another."""
DEADLINE_CODE = "deadline"
"""Error code of a job that failed because its deadline passed."""
DOCUMENT_FAILED = "document_failed"
"""Error code of a job that failed with the one document that it was given."""


class UnitState(StrEnum):
    """How far a unit of a job is."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is asked of `Store.submit_many`; the words are those of `Store.submit`."""

    kind: str
    collection: str
    spec: dict[str, object]
    spec_key: str
    priority: int = 0
    unique_key: str | None = None
    retry_of: str | None = None
    run_after: datetime | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the store has it.

    Attributes:
        spec: What was asked, as JSON.
        spec_key: Equal for jobs that ask for the same; at most one of them is unfinished.
        fence: Goes up with each claim; a write that names an older one is refused.
        attempt: How many times it was claimed.
        retry_of: Id of the final job that this one repeats.
        error: Why it failed, in words.
        progress: JSON; `total`, `done` (whatever ended, failures among it) and `failed` are shown.
        summary: JSON; the final report.
        run_after: Set while the job is pending and may not be started before this time.
        deadline: The job fails once this has passed and it has not ended.
    """

    id: str
    kind: str
    status: JobStatus
    priority: int
    collection: str
    spec: dict[str, object]
    spec_key: str
    fence: int
    attempt: int
    retry_of: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    error_code: str | None
    progress: dict[str, object] = field(default_factory=dict[str, object])
    summary: dict[str, object] = field(default_factory=dict[str, object])
    run_after: datetime | None = None
    deadline: datetime | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object: what `jobs show --json` and HTTP answer."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status.value,
            "priority": self.priority,
            "collection": self.collection,
            "progress": self._shown_progress(),
            "attempt": self.attempt,
            "retry_of": self.retry_of,
            "created_at": self.created_at.isoformat(),
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "error": self.error,
        }

    def _shown_progress(self) -> dict[str, object]:
        """Return the counts of its report once it has ended with one."""
        counts = Counts.of(self)
        if counts.fraction is not None:
            percent = round(100.0 * counts.fraction, 1)
        else:
            percent = 100.0 if self.status is JobStatus.COMPLETED else 0.0
        return {**asdict(counts), "percent": percent}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on a job, as long as nobody has claimed it with a higher fence."""

    job_id: str
    fence: int
    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A live owner holds the job until `lease_until`, and longer with each beat."""

    job: Job
    owner: Owner
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One claim of a job.

    Attributes:
        outcome: None while it runs; `lost` where its owner died or let its lease expire.
        error: Why it ended so, in words.
        actor: Name of the Ray actor that ran it; empty without one.
        category: Of the error that ended it.
        traceback: Of that error, without secrets.
    """

    job_id: str
    number: int
    fence: int
    owner: Owner
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error: str | None
    actor: str = ""
    category: FailureCategory | None = None
    traceback: str | None = None

    @property
    def duration_seconds(self) -> float | None:
        """How long it lasted; None while it runs."""
        if self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    def to_dict(self) -> dict[str, object]:
        """Return what `jobs show --json` and HTTP answer."""
        return {
            "number": self.number,
            "node": self.owner.host,
            "pid": self.owner.pid,
            "actor": self.actor,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "duration_seconds": self.duration_seconds,
            "outcome": self.outcome,
            "category": self.category.value if self.category else None,
            "error": self.error,
            "traceback": self.traceback,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """A unit of a job: a document, or a range of a table's rows.

    Attributes:
        crashes: How many workers died while they had it.
    """

    unit_id: str
    source: str
    state: UnitState
    crashes: int
    content_hash: str
    chunks: int
    computed: int
    cached: int
    category: FailureCategory | None
    code: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTotals:
    """What a job's finished units add up to, over all its attempts.

    Attributes:
        replaced: Rows that the table held of these documents before the job wrote to them.
        removed: Documents that were pruned.
        failed: Units.
    """

    chunks: int
    computed: int
    cached: int
    replaced: int
    removed: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """How a unit ended.

    Attributes:
        unit_id: The document's id.
        state: `done`, `skipped` or `failed`.
        computed: Vectors that the model computed.
        cached: Vectors that the cache had.
        letter: The failure, where it is a fresh one that becomes a dead letter.
    """

    unit_id: str
    source: str
    state: UnitState
    content_hash: str = ""
    chunks: int = 0
    computed: int = 0
    cached: int = 0
    category: FailureCategory | None = None
    code: str = ""
    reason: str = ""
    seconds: float = 0.0
    letter: NewFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What is known of one document of one collection.

    Attributes:
        stamp: The file's stamp when its content was last seen; None where there is no file.
        checked_at_ns: When the stamp was taken, by this machine's clock.
        content_hash: Of the raw bytes.
        chunker: Name of the chunker's settings.
        model: The model and its revision.
        parser: The parser's name and version.
        chunks: Rows in the table; while `writing`, the rows that it is meant to hold.
        chunks_digest: Over the chunks' hashes, in order.
        job_id: The job that wrote this entry; set by the store.
        had_intent: Whether an intent was ever recorded: only while it is False can the table be
            known to hold no row of this document. It never goes back to False.
        updated_at: Set by the store, and kept where an entry that was read is written back.
    """

    collection: str
    document_id: str
    source: str
    state: LedgerState
    stamp: FileStamp | None = None
    checked_at_ns: int = 0
    content_hash: str = ""
    chunker: str = ""
    model: str = ""
    parser: str = ""
    chunks: int = 0
    chunks_digest: str = ""
    job_id: str = ""
    category: FailureCategory | None = None
    code: str = ""
    reason: str = ""
    had_intent: bool = False
    updated_at: datetime | None = None
