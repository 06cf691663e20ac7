"""What is alike in the results of `ingest` and `embed`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.protocols import EmbeddingProvider
    from lexigram_ray.core.types import JobStatus
    from lexigram_ray.jobs.embed_report import EmbedReport
    from lexigram_ray.jobs.report import IngestReport, Problem
    from lexigram_ray.notebook.results import SearchResult
    from lexigram_ray.vectors.search import SearchMode

ReportT = TypeVar("ReportT", bound="IngestReport | EmbedReport")


@dataclass(frozen=True, slots=True, repr=False)
class RunResult(Generic[ReportT]):
    """How a run ended.

    Attributes:
        report: All that is known of it; `report.to_dict()` is what `--json` prints.
    """

    report: ReportT
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
    def rows(self) -> int:
        """Rows of the collection afterwards."""
        return self.report.rows

    @property
    def duration_seconds(self) -> float:
        """Seconds that the run took."""
        return self.report.duration_seconds

    @property
    def problems(self) -> list[Problem]:
        """Each document or row that was skipped or failed, and why."""
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
            provider=self._made_by(),
            config=self._config,
        )

    def __repr__(self) -> str:
        counts = "".join(f"{name}={count}, " for name, count in self._counts().items())
        return (
            f"{type(self).__name__}(collection={self.collection!r}, "
            f"status={self.status.value!r}, {counts}rows={self.rows}, "
            f"duration_seconds={self.duration_seconds:.3f}, job_id={self.job_id!r})"
        )

    def _made_by(self) -> EmbeddingProvider | None:
        """What made the collection's vectors, where no model did."""
        return None

    def _counts(self) -> dict[str, int]:
        """How many documents or texts there were, by what became of them."""
        raise NotImplementedError
