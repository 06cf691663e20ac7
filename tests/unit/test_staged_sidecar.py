"""A staged table from its two files alone: what another process finds is what was staged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs import staging
from lexigram_ray.jobs.staged import StagedTable
from lexigram_ray.jobs.staged_sidecar import (
    note_stores,
    read_staged_table,
    sidecar_of,
    stores_of,
)


def staged(folder: Path, data: list[dict[str, object]]) -> StagedTable:
    return staging.stage(
        table_of(data, source="src"), folder, on_progress=lambda _: None, keep_on=lambda: True
    )


def rows(count: int) -> list[dict[str, object]]:
    good = [{"id": f"n{number}", "text": f"text {number}"} for number in range(count)]
    bad = [{"id": "lone \udcff", "text": "x"}, {"id": "n1", "text": "twice"}, {"id": "e"}]
    return [*good[:3], *bad, *good[3:]]


def test_another_process_reads_the_staged_table_as_it_was_made(tmp_path: Path) -> None:
    made = staged(tmp_path, rows(1_300))

    assert len(made.units) > 1
    assert len(made.refused) == 3
    assert read_staged_table(made.path, "src") == made


def test_a_million_refused_rows_name_their_reason_once(tmp_path: Path) -> None:
    made = staged(tmp_path, [{"id": str(number), "text": ""} for number in range(2_000)])
    content = json.loads(sidecar_of(made.path).read_text())

    assert len(content["refused"]) == 2_000
    assert len(content["failures"]) == 1


@pytest.mark.parametrize("lost", [".arrow", ".json"])
def test_one_file_without_the_other_is_no_staged_table_and_staging_again_mends_it(
    tmp_path: Path, lost: str
) -> None:
    made = staged(tmp_path, rows(20))
    made.path.with_suffix(lost).unlink()

    assert read_staged_table(made.path, "src") is None
    assert staged(tmp_path, rows(20)) == made
    assert read_staged_table(made.path, "src") == made


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 2}', '{"format": 1, "read": 3}'])
def test_a_sidecar_that_is_not_understood_is_none(tmp_path: Path, content: str) -> None:
    made = staged(tmp_path, rows(5))
    sidecar_of(made.path).write_text(content)

    assert read_staged_table(made.path, "src") is None


def test_the_stores_that_want_rows_are_kept_also_when_the_rows_are_staged_again(
    tmp_path: Path,
) -> None:
    made = staged(tmp_path, rows(5))
    assert stores_of(made.path) == frozenset()

    note_stores(made.path, {"one", "two"})
    assert staged(tmp_path, rows(5)) == made
    assert read_staged_table(made.path, "src") == made
    assert stores_of(made.path) == {"one", "two"}
    note_stores(tmp_path / "gone.arrow", {"one"})
    assert not (tmp_path / "gone.json").exists()


def test_a_process_that_dies_between_the_two_files_leaves_no_rows_without_a_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "write_sidecar", dies)
    with pytest.raises(KeyboardInterrupt):
        staged(tmp_path, rows(5))

    assert list(tmp_path.iterdir()) == []
