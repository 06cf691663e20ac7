"""What an embedding job is asked, and what it answers at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.report import INTEGRITY, Problem, Resumption, error_object, error_of

if TYPE_CHECKING:
    from lexigram_ray.ingestion.table_rows import TextTable
    from lexigram_ray.jobs.records import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """One embedding of a table of texts into a collection.

    Attributes:
        table: Where the texts come from.
        collection: Name of the collection; it is made when it does not exist.
        provider: Makes the vectors instead of the configured model.
        address: A running Ray cluster to attach to; None for this machine.
        resumes: The recorded job that this is; None submits one, or finds the unfinished one that
            asks for the same.
        unique_key: Answers the same request with the same job for ever, finished or not.
        priority: Of the job, where it is made now.
    """

    table: TextTable
    collection: str
    provider: EmbeddingProvider | None = None
    address: str | None = None
    resumes: Resumption | None = None
    unique_key: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCounts:
    """Of a job that came to its end, `read == embedded + cached + failed`.

    Attributes:
        cached: Found in the cache, repeated in the input, or in the collection already.
    """

    read: int = 0
    embedded: int = 0
    cached: int = 0
    failed: int = 0


_NOTHING_DONE: Mapping[str, Any] = {
    "texts": {},
    "rows": 0,
    "duration_seconds": 0.0,
    "problems": (),
    "notes": (),
    "details": {},
}
"""The summary of a job that came to none: one that was cancelled, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """How an embedding job ended; `to_dict` is what `--json` prints.

    Attributes:
        unchanged: Rows of `texts.cached` that the collection held before this run, as they are.
        truncated: Texts beyond the model's limit that this run embedded without their ends.
        place: Where it ran: `this process`, `warm embedder` or `Ray Data`.
        adopted: Whether this run went on with an unfinished job, or waited for another's.
        notes: Sentences for the user.
        error: Why the job failed or was cancelled; None of one that was not.
        error_code: What an error is known by.
    """

    job_id: str
    collection: str
    status: JobStatus
    texts: TextCounts
    rows: int
    duration_seconds: float
    problems: tuple[Problem, ...] = ()
    unchanged: int = 0
    truncated: int = 0
    place: str = ""
    adopted: bool = False
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_code: str = INTEGRITY

    @property
    def failed(self) -> int:
        """Texts that failed."""
        return self.texts.failed

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object; of a failed job it also says why, under `error`."""
        return error_object(self.error, self.error_code) | {
            "job_id": self.job_id,
            "collection": self.collection,
            "status": self.status.value,
            "texts": asdict(self.texts),
            "rows": self.rows,
            "duration_seconds": round(self.duration_seconds, 3),
            "problems": [problem.to_dict() for problem in self.problems],
        }

    def to_summary(self) -> dict[str, object]:
        """Return what the store keeps: the contract's object, and what the terminal shows."""
        details = {"unchanged": self.unchanged, "truncated": self.truncated, "place": self.place}
        return self.to_dict() | {"details": details, "notes": list(self.notes)}

    @classmethod
    def of_job(cls, job: Job) -> EmbedReport:
        """Return the report of a final job that another process ran, or somebody cancelled."""
        raw = cast("Mapping[str, Any]", job.summary or _NOTHING_DONE)
        return cls(
            job_id=job.id,
            collection=job.collection,
            status=job.status,
            texts=TextCounts(**raw["texts"]),
            rows=raw["rows"],
            duration_seconds=raw["duration_seconds"],
            problems=tuple(Problem.from_dict(problem) for problem in raw["problems"]),
            adopted=True,
            notes=tuple(raw["notes"]),
            **raw["details"],
            **error_of(job),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedProgress:
    """A moment of an embedding job.

    Attributes:
        phase: `reading`, `starting` (Ray, model), `embedding`, `indexing`, `checking`, `waiting`.
        texts_total: 0 while reading.
        characters_done, characters_total: Of the texts to be embedded; what an ETA is made of.
        seconds_remaining: From a smoothed average; None while unknown.
    """

    phase: str
    job_id: str = ""
    texts_read: int = 0
    texts_done: int = 0
    texts_total: int = 0
    cached: int = 0
    failed: int = 0
    characters_done: int = 0
    characters_total: int = 0
    seconds_elapsed: float = 0.0
    seconds_remaining: float | None = None
