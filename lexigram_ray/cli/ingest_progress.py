"""What an ingestion shows of itself while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lexigram_ray.cli.moment import PHASES_OF_ANY_RUN
from lexigram_ray.cli.output import count
from lexigram_ray.jobs.report import Progress

PHASES = PHASES_OF_ANY_RUN | {"scanning": "looking for documents"}


@dataclass(frozen=True, slots=True)
class IngestMoment:
    """A moment of an ingestion; its work is counted in bytes, its pace in chunks."""

    progress: Progress

    @property
    def phase(self) -> str:
        """As the job names it."""
        return self.progress.phase

    @property
    def title(self) -> str:
        """The phase in words."""
        return PHASES.get(self.progress.phase, self.progress.phase)

    @property
    def job_id(self) -> str:
        """Empty before there is a job."""
        return self.progress.job_id

    @property
    def fraction(self) -> float | None:
        """The work done, in bytes where they are known, else in documents."""
        now = self.progress
        if not now.documents_total:
            return None
        done, total = now.bytes_done, now.bytes_total
        if not total:
            done, total = now.documents_done, now.documents_total
        return min(1.0, done / total)

    @property
    def rated(self) -> int:
        """Chunks that are done."""
        return self.progress.chunks_done

    @property
    def seconds_remaining(self) -> float | None:
        """As the job estimates it."""
        return self.progress.seconds_remaining

    @property
    def current(self) -> str:
        """The document that ended last."""
        return self.progress.current

    @property
    def kept(self) -> str:
        """How many documents are done."""
        done, total = self.progress.documents_done, self.progress.documents_total
        return f"{done:,} of {total:,} documents are done and kept" if total else ""

    def counts(self, per_second: float) -> Sequence[str]:
        """Say how many documents and chunks are done, how fast, and how many not as wished."""
        now = self.progress
        if not now.documents_total:
            return [count(now.documents_done, "document")] if now.documents_done else []
        if not now.documents_done and not now.chunks_done:
            return [f"{count(now.documents_total, 'document')} to do"]
        counts = [
            f"{now.documents_done:,}/{now.documents_total:,} documents",
            f"{count(now.chunks_done, 'chunk')} ({per_second:.0f}/s)",
            f"{now.chunks_cached:,} cached",
        ]
        if now.skipped:
            counts.append(f"{now.skipped:,} skipped")
        if now.failed:
            counts.append(f"{now.failed:,} failed")
        return counts

    def to_record(self) -> dict[str, object]:
        """Return the status object; as in restic, `percent_done` is a fraction from 0 to 1."""
        now = self.progress
        remaining = now.seconds_remaining
        return {
            "message_type": "status",
            "phase": now.phase,
            "job_id": now.job_id,
            "percent_done": round(self.fraction or 0.0, 4),
            "documents_done": now.documents_done,
            "documents_total": now.documents_total,
            "chunks_done": now.chunks_done,
            "chunks_cached": now.chunks_cached,
            "seconds_elapsed": round(now.seconds_elapsed, 1),
            "seconds_remaining": None if remaining is None else round(remaining, 1),
            "skipped_count": now.skipped,
            "error_count": now.failed,
            "current": now.current,
        }
