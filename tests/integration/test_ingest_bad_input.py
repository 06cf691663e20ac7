"""Bad input has a clear outcome, and its neighbours lose nothing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import documents
from tests.command_line import REPOSITORY, clean_environment, run_cli, start_cli
from tests.tables import assert_nothing_twice, rows_of, sources

pytestmark = pytest.mark.slow


def _ingest(docs: Path, state: Path, *options: str, env: dict[str, str] | None = None) -> Any:
    return run_cli("ingest", docs, "-c", "docs", "--json", *options, state=state, env=env)


def _problems(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        Path(problem["source"]).name: (problem["outcome"], problem["code"])
        for problem in report["problems"]
    }


def test_a_folder_of_everything_that_can_be_wrong_is_accounted_for_file_by_file(
    docs: Path, state: Path
) -> None:
    (docs / "empty.txt").touch()
    (docs / "empty.pdf").touch()
    (docs / "secret.pdf").write_bytes(documents.encrypted_pdf())
    (docs / "cut.docx").write_bytes(documents.truncated_docx())
    (docs / "bomb.docx").write_bytes(documents.zip_bomb_docx())
    (docs / "bomb.txt.gz").write_bytes(documents.gzip_bomb())
    (docs / "deep.json").write_bytes(documents.deep_json())
    (docs / "nul.txt").write_bytes(b"before\0after, and more text")
    (docs / "surrogate.txt").write_bytes(b"lone \xed\xa0\x80 surrogate, and more text")
    (docs / "latin.txt").write_bytes("Über die Brücke, naïve café".encode("latin-1"))
    (docs / "wide.txt").write_bytes("Über die Brücke, ein zweites Mal".encode("utf-16"))
    (docs / "two\nlines.txt").write_text("A file whose name has two lines.")
    (docs / "dangling.txt").symlink_to(docs / "nowhere.txt")
    (docs / "loop").symlink_to(docs)
    os.mkfifo(docs / "pipe")
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(docs / "socket"))
        result = _ingest(docs, state)
    assert result.code == 3, result.stderr
    report = result.object
    counts = report["documents"]
    assert counts["found"] == sum(
        counts[outcome] for outcome in ("ingested", "unchanged", "skipped", "failed")
    )
    problems = _problems(report)
    assert problems.pop("empty.txt") == ("skipped", "empty")
    assert problems.pop("empty.pdf") == ("skipped", "empty")
    assert problems.pop("pipe") == ("skipped", "not_a_file")
    assert problems.pop("socket") == ("skipped", "not_a_file")
    assert problems.pop("dangling.txt") == ("skipped", "dangling_link")
    assert problems.pop("secret.pdf") == ("failed", "encrypted")
    assert problems.pop("cut.docx")[0] == "failed"
    assert problems.pop("bomb.docx") == ("failed", "too_large")
    assert problems.pop("bomb.txt.gz") == ("failed", "too_large")
    problems.pop("deep.json", None)
    assert not problems
    texts = {Path(row["source"]).name: row["text"] for row in rows_of(state, "docs")}
    assert texts["latin.txt"] == "Über die Brücke, naïve café"
    assert texts["wide.txt"] == "Über die Brücke, ein zweites Mal"
    assert "after" in texts["nul.txt"]
    assert "\0" not in texts["nul.txt"]
    assert "two\nlines.txt" in texts
    assert set(sources(state, "docs")) >= {"tides.md", "bread.md", "bees.html"}
    assert "Traceback" not in result.stderr


@pytest.fixture
def unprivileged() -> list[str]:
    """A prefix that runs a command without the powers of root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def test_a_file_without_read_permission_fails_alone_and_is_tried_again(
    docs: Path, state: Path, unprivileged: list[str]
) -> None:
    (docs / "tides.md").chmod(0)
    command = [*unprivileged, sys.executable, "-m", "lexigram_ray", "ingest", docs, "-c", "docs"]
    environment = clean_environment(LEXIGRAM_RAY_STATE=str(state), LEXIGRAM_RAY_JSON="1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert _problems(json.loads(done.stdout)) == {"tides.md": ("failed", "unreadable")}
    (docs / "tides.md").chmod(0o644)
    assert _ingest(docs, state).object["documents"]["ingested"] == 1


def test_a_path_outside_the_allowed_roots_is_refused_before_any_work(
    docs: Path, state: Path, tmp_path: Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    result = _ingest(docs, state, env={"LEX_AI_WORKERS__ALLOWED_ROOTS": str(allowed)})
    assert result.code == 2
    assert str(docs) in result.stderr
    assert not (state / "lancedb").exists()


def test_a_folder_that_vanishes_during_the_run_prunes_nothing(
    docs: Path, state: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(docs, second)
    both = ["ingest", docs, second, "-c", "docs", "--json"]
    assert run_cli(*both, state=state).code == 0
    shutil.rmtree(second)
    second.symlink_to(tmp_path / "nowhere")
    result = run_cli(*both, "--prune", state=state)
    assert result.object["documents"]["removed"] == 0
    assert result.object["rows"] == 10


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_stops_the_run_with_one_clear_line_and_the_same_command_goes_on(
    docs: Path, tiny_disk: Path, converted_models: Path
) -> None:
    state = tiny_disk / "state"
    state.mkdir()
    (state / "models").symlink_to(converted_models)
    filler = tiny_disk / "filler"
    for number in range(12):
        (docs / f"long{number}.txt").write_text(f"{number} " + f"word{number} and more. " * 4_000)
    filler.write_bytes(b"\1" * (22 << 20))
    result = _ingest(docs, state)
    assert result.code == 1, result.stderr
    assert "no space" in result.stderr.lower()
    assert "try:" in result.stderr
    assert "Traceback" not in result.stderr
    filler.unlink()
    again = _ingest(docs, state)
    assert again.code == 0, again.stderr
    assert again.object["documents"]["ingested"] == 17
    assert_nothing_twice(state, "docs")


def test_an_unknown_model_without_a_network_is_refused_within_seconds(
    docs: Path, state: Path
) -> None:
    started = time.monotonic()
    result = _ingest(docs, state, "--model", "nobody/no-such-model")
    assert result.code == 2
    assert "nobody/no-such-model" in result.stderr
    assert "try:" in result.stderr
    assert time.monotonic() - started < 60


def test_a_text_of_50_mb_is_ingested_in_flat_memory(tmp_path: Path, state: Path) -> None:
    docs = tmp_path / "large"
    docs.mkdir()
    line = "The harbour master wrote down every ship that came in with the tide, number {}.\n"
    with (docs / "large.txt").open("w") as file:
        written = number = 0
        while written < 50_000_000:
            written += file.write(line.format(number) + ("\n" if number % 7 == 0 else ""))
            number += 1
    environment = clean_environment(PYTHONPATH=str(REPOSITORY))
    script = Path(__file__).with_name("large_text_child.py")
    done = subprocess.run(
        [sys.executable, script, docs, state],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    print(said["peak_mb"], said["report"]["duration_seconds"])
    assert said["report"]["documents"]["ingested"] == 1
    assert said["report"]["rows"] > 25_000
    # The text itself is 50 MB; a run over a small file takes about 300 MB.
    assert said["peak_mb"]["self"] < 1_200
    assert said["peak_mb"]["children"] < 1_000


def test_gzip_is_looked_through_whatever_the_suffix(docs: Path, state: Path) -> None:
    shutil.rmtree(docs)
    docs.mkdir()
    (docs / "report.pdf.gz").write_bytes(gzip.compress(documents.pdf()))
    (docs / "wrong.txt").write_bytes(documents.docx_file())
    report = _ingest(docs, state).object
    assert report["documents"]["ingested"] == 2
    rows = {Path(row["source"]).name: row for row in rows_of(state, "docs")}
    assert rows["report.pdf.gz"]["page"] is not None


def test_a_document_that_changes_while_it_is_ingested_is_whole_in_the_end(
    docs: Path, state: Path
) -> None:
    log = docs / "growing.txt"
    log.write_text("start\n")
    stop = threading.Event()

    def grow() -> None:
        while not stop.wait(0.05):
            with log.open("a") as file:
                file.write("one more line of the log\n")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        process = start_cli("ingest", docs, "-c", "docs", "--json", state=state)
        _, stderr = process.communicate(timeout=240)
    finally:
        stop.set()
        writer.join()
    assert process.returncode in (0, 3), stderr
    report = _ingest(docs, state).object
    assert report["documents"]["failed"] == 0
    text = "\n".join(row["text"] for row in rows_of(state, "docs") if "growing" in row["source"])
    assert text.count("one more line") == log.read_text().count("one more line")
