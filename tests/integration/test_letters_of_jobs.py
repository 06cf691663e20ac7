"""What fails in a real job is a dead letter, and what a later one mends is none any more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.embed_report import EmbedReport, EmbedRequest
from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterStatus, Subject
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.embed import run_embed
from tests.fakes import HashingProvider
from tests.integration.local_ingest import ingest_here

OPEN = LetterFilter(statuses=(LetterStatus.OPEN,))


class RefusingProvider(HashingProvider):
    """Refuses texts that are bad, and no other."""

    def __reduce__(self) -> tuple[object, ...]:
        return RefusingProvider, (self.spec.dimension,)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().embed_texts(texts)
        bad = {place: "it is not finite" for place, text in enumerate(texts) if "bad" in text}
        if bad:
            raise TextsRefusedError(bad, vectors)
        return vectors


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


def letters(config: WorkersConfig, which: LetterFilter = OPEN) -> list[DeadLetter]:
    with Store.open(config.paths.store_url) as store:
        found = store.dead_letters.each(which)
        return sorted(found, key=lambda letter: letter.source)


def embed(config: WorkersConfig, *rows: tuple[object, object], name: str = "orders") -> EmbedReport:
    records = [{"id": row_id, "text": text} for row_id, text in rows]
    request = EmbedRequest(
        table=table_of(records, source=name), collection="texts", provider=RefusingProvider()
    )
    return run_embed(config, request, lambda _: None, threading.Event())


def test_documents_that_fail_are_letters_until_they_are_mended_or_gone(
    config: WorkersConfig, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "good.txt").write_text("What there is to say about tides.")
    for name in ("gone.pdf", "mended.pdf", "stays.pdf"):
        (docs / name).write_bytes(b"%PDF-1.7\nno more of it")

    report = ingest_here(config, docs)

    assert (report.documents.ingested, report.documents.failed) == (1, 3)
    found = letters(config)
    assert [letter.source for letter in found] == [problem.source for problem in report.problems]
    assert {letter.category for letter in found} == {FailureCategory.INVALID_INPUT}
    assert {letter.job_id for letter in found} == {report.job_id}
    assert all("Traceback" in letter.attempts[0].traceback for letter in found)
    assert all(letter.attempts[0].error_type for letter in found)

    (docs / "gone.pdf").unlink()
    (docs / "mended.pdf").unlink()
    (docs / "mended.pdf").write_text("It is plain text, and good.")
    again = ingest_here(config, docs, prune=True)

    assert (again.documents.failed, again.documents.removed) == (1, 0)
    (stays,) = letters(config)
    # What is remembered was not tried: it has failed once.
    assert (Path(stays.source).name, len(stays.attempts)) == ("stays.pdf", 1)
    closed = letters(config, LetterFilter(statuses=(LetterStatus.ADDRESSED,)))
    assert {Path(letter.source).name: letter.resolution for letter in closed} == {
        "gone.pdf": "removed",
        "mended.pdf": "succeeded",
    }


def test_rows_that_fail_are_letters_until_a_job_over_their_table_does_not_fail_on_them(
    config: WorkersConfig,
) -> None:
    bad = (("a", "good"), ("b", None), (None, "no id"), ("d", "bad"), ("a", "again"))
    report = embed(config, *bad)

    assert (report.texts.embedded, report.texts.failed) == (1, 4)
    found = letters(config)
    assert {letter.subject_id: letter.code for letter in found} == {
        "a": "repeated_id",
        "b": "empty_text",
        "orders#3": "invalid_id",
        "d": "text_refused",
    }
    assert {(letter.subject, letter.origin) for letter in found} == {(Subject.ROW, "orders")}

    embed(config, *bad)
    assert [len(letter.attempts) for letter in letters(config)] == [2, 2, 2, 2]

    embed(config, ("e", "good"), ("d", "good elsewhere"), name="other")
    assert {letter.subject_id for letter in letters(config)} == {"a", "b", "orders#3"}

    embed(config, ("a", "good"), ("b", "good"), ("c", "good"), ("d", "bad"))
    assert [(letter.subject_id, letter.first_failed_at == letter.last_failed_at)
            for letter in letters(config)] == [("d", True)]  # fmt: skip
