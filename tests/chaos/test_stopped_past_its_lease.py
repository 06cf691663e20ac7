"""A process that was stopped for longer than its lease comes back too late, wherever it stood."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import lance
import pytest

from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from tests.chaos.many_documents import write_documents
from tests.chaos.stopped_child import DOCUMENT, LATE_ROWS
from tests.chaos.stopping import is_free, stopping_child, take_over
from tests.command_line import run_cli, start_cli
from tests.contract.store_data import wait_until_stopped
from tests.integration.commit_data import (
    NAME,
    Place,
    assert_table_equals_ledger,
    claim_job,
    commit,
    done,
    found,
    ingested,
    one_copy,
    states,
)
from tests.integration.processes import ended, kill_whole_family
from tests.tables import assert_nothing_twice, sources

pytestmark = [pytest.mark.slow, pytest.mark.soak]

DOCUMENTS = 40
SHORT_LEASE = {
    "LEX_AI_WORKERS__JOBS__LEASE_SECONDS": "3",
    "LEX_AI_WORKERS__JOBS__HEARTBEAT_SECONDS": "1",
    "LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "1000",
}


def test_an_ingest_that_was_stopped_past_its_lease_writes_nothing_more_and_says_why(
    tmp_path: Path, state: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    write_documents(docs, DOCUMENTS, seed=3)
    command = ("ingest", docs, "-c", "docs", "--json")
    late = start_cli(*command, state=state, env=SHORT_LEASE)
    try:
        _wait_for_rows(state, late)
        _stop_between_transactions(late, state / "jobs.db")
        other = run_cli(*command, state=state, env=SHORT_LEASE)
        assert other.code == 0, other.stderr
        version = _version(state)
        late.send_signal(signal.SIGCONT)
        result = ended(late)
    finally:
        if late.poll() is None:
            kill_whole_family(late)

    report: dict[str, Any] = other.object
    assert _attempts(state, report["job_id"]) == ["lost", "completed"]
    assert report["documents"]["ingested"] == DOCUMENTS
    assert result.code == 1
    error: Any = result.object["error"]
    assert error["code"] == "lease_lost"
    assert f"job {report['job_id']} is not this process's any more" in error["message"]
    assert "run the same command again" in error["hint"]
    assert "Traceback" not in result.stderr
    assert _version(state) == version
    assert len(sources(state, "docs")) == DOCUMENTS
    assert sources(state, "docs").total() == report["rows"]
    assert_nothing_twice(state, "docs")


@pytest.mark.parametrize(
    ("moment", "refused"),
    [("in the middle of the merge", 1), ("before the removal", 1), ("after the write", 0)],
)
def test_a_write_that_began_before_a_long_stop_is_refused_after_it(
    place: Place, store: Store, collection: Collection, moment: str, refused: int
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({DOCUMENT: 3, "b": 2}, "old"))
    with stopping_child(place, moment) as late:
        wait_until_stopped(late)
        written = found(collection)[DOCUMENT]
        assert (written[0] == LATE_ROWS) == (moment == "after the write")
        fresh = take_over(store)
        assert fresh.fence == 2
        commit(store, fresh, collection, ingested({DOCUMENT: 5}, "newest"))
        version = collection.refresh()

        late.send_signal(signal.SIGCONT)
        answer = json.loads(late.communicate(timeout=60)[0])

    assert answer == {"code": "lease_lost", "refused_by_lance": refused}
    assert collection.refresh() == version
    assert found(collection) == one_copy({DOCUMENT: 5}, "newest") | one_copy({"b": 2}, "old")
    assert states(store) == done(DOCUMENT, "b")
    assert_table_equals_ledger(collection, store)


def _stop_between_transactions(process: subprocess.Popen[str], database: Path) -> None:
    """Stop a process while it holds no lock of SQLite's: with one, nobody at all could go on."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until_stopped(process)
        if is_free(database):
            return
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.05)
    pytest.fail("it never let go of its store")


def _wait_for_rows(state: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(OSError, ValueError):
            if lance.dataset(str(state / "lancedb" / f"{NAME}.lance")).count_rows() > 0:
                return
        time.sleep(0.05)
    pytest.fail("no row was written")


def _attempts(state: Path, job_id: str) -> list[str | None]:
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        return [attempt.outcome for attempt in store.attempts_of(job_id)]


def _version(state: Path) -> int:
    return lance.dataset(str(state / "lancedb" / f"{NAME}.lance")).version
