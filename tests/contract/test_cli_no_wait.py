"""`--no-wait` from the outside: an id at once, nothing lost, the same command is the same job."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from tests.command_line import run_cli, start_cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

JOB_KEYS = {
    "id", "kind", "status", "priority", "collection", "progress", "attempt", "retry_of",
    "created_at", "started_at", "finished_at", "error",
}  # fmt: skip
BEATS = {
    "LEX_AI_WORKERS__JOBS__HEARTBEAT_SECONDS": "0.2",
    "LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "100000",
}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "fog.txt").write_text("Fog signals are given every two minutes.\n")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model is converted by the first test that needs it."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def state(tmp_path: Path, models: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "models").symlink_to(models)
    return folder


def jobs_of(state: Path) -> list[Job]:
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        return store.list_jobs()[0]


def test_an_ingestion_is_recorded_once_and_says_who_works_on_it(state: Path, notes: Path) -> None:
    first = run_cli("ingest", notes.name, "-c", "notes", "--no-wait", state=state)
    more = ("--prune", "--priority", "5", "--deadline", "2h")
    again = run_cli("ingest", notes, "-c", "notes", "--no-wait", *more, state=state)
    (job,) = jobs_of(state)

    assert (first.code, first.stdout) == (0, f"{job.id}\n"), first.stderr
    assert (again.code, again.stdout) == (0, f"{job.id}\n"), again.stderr
    assert f"submitted: job {job.id}" in first.stderr
    assert "lexigram_ray up" in first.stderr or "lexigram-ray up" in first.stderr
    assert f"jobs watch {job.id}" in first.stderr.rstrip().rsplit("\n", 1)[-1]
    assert f"job {job.id} is already waiting" in again.stderr
    assert "without --deadline, --priority, --prune: submit this again when" in again.stderr
    assert job.status is JobStatus.PENDING
    assert job.spec["request"]["paths"] == [str(notes)]  # type: ignore[index]
    assert not (state / "lancedb").exists()


def test_the_options_of_a_recorded_job_stand_in_it(state: Path, notes: Path) -> None:
    options = ["--priority", "5", "--key", "may", "--delay", "10m", "--deadline", "2h"]
    command = ("ingest", notes, "-c", "notes", "--no-wait", "--json", *options)
    result = run_cli(*command, state=state)
    (job,) = jobs_of(state)

    assert result.code == 0, result.stderr
    assert set(result.object) >= JOB_KEYS
    assert (result.object["id"], result.object["status"]) == (job.id, "pending")
    assert job.priority == 5
    assert job.run_after is not None
    assert job.deadline is not None
    assert job.deadline - job.run_after == timedelta(minutes=110)
    shown = f"{job.run_after.astimezone():%Y-%m-%d %H:%M:%S}"
    assert f"not before {shown}" in result.stderr
    other = run_cli(
        "ingest", notes / "fog.txt", "-c", "notes", "--no-wait", "--key", "may", state=state
    )
    assert (other.code, other.stdout) == (2, "")
    assert "'may'" in other.stderr
    assert datetime.fromisoformat(str(result.object["created_at"])) == job.created_at


def test_texts_from_stdin_are_kept_until_their_job_is_done(state: Path) -> None:
    texts = "".join(json.dumps({"text": f"Text {number}."}) + "\n" for number in range(3))
    command = ("embed", "-", "-c", "texts", "--no-wait", "--json-progress", "--json")
    first = run_cli(*command, state=state, stdin=texts)
    again = run_cli(*command, state=state, stdin=texts)
    (job,) = jobs_of(state)

    assert (first.code, again.code) == (0, 0), first.stderr
    assert [first.object["id"], again.object["id"]] == [job.id, job.id]
    messages = [json.loads(line) for line in again.stderr.splitlines()]
    assert {"label": "note", "message": f"job {job.id} is already waiting"}.items() <= next(
        message for message in messages if message.get("label") == "note"
    ).items()
    kept = {path.name for path in (state / "payloads" / "staged").iterdir()}
    assert kept == {f"{job.spec['rows']}.arrow", f"{job.spec['rows']}.json"}

    done = run_cli("embed", "-", "-c", "texts", "--json", state=state, stdin=texts)
    assert (done.code, done.object["job_id"], done.object["rows"]) == (0, job.id, 3), done.stderr
    assert list((state / "payloads" / "staged").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--priority", "5"], "--no-wait"),
        (["--no-wait", "--delay", "soon"], "--delay"),
        (["--no-wait", "--deadline", "2020-01-01T00:00"], "is over"),
        (["--no-wait", "--address", "localhost:1"], "--address"),
        (["--no-wait", "--dry-run"], "--dry-run"),
    ],
)
def test_wrong_use_records_nothing(state: Path, notes: Path, options: list[str], said: str) -> None:
    result = run_cli("ingest", notes, "-c", "notes", *options, state=state)

    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.rstrip().rsplit("\n", 1)[-1].startswith("try: ")
    assert [path.name for path in state.iterdir()] == ["models"]


def test_a_command_whose_job_is_cancelled_ends_with_that_word(state: Path, tmp_path: Path) -> None:
    table = tmp_path / "many.jsonl"
    with table.open("w") as file:
        for number in range(3_000):
            text = f"Rule {number} of the quay: berth {number % 97} is for vessel {number * 31}."
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    process = start_cli(
        "embed", table, "-c", "many", "--json", "--json-progress", state=state, env=BEATS
    )
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("texts_done", 0) > 0:
            break
    (job,) = jobs_of(state)
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        store.cancel(job.id, Owner.current(), turn_seconds=30)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 1, errors
    error = json.loads(output)["error"]
    assert error["code"] == "cancelled"
    assert f"job {job.id} was cancelled" in error["message"]
    assert "another process" not in errors
