"""What `ingest` returns."""

from __future__ import annotations

from dataclasses import dataclass

from lexigram_ray.jobs.report import IngestReport
from lexigram_ray.notebook.job_cards import ingest_card
from lexigram_ray.notebook.run_result import RunResult


@dataclass(frozen=True, slots=True, repr=False)
class IngestResult(RunResult[IngestReport]):
    """How an ingestion ended.

    Attributes:
        report: All that is known of it; `report.to_dict()` is what `--json` prints.
    """

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

    def _counts(self) -> dict[str, int]:
        return {
            "found": self.found,
            "ingested": self.ingested,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            "failed": self.failed,
        }

    def _repr_html_(self) -> str:
        return ingest_card(self.report)
