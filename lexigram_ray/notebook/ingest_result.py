"""What `ingest` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lexigram_ray.notebook.job_cards import ingest_card

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.types import JobStatus
    from lexigram_ray.jobs.report import IngestReport, Problem
    from lexigram_ray.notebook.results import SearchResult
    from lexigram_ray.vectors.search import SearchMode


@dataclass(frozen=True, slots=True, repr=False)
class IngestResult:
    """How an ingestion ended.

    Attributes:
        report: All that is known of it; `report.to_dict()` is what `--json` prints.
    """

    report: IngestReport
    _config: WorkersConfig = field(repr=False)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.report.job_id

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self.report.collection

    @property
    def status(self) -> JobStatus:
        """`completed`, or `cancelled` when somebody cancelled the job."""
        return self.report.status

    @property
    def found(self) -> int:
        """Documents that were found: `ingested + unchanged + skipped + failed`."""
        return self.report.documents.found

    @property
    def ingested(self) -> int:
        """Documents whose passages were written."""
        return self.report.documents.ingested

    @property
    def unchanged(self) -> int:
        """Documents that the collection held already."""
        return self.report.documents.unchanged

    @property
    def skipped(self) -> int:
        """What is no document with text; see `problems`."""
        return self.report.documents.skipped

    @property
    def failed(self) -> int:
        """Documents that could not be read; see `problems`."""
        return self.report.documents.failed

    @property
    def chunks(self) -> int:
        """Passages that were written."""
        return self.report.chunks_written

    @property
    def rows(self) -> int:
        """Rows of the collection afterwards."""
        return self.report.rows

    @property
    def duration_seconds(self) -> float:
        """Seconds that the run took."""
        return self.report.duration_seconds

    @property
    def problems(self) -> list[Problem]:
        """Each document that was skipped or failed, and why."""
        return list(self.report.problems)

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        mode: SearchMode = "hybrid",
        where: str | None = None,
    ) -> SearchResult:
        """Search the collection; see `lexigram_ray.search`."""
        from lexigram_ray.notebook.calls import search

        return search(
            query,
            collection=self.collection,
            limit=limit,
            mode=mode,
            where=where,
            config=self._config,
        )

    def __repr__(self) -> str:
        return (
            f"IngestResult(collection={self.collection!r}, status={self.status.value!r}, "
            f"found={self.found}, ingested={self.ingested}, unchanged={self.unchanged}, "
            f"skipped={self.skipped}, failed={self.failed}, rows={self.rows}, "
            f"duration_seconds={self.duration_seconds:.3f}, job_id={self.job_id!r})"
        )

    def _repr_html_(self) -> str:
        return ingest_card(self.report)
