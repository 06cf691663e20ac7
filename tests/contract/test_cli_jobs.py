"""`lexigram-ray jobs`: real jobs of the command line, seen and changed from other processes."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.report import IngestReport
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.resume import run_job
from tests.command_line import Result, Terminal, run_cli, start_cli
from tests.documents import PAGES, pdf
from tests.job_data import claimed, ingest_spec, ingest_summary, submitted
from tests.ready_state import converted_models, with_model

__all__ = ["converted_models"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ESCAPE = "\x1b"
JOB_FIELDS = {
    "id", "kind", "status", "priority", "collection", "progress", "attempt", "retry_of",
    "created_at", "started_at", "finished_at", "error",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Harbour:
    """Two good documents and a bad one, ingested; then a table of two texts, embedded."""

    documents: Path
    table: Path
    state: Path
    ingested: str
    embedded: str

    def jobs(self, *arguments: str | Path) -> Result:
        return run_cli("jobs", *arguments, state=self.state)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory, converted_models: Path) -> Harbour:
    root = tmp_path_factory.mktemp("harbour")
    documents, table = root / "documents", root / "faq.csv"
    state = with_model(root / "state", converted_models)
    documents.mkdir()
    (documents / "crane.md").write_text(f"# The crane\n\n{PAGES[1]}\n")
    (documents / "fog.txt").write_text(f"{PAGES[2]}\n")
    (documents / "truncated.pdf").write_bytes(pdf()[:400])
    table.write_text("id,text\na,When do ships leave?\nb,What does the crane lift?\n")
    ingested = run_cli("ingest", documents, "-c", "harbour", "--json", state=state)
    embedded = run_cli("embed", table, "-c", "faq", "--json", state=state)
    assert (ingested.code, embedded.code) == (3, 0), ingested.stderr + embedded.stderr
    return Harbour(
        documents=documents,
        table=table,
        state=state,
        ingested=str(ingested.object["job_id"]),
        embedded=str(embedded.object["job_id"]),
    )


@dataclass(frozen=True, kw_only=True)
class Watching:
    """A job that this very process works on, in a store of its own."""

    state: Path
    store: Store
    claim: Claim

    def start(self, *options: str) -> subprocess.Popen[str]:
        return start_cli("jobs", "watch", self.claim.job_id, *options, state=self.state)

    def finish(self, *, ingested: int, failed: int) -> None:
        summary = ingest_summary(ingested=ingested, failed=[f"/{n}" for n in range(failed)])
        rest: dict[str, object] = {
            "chunks": {"written": 9, "removed": 0},
            "embeddings": {"computed": 9, "cached": 0},
            "rows": 9,
            "duration_seconds": 1.0,
        }
        self.store.finish(self.claim, JobStatus.COMPLETED, summary=summary | rest)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    state = tmp_path / "state"
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        claim = claimed(store, submitted(store))
        store.save_progress(claim, {"total": 1000, "done": 250, "failed": 0})
        yield Watching(state=state, store=store, claim=claim)


def listed(result: Result) -> list[dict[str, object]]:
    assert result.code == 0, result.stderr
    items = result.object["items"]
    assert isinstance(items, list)
    return items


def test_jobs_are_listed_newest_first_as_objects_and_as_a_table(harbour: Harbour) -> None:
    items = listed(harbour.jobs("list", "--status", "completed", "--json"))
    table = harbour.jobs("list", "-c", "harbour")

    ids = [item["id"] for item in items]
    assert ids.index(harbour.embedded) < ids.index(harbour.ingested)
    item = items[ids.index(harbour.ingested)]
    assert set(item) >= JOB_FIELDS
    assert item["progress"] == {"total": 3, "done": 3, "failed": 1, "percent": 100.0}
    headers, *rows = table.stdout.splitlines()
    assert " ".join(headers.split()) == "ID KIND COLLECTION STATUS PROGRESS AGE TOOK ERROR"
    [row] = [row for row in rows if row.startswith(harbour.ingested[:13])]
    assert "ingest  harbour     completed  3/3 100%, 1 failed" in row
    assert ESCAPE not in table.stdout


def test_a_page_says_how_the_next_one_is_shown(harbour: Harbour) -> None:
    page = harbour.jobs("list", "--limit", "1")
    label, _, line = page.stderr.strip().partition(": ")

    assert label == "more with"
    cursor = line.split("--cursor ")[1].split()[0]
    [second] = listed(harbour.jobs("list", "--limit", "1", "--cursor", cursor, "--json"))
    both = listed(harbour.jobs("list", "--limit", "2", "--json"))
    assert both[0]["id"][:13] in page.stdout  # pyright: ignore
    assert both[1]["id"] == second["id"]


def test_show_tells_what_failed_who_worked_and_what_to_try(harbour: Harbour) -> None:
    shown = harbour.jobs("show", harbour.ingested[:13])
    answer = harbour.jobs("show", harbour.ingested, "--json").object

    assert shown.code == 0, shown.stderr
    assert "completed: ingest into collection harbour" in shown.stdout
    assert "truncated.pdf" in shown.stdout
    assert "try: " in shown.stderr
    assert f"jobs retry {harbour.ingested} --failed" in shown.stderr
    assert set(answer) >= JOB_FIELDS | {"attempts", "run_after", "deadline", "spec", "problems"}
    [attempt] = answer["attempts"]  # pyright: ignore
    assert (attempt["number"], attempt["outcome"]) == (1, "completed")
    assert attempt["pid"] > 0
    assert attempt["node"]
    [problem] = answer["problems"]  # pyright: ignore
    assert Path(problem["source"]).name == "truncated.pdf"


@pytest.mark.parametrize(
    ("given", "reason"),
    [("0193", "too short"), ("zebra-zebra", "no job 'zebra-zebra'"), ("ffffff", "no job 'ffffff'")],
)
def test_an_id_that_names_no_job_is_wrong_use(harbour: Harbour, given: str, reason: str) -> None:
    result = harbour.jobs("show", given)

    assert result.code == 2
    assert reason in result.stderr
    assert "try: " in result.stderr.splitlines()[-1]


def test_a_retry_of_what_failed_is_the_job_of_those_documents(harbour: Harbour) -> None:
    bad = harbour.documents / "truncated.pdf"
    retried = harbour.jobs("retry", harbour.ingested, "--failed", "--json")
    again = harbour.jobs("retry", harbour.ingested, "--failed")

    assert retried.code == 0, retried.stderr
    new = retried.object
    assert (new["status"], new["retry_of"]) == ("pending", harbour.ingested)
    assert again.stdout.strip() == new["id"]
    assert f"job {new['id']} asks for the same already, and is pending" in again.stderr
    assert " up --state " in again.stderr
    # Whoever works on it does what was asked: the file is parsed once more, and fails once more.
    worked = run_cli(
        "ingest", bad, "-c", "harbour", "--retry-failed", "--json", state=harbour.state
    )
    assert (worked.code, worked.object["job_id"]) == (1, new["id"]), worked.stderr
    watched = harbour.jobs("watch", str(new["id"]), "--json")
    assert (watched.code, watched.object["status"]) == (1, "completed")


def test_a_document_that_was_mended_is_ingested_by_the_worker_of_the_retry(
    harbour: Harbour, tmp_path: Path
) -> None:
    document = tmp_path / "report.pdf"
    document.write_bytes(pdf()[:400])
    failed = run_cli("ingest", document, "-c", "mended", "--json", state=harbour.state)
    document.write_bytes(pdf())

    retried = harbour.jobs("retry", str(failed.object["job_id"])[:18], "--failed")
    job_id = retried.stdout.strip()
    config = load_config(state_dir=harbour.state)
    report = run_job(config, job_id, stop=threading.Event(), actor="job:ingest:mended")

    assert failed.code == 1
    assert isinstance(report, IngestReport)
    assert (report.documents.ingested, report.documents.failed) == (1, 0)
    shown = harbour.jobs("show", job_id)
    assert "1/1 documents, 100%" in shown.stdout
    assert "job:ingest:mended" in shown.stdout
    assert f"retry of   {failed.object['job_id']}" in shown.stdout


def test_a_retried_table_is_embedded_once_and_a_cancelled_retry_stays_so(harbour: Harbour) -> None:
    first = harbour.jobs("retry", harbour.embedded, "--json").object
    cancelled = harbour.jobs("cancel", str(first["id"]))
    again = harbour.jobs("cancel", str(first["id"]), "--json")
    second = harbour.jobs("retry", str(first["id"]), "--json").object
    worked = run_cli("embed", harbour.table, "-c", "faq", "--json", state=harbour.state)

    assert "it had written nothing" in cancelled.stdout
    assert (again.code, again.object["status"]) == (0, "cancelled")
    assert second["retry_of"] == first["id"]
    assert worked.object["job_id"] == second["id"], worked.stderr
    assert worked.object["texts"] == {"read": 2, "embedded": 0, "cached": 2, "failed": 0}


def test_a_job_that_has_ended_cannot_be_cancelled_nor_what_did_not_fail_retried(
    harbour: Harbour,
) -> None:
    cancelled = harbour.jobs("cancel", harbour.ingested, "--json")
    retried = harbour.jobs("retry", harbour.embedded, "--failed")

    assert cancelled.code == 2
    assert cancelled.object["error"]["code"] == "usage"  # pyright: ignore
    assert "it has completed already" in cancelled.stderr
    assert retried.code == 2
    assert "no record of job" in retried.stderr


def test_a_running_job_is_cancelled_from_outside_and_its_owner_writes_no_more(
    watching: Watching,
) -> None:
    refused = run_cli("jobs", "retry", watching.claim.job_id, state=watching.state)
    result = run_cli("jobs", "cancel", watching.claim.job_id[:13], state=watching.state)

    assert refused.code == 2
    assert "only a job that has ended can be retried" in refused.stderr
    assert result.code == 0, result.stderr
    assert result.stdout.startswith("cancelled: ingest into collection papers")
    with pytest.raises(LeaseLostError):
        watching.store.save_progress(watching.claim, {})


def test_a_watch_follows_a_job_of_another_process_to_its_end(watching: Watching) -> None:
    process = watching.start("--json", "--json-progress")
    assert process.stderr is not None
    status = json.loads(process.stderr.readline())
    watching.finish(ingested=9, failed=1)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 3, err
    assert (status["message_type"], status["percent_done"]) == ("status", 0.25)
    assert json.loads(out)["progress"]["failed"] == 1
    last = json.loads(err.splitlines()[-1])
    assert (last["message_type"], last["status"]) == ("summary", "completed")


def test_an_interrupted_watch_detaches_and_the_job_goes_on(watching: Watching) -> None:
    process = watching.start()
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert "250/1,000 documents, 25%" in first
    assert process.returncode == 130, err
    assert "detached: " in err
    assert f"jobs watch {watching.claim.job_id}" in err
    assert "running: ingest into collection papers" in out
    watching.finish(ingested=10, failed=0)


def test_a_watch_in_a_terminal_shows_a_bar_and_then_the_summary(watching: Watching) -> None:
    terminal = Terminal(["jobs", "watch", watching.claim.job_id], state=watching.state)
    try:
        terminal.read_until("250/1,000 documents")
        watching.finish(ingested=10, failed=0)
        screen = terminal.read_to_end()
    finally:
        terminal.close()

    assert terminal.process.returncode == 0
    assert "10 documents found: 10 ingested" in screen


def test_a_watch_of_a_job_that_nobody_works_on_says_what_is_missing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        job = submitted(store, ingest_spec(tmp_path))
        process = start_cli("jobs", "watch", job.id, state=state)
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(3)]
        store.cancel(job.id, claimed(store, job).owner, turn_seconds=5)
        _, err = process.communicate(timeout=60)

    assert "waiting for a worker" in lines[0]
    assert lines[1] == "note: nothing works on recorded jobs yet\n"
    assert " up --state " in lines[2]
    assert process.returncode == 1, err


def test_looking_for_jobs_where_there_are_none_makes_no_store(tmp_path: Path) -> None:
    state = tmp_path / "nothing" / "state"
    state.parent.mkdir()
    for arguments, code, said in (
        (("list",), 0, "there are no jobs yet"),
        (("show", "0193579e"), 2, "there are no jobs yet in"),
    ):
        result = run_cli("jobs", *arguments, state=state)
        assert result.code == code, result.stderr
        assert said in result.stderr
        assert "ingest PATH --collection NAME" in result.stderr
    assert listed(run_cli("jobs", "list", "--json", state=state)) == []
    status = run_cli("status", "--json", state=state)
    assert (status.code, status.object["running"]) == (4, []), status.stderr
    assert status.object["jobs"] == dict.fromkeys(JobStatus, 0)
    assert not state.exists()
