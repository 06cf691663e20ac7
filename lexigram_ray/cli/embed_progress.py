"""What an embedding job shows of itself while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lexigram_ray.cli.moment import PHASES_OF_ANY_RUN
from lexigram_ray.cli.output import count
from lexigram_ray.jobs.embed_report import EmbedProgress

PHASES = PHASES_OF_ANY_RUN | {"reading": "reading texts"}


@dataclass(frozen=True, slots=True)
class EmbedMoment:
    """A moment of an embedding job; its work is counted in characters, its pace in texts."""

    progress: EmbedProgress

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
        """The work done, in characters where they are known, else in texts."""
        now = self.progress
        if not now.texts_total:
            return None
        done, total = now.characters_done, now.characters_total
        if not total:
            done, total = now.texts_done, now.texts_total
        return min(1.0, done / total)

    @property
    def rated(self) -> int:
        """Texts that are done."""
        return self.progress.texts_done

    @property
    def seconds_remaining(self) -> float | None:
        """As the job estimates it."""
        return self.progress.seconds_remaining

    @property
    def current(self) -> str:
        """Texts have no names."""
        return ""

    @property
    def kept(self) -> str:
        """How many texts are done."""
        done, total = self.progress.texts_done, self.progress.texts_total
        return f"{done:,} of {total:,} texts are done and kept" if total else ""

    def counts(self, per_second: float) -> Sequence[str]:
        """Say how many texts are done, how fast, how many were cached or failed."""
        now = self.progress
        if not now.texts_total:
            return [count(now.texts_read, "text")] if now.texts_read else []
        if not now.texts_done:
            return [f"{count(now.texts_total, 'text')} to do"]
        counts = [
            f"{now.texts_done:,}/{now.texts_total:,} texts",
            f"{per_second:,.0f} texts/s",
            f"{now.cached:,} cached",
        ]
        return [*counts, f"{now.failed:,} failed"] if now.failed else counts

    def to_record(self) -> dict[str, object]:
        """Return the status object; as in restic, `percent_done` is a fraction from 0 to 1."""
        now = self.progress
        remaining = now.seconds_remaining
        return {
            "message_type": "status",
            "phase": now.phase,
            "job_id": now.job_id,
            "percent_done": round(self.fraction or 0.0, 4),
            "texts_read": now.texts_read,
            "texts_done": now.texts_done,
            "texts_total": now.texts_total,
            "texts_cached": now.cached,
            "characters_done": now.characters_done,
            "characters_total": now.characters_total,
            "seconds_elapsed": round(now.seconds_elapsed, 1),
            "seconds_remaining": None if remaining is None else round(remaining, 1),
            "error_count": now.failed,
        }
