"""`lexigram_ray.ingest` from Python, over real documents."""

from __future__ import annotations

from pathlib import Path

import pytest

import lexigram_ray
from lexigram_ray.core.errors import ConfigError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.run import Interrupted
from lexigram_ray.runtime import ingest as runtime_ingest
from tests.unit.test_notebook_cards import Outline


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_ingested_searched_and_found_unchanged(
    state: Path, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\n1 0 obj")
    result = lexigram_ray.ingest(docs, collection="subjects", state=state)
    again = lexigram_ray.ingest(str(docs), collection="subjects", state=state)
    found = result.search("why does the sea rise", limit=1)
    page = Outline(result._repr_html_())

    assert (result.found, result.ingested, result.failed, result.rows) == (6, 5, 1, 5)
    assert (again.ingested, again.unchanged, again.failed) == (0, 5, 1)
    assert [hit.title for hit in found] == ["Tides"]
    assert [problem.source.rsplit("/", 1)[-1] for problem in result.problems] == ["broken.pdf"]
    assert (result.status, result.chunks, result.skipped) == (JobStatus.COMPLETED, 5, 0)
    assert "6 documents found: 5 ingested, 1 failed" in page.words
    assert "broken.pdf" in page.words
    assert lexigram_ray.attach(state=state).job_id == again.job_id
    assert capsys.readouterr() == ("", "")


def test_several_paths_and_settings_of_the_chunker(state: Path, docs: Path) -> None:
    paths = [docs / "tides.md", docs / "bread.md"]
    result = lexigram_ray.ingest(
        paths, collection="few", state=state, chunk_by="characters", chunk_size=40, chunk_overlap=0
    )

    assert result.found == 2
    assert result.chunks > 2


def test_wrong_use_is_an_error_that_names_the_way_out(tmp_path: Path, docs: Path) -> None:
    state = tmp_path / "nothing"
    with pytest.raises(UsageError, match="no such file or folder") as raised:
        lexigram_ray.ingest(docs / "missing", collection="few", state=state)
    with pytest.raises(UsageError, match="no path was given"):
        lexigram_ray.ingest([], collection="few", state=state)
    with pytest.raises(ConfigError, match="size"):
        lexigram_ray.ingest(docs, collection="few", state=state, chunk_size=0)

    assert raised.value.__notes__[0].startswith("try: ")
    assert not state.exists()


def test_an_interrupt_says_what_is_kept(
    state: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = lexigram_ray.ingest(docs, collection="subjects", state=state).report

    def interrupted(*_: object) -> None:
        raise Interrupted(done.job_id, done)

    monkeypatch.setattr(runtime_ingest, "run_ingest", interrupted)
    with pytest.raises(KeyboardInterrupt, match="5 of 5 documents are done and kept"):
        lexigram_ray.ingest(docs, collection="subjects", state=state)
