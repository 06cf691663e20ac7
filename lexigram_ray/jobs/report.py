"""What an ingestion is asked, what it tells while it runs, and what it answers at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.types import Failure, FailureCategory, JobStatus, Outcome

if TYPE_CHECKING:
    from lexigram_ray.core.protocols import EmbeddingProvider
    from lexigram_ray.jobs.given_document import GivenDocument
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.stages import Stages


INTEGRITY = "integrity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """A recorded job that is to be worked on; nothing is submitted.

    Attributes:
        actor: Name of the Ray actor that works on it; empty without one.
    """

    job: Job
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """One run of the main job.

    Attributes:
        paths: Files and folders as the user gave them.
        collection: Name of the collection; it is made when it does not exist.
        prune: Remove the documents under `paths` that are no longer there.
        retry_failed: Try remembered failures again although their files are unchanged.
        address: A running Ray cluster to attach to; None for this machine.
        resumes: The recorded job that this is; None submits one, or finds the unfinished one that
            asks for the same.
        document: What the caller says of the one file that `paths` names; None for what is found.
        provider: An object of this program that makes the vectors.
        stages: Is told how far the one document is; not recorded.
    """

    paths: tuple[Path, ...]
    collection: str
    prune: bool = False
    retry_failed: bool = False
    address: str | None = None
    resumes: Resumption | None = None
    document: GivenDocument | None = None
    provider: EmbeddingProvider | None = None
    stages: Stages | None = None

    @property
    def only_here(self) -> dict[str, str]:
        """What objects of this program the request needs: others cannot work on it.

        Those are `provider` and `parser`, each with the name of the object.
        """
        needed: dict[str, str] = {}
        if self.provider is not None:
            needed["provider"] = self.provider.spec.name
        if self.document is not None and self.document.text is not None:
            needed["parser"] = self.document.text.parser
        return needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A document that was skipped or failed, as the run reports it."""

    source: str
    outcome: Outcome
    category: FailureCategory
    code: str
    reason: str

    @classmethod
    def of(cls, source: str, outcome: Outcome, failure: Failure) -> Problem:
        """Return what a run says of a document that ended so."""
        return cls(
            source=source,
            outcome=outcome,
            category=failure.category,
            code=failure.code,
            reason=failure.reason,
        )

    def to_dict(self) -> dict[str, str]:
        """Return the contract's object."""
        return {
            "source": self.source,
            "outcome": self.outcome.value,
            "category": self.category.value,
            "code": self.code,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, str]) -> Problem:
        """Read back what `to_dict` wrote."""
        return cls(
            source=raw["source"],
            outcome=Outcome(raw["outcome"]),
            category=FailureCategory(raw["category"]),
            code=raw["code"],
            reason=raw["reason"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCounts:
    """Of a run that came to its end, `found == ingested + unchanged + skipped + failed`."""

    found: int = 0
    ingested: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    removed: int = 0


_NOTHING_DONE: Mapping[str, Any] = {
    "documents": {},
    "chunks": {"written": 0, "removed": 0},
    "embeddings": {"computed": 0, "cached": 0},
    "rows": 0,
    "duration_seconds": 0.0,
    "problems": (),
}
"""The summary of a job that came to none: one that was cancelled, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """How an ingestion ended; `to_dict` is what `--json` prints.

    Attributes:
        adopted: Whether this run went on with an unfinished job, or waited for another's.
        notes: Sentences for the user, such as why nothing was pruned.
        error: Why the job failed or was cancelled; None of one that was not.
        error_code: What an error is known by.
    """

    job_id: str
    collection: str
    status: JobStatus
    documents: DocumentCounts
    chunks_written: int
    chunks_removed: int
    embeddings_computed: int
    embeddings_cached: int
    rows: int
    duration_seconds: float
    problems: tuple[Problem, ...] = ()
    adopted: bool = False
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_code: str = INTEGRITY

    @property
    def failed(self) -> int:
        """Documents that failed."""
        return self.documents.failed

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object; of a failed job it also says why, under `error`."""
        return error_object(self.error, self.error_code) | {
            "job_id": self.job_id,
            "collection": self.collection,
            "status": self.status.value,
            "documents": asdict(self.documents),
            "chunks": {"written": self.chunks_written, "removed": self.chunks_removed},
            "embeddings": {"computed": self.embeddings_computed, "cached": self.embeddings_cached},
            "rows": self.rows,
            "duration_seconds": round(self.duration_seconds, 3),
            "problems": [problem.to_dict() for problem in self.problems],
        }

    @classmethod
    def of_job(cls, job: Job) -> IngestReport:
        """Return the report of a final job that another process ran, or somebody cancelled."""
        raw = cast("Mapping[str, Any]", job.summary or _NOTHING_DONE)
        return cls(
            job_id=job.id,
            collection=job.collection,
            status=job.status,
            documents=DocumentCounts(**raw["documents"]),
            chunks_written=raw["chunks"]["written"],
            chunks_removed=raw["chunks"]["removed"],
            embeddings_computed=raw["embeddings"]["computed"],
            embeddings_cached=raw["embeddings"]["cached"],
            rows=raw["rows"],
            duration_seconds=raw["duration_seconds"],
            problems=tuple(Problem.from_dict(problem) for problem in raw["problems"]),
            adopted=True,
            **error_of(job),
        )


def problems_of(job: Job) -> list[dict[str, str]]:
    """Return what the job's report says was skipped or failed; nothing before there is one."""
    problems = job.summary.get("problems")
    return cast("list[dict[str, str]]", problems) if isinstance(problems, list) else []


def error_object(error: str | None, code: str) -> dict[str, object]:
    """Return what a report's object says of its error; nothing where there is none."""
    return {} if error is None else {"error": {"code": code, "message": error}}


def error_of(job: Job) -> dict[str, Any]:
    """Return `error` and `error_code` of the report of a final job."""
    if job.status is JobStatus.COMPLETED:
        return {}
    why = job.error or f"job {job.id} was {job.status.value}"
    return {"error": why, "error_code": job.error_code or job.status.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunReport:
    """What a run would do and cost. Names that begin with `estimated` come from a sample.

    Attributes:
        new, changed, unchanged, removed: Documents; `removed` counts only with `prune`.
        remembered: Documents that would be reported again as skipped or failed.
        estimated_disk_bytes: Rows and cache together.
    """

    collection: str
    found: int
    new: int
    changed: int
    unchanged: int
    remembered: int
    removed: int
    estimated_chunks: int
    estimated_tokens: int
    estimated_seconds: float
    estimated_disk_bytes: int
    problems: tuple[Problem, ...] = field(default=())

    def to_dict(self) -> dict[str, object]:
        """Return the object that `--dry-run --json` prints."""
        return {
            "collection": self.collection,
            "dry_run": True,
            "documents": {
                "found": self.found,
                "new": self.new,
                "changed": self.changed,
                "unchanged": self.unchanged,
                "remembered": self.remembered,
                "removed": self.removed,
            },
            "estimated": {
                "chunks": self.estimated_chunks,
                "tokens": self.estimated_tokens,
                "seconds": round(self.estimated_seconds, 1),
                "disk_bytes": self.estimated_disk_bytes,
            },
            "problems": [problem.to_dict() for problem in self.problems],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a run.

    Attributes:
        phase: `scanning`, `starting` (Ray, model), `ingesting`, `indexing`, `checking`, `waiting`.
        documents_total: 0 while scanning.
        bytes_done, bytes_total: Of the documents to be worked on; what an ETA is made of.
        current: The document that ended last.
        seconds_remaining: From a smoothed average; None while unknown.
    """

    phase: str
    job_id: str = ""
    documents_done: int = 0
    documents_total: int = 0
    chunks_done: int = 0
    chunks_cached: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    skipped: int = 0
    failed: int = 0
    current: str = ""
    seconds_elapsed: float = 0.0
    seconds_remaining: float | None = None


ProgressCallback = Callable[[Progress], None]
