"""A store of any older version opens as today's; one of a newer version is left alone."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from lexigram_ray.core.errors import StoreUnreachableError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus
from lexigram_ray.jobs.migrations import STEPS, Step, migrate
from lexigram_ray.jobs.records import Claim, LedgerState
from lexigram_ray.jobs.redaction import MOST_OF_AN_ERROR
from lexigram_ray.jobs.schema import metadata
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, claimed, elsewhere, entry, found, submit

# A store as version 1 made and filled it. It never changes, whatever today's tables are.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
    applied_at BIGINT NOT NULL);
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE jobs (id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    priority INTEGER NOT NULL, collection TEXT NOT NULL, spec TEXT NOT NULL,
    spec_key TEXT NOT NULL, unique_key TEXT, fence BIGINT NOT NULL, attempt INTEGER NOT NULL,
    retry_of TEXT REFERENCES jobs (id), created_at BIGINT NOT NULL, started_at BIGINT,
    finished_at BIGINT, owner TEXT, lease_until BIGINT, error TEXT, error_code TEXT,
    progress TEXT NOT NULL, summary TEXT NOT NULL,
    CHECK ((status = 'running') = (owner IS NOT NULL AND lease_until IS NOT NULL)));
CREATE UNIQUE INDEX jobs_unfinished ON jobs (kind, spec_key)
    WHERE status IN ('pending', 'running');
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX jobs_queue ON jobs (kind, status, priority DESC, created_at, id);
CREATE INDEX jobs_newest ON jobs (created_at, id);
CREATE TABLE attempts (job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, fence BIGINT NOT NULL, owner TEXT NOT NULL,
    started_at BIGINT NOT NULL, ended_at BIGINT, outcome TEXT, error TEXT,
    PRIMARY KEY (job_id, number));
CREATE TABLE units (job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    unit_id TEXT NOT NULL, source TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'skipped', 'failed')),
    crashes INTEGER NOT NULL, content_hash TEXT NOT NULL, chunks INTEGER NOT NULL,
    computed INTEGER NOT NULL, cached INTEGER NOT NULL, category TEXT, code TEXT NOT NULL,
    reason TEXT NOT NULL, seconds FLOAT NOT NULL, updated_at BIGINT NOT NULL,
    PRIMARY KEY (job_id, unit_id));
CREATE TABLE documents (collection TEXT NOT NULL, document_id TEXT NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('writing', 'done', 'skipped', 'failed', 'removed')),
    size BIGINT, mtime_ns BIGINT, ctime_ns BIGINT, inode BIGINT, checked_at_ns BIGINT NOT NULL,
    content_hash TEXT NOT NULL, chunker TEXT NOT NULL, model TEXT NOT NULL,
    parser TEXT NOT NULL, chunks INTEGER NOT NULL, chunks_digest TEXT NOT NULL,
    job_id TEXT NOT NULL, category TEXT, code TEXT NOT NULL, reason TEXT NOT NULL,
    had_intent SMALLINT NOT NULL CHECK (had_intent IN (0, 1)), updated_at BIGINT NOT NULL,
    PRIMARY KEY (collection, document_id));
CREATE TABLE leases (name TEXT NOT NULL, token TEXT NOT NULL, position BIGINT NOT NULL,
    owner TEXT NOT NULL, held SMALLINT NOT NULL, lease_until BIGINT NOT NULL,
    PRIMARY KEY (name, token));
INSERT INTO schema_version VALUES (1, 'jobs, units, ledger, attempts, leases', 1);
INSERT INTO meta VALUES ('store_id', 'feed');
INSERT INTO jobs VALUES ('j1', 'ingest', 'running', 0, 'docs', '{"paths":["/a"]}', 'k1', NULL,
    4, 4, NULL, 1700000000000000, 1700000001000000, NULL,
    '{"boot_id":"b","host":"elsewhere","pid":7,"process_started":9}', 1700000060000000,
    NULL, NULL, '{"done":1}', '{}');
INSERT INTO attempts VALUES ('j1', 4, 4,
    '{"boot_id":"b","host":"elsewhere","pid":7,"process_started":9}', 1700000001000000,
    NULL, NULL, NULL);
INSERT INTO units VALUES ('j1', 'd1', '/a/1', 'done', 1, 'h', 3, 3, 0, NULL, '', '', 0.5, 1);
INSERT INTO documents VALUES ('docs', 'd1', '/a/1', 'done', 1, 2, 3, 4, 5, 'h', 'c', 'm', 'p',
    3, 'x', 'j1', NULL, '', '', 1, 1700000002000000);
"""

# What version 2 added to it.
VERSION_2_ROWS = """
UPDATE units SET replaced = 7;
INSERT INTO jobs VALUES ('j2', 'ingest', 'pending', 0, 'docs', '{}', 'k2', NULL, 0, 0, NULL,
    1700000003000000, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}');
INSERT INTO jobs VALUES ('j3', 'ingest', 'pending', 0, 'docs', '{}', 'k3', 'once', 2, 2, NULL,
    1700000002000000, 1700000002000000, NULL, NULL, NULL, NULL, NULL, '{}', '{}');
INSERT INTO jobs VALUES ('j4', 'ingest', 'completed', 0, 'docs', '{}', 'k4', NULL, 1, 1, 'j3',
    1700000004000000, 1700000005000000, 1700000006000000, NULL, NULL, NULL, NULL, '{}', '{}');
"""

# What version 3 added to it: failures that the ledger remembers, one of a job that is not there.
VERSION_3_ROWS = """
UPDATE jobs SET deadline = 1900000000000000 WHERE id = 'j2';
INSERT INTO documents VALUES ('docs', 'd2', '/a/2', 'failed', 1, 2, 3, 4, 5, 'h', 'c', 'm', 'p',
    0, '', 'j1', 'invalid_input', 'corrupt', '/a/2 is truncated, password=x', 1, 1700000002000000);
INSERT INTO documents VALUES ('more', 'd2', '/b/9', 'failed', 1, 2, 3, 4, 5, 'h', 'c', 'm', 'p',
    0, '', 'gone', NULL, 'unexpected', '/b/9 is truncated, password=y', 0, 1700000003000000);
INSERT INTO documents VALUES ('more', 'd3', '/b/8', 'skipped', 1, 2, 3, 4, 5, 'h', 'c', 'm', 'p',
    0, '', 'j1', 'invalid_input', 'empty', 'it is empty', 0, 1700000003000000);
"""

# What a later version might do: add a column, a table, and fill them from what is there.
LATER = Step(
    version=STEPS[-1].version + 1,
    name="colours",
    statements=(
        "ALTER TABLE jobs ADD COLUMN colour BIGINT",
        "UPDATE jobs SET colour = created_at + 1",
        "CREATE TABLE postcards (id TEXT NOT NULL PRIMARY KEY)",
    ),
)
BROKEN = Step(
    version=LATER.version + 1,
    name="broken in the middle",
    statements=("CREATE TABLE half (id TEXT)", "ALTER TABLE nowhere ADD COLUMN x TEXT"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def version_1(path: Path) -> None:
    execute(path, VERSION_1)


def execute(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_a_store_of_version_1_opens_and_goes_on(path: Path) -> None:
    version_1(path)

    with Store.open(f"sqlite:///{path}") as store:
        assert store.store_id == "feed"
        job = found(store, "j1")
        assert (job.status, job.fence, job.progress) == (JobStatus.RUNNING, 4, {"done": 1})
        kept = store.ledger("docs")["d1"]
        assert (kept.state, kept.had_intent, kept.chunks) == (LedgerState.DONE, True, 3)
        assert [unit.crashes for unit in store.units("j1")] == [1]
        claim = store.claim("j1", elsewhere(), 60)
        assert isinstance(claim, Claim)
        assert claim.fence == 5
        assert store.record_intent(claim, [entry(), entry(document_id="d1")]) == {"d1"}
        store.finish(claim, JobStatus.COMPLETED, summary={})


def test_a_store_of_version_2_opens_and_goes_on(path: Path) -> None:
    version_1(path)
    database = Database(f"sqlite:///{path}", Clock())
    migrate(database, STEPS[:2])
    database.close()
    execute(path, VERSION_2_ROWS)

    with Store.open(f"sqlite:///{path}", clock=Clock()) as store:
        assert [job.id for job in store.ready(["ingest"], limit=9)] == ["j1", "j3", "j2"]
        job = found(store, "j2")
        assert (job.run_after, job.deadline) == (None, None)
        attempt = store.attempts_of("j1")[0]
        assert (attempt.number, attempt.actor, attempt.category, attempt.traceback) == (
            4,
            "",
            None,
            None,
        )
        assert store.unit_totals("j1").replaced == 7
        claim = store.claim_next("ingest", elsewhere(), 60, actor="runner")
        assert claim is not None
        assert (claim.job_id, claim.fence) == ("j1", 5)
        store.snooze(claim, 30, "later")
        assert [job.id for job in store.ready(["ingest"], limit=9)] == ["j3", "j2"]
        assert store.counts()[JobStatus.COMPLETED] == 1


def test_failures_that_a_store_of_version_3_remembers_become_letters(path: Path) -> None:
    version_1(path)
    database = Database(f"sqlite:///{path}", Clock())
    migrate(database, STEPS[:2])
    execute(path, VERSION_2_ROWS)
    migrate(database, STEPS[:3])
    database.close()
    execute(path, VERSION_3_ROWS)
    execute(path, f"UPDATE documents SET reason = '{'x' * 9_999}' WHERE job_id = 'gone'")

    with Store.open(f"sqlite:///{path}", clock=Clock()) as store:
        one, other = store.dead_letters.each(LetterFilter())
        assert (one.collection, one.subject_id, one.source, one.job_id, one.kind) == (
            "docs",
            "d2",
            "/a/2",
            "j1",
            "ingest",
        )
        assert (one.category, one.code) == (FailureCategory.INVALID_INPUT, "corrupt")
        assert (one.error, one.status) == ("/a/2 is truncated, password=***", LetterStatus.OPEN)
        assert [attempt.error for attempt in one.attempts] == [one.error]
        assert one.last_failed_at == one.attempts[0].at
        assert (other.category, other.job_id) == (FailureCategory.UNKNOWN, "gone")
        assert len(other.error) <= MOST_OF_AN_ERROR
        claim = store.claim("j1", elsewhere(), 60)
        assert isinstance(claim, Claim)
        store.record_intent(claim, [entry(document_id="d2")])
        store.mark_done(claim, [entry(document_id="d2")], [])
        assert store.dead_letters.get(one.id) == replace(
            one,
            status=LetterStatus.ADDRESSED,
            resolution="succeeded",
            closed_at=NOW,
        )
        assert store.dead_letters.get(other.id) == other


def test_a_fresh_store_has_the_tables_that_queries_expect(path: Path) -> None:
    Store.open(f"sqlite:///{path}").close()
    engine = create_engine(f"sqlite:///{path}")
    found = inspect(engine)

    made = {
        name: {column["name"]: column["nullable"] for column in found.get_columns(name)}
        for name in found.get_table_names()
    }
    expected = {
        table.name: {column.name: column.nullable for column in table.columns}
        for table in metadata.tables.values()
    }
    keys = {name: found.get_pk_constraint(name)["constrained_columns"] for name in made}
    engine.dispose()
    assert made == expected
    assert keys == {
        table.name: [column.name for column in table.primary_key]
        for table in metadata.tables.values()
    }


def test_a_fresh_store_and_a_migrated_one_are_alike(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    version_1(old)
    Store.open(f"sqlite:///{old}").close()
    Store.open(f"sqlite:///{fresh}").close()

    shape = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY type, name"
    assert rows(old, shape) == rows(fresh, shape)


def test_every_store_has_an_id_of_its_own_that_stays(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}" for name in ("a.db", "b.db", "a.db")]
    ids: list[str] = []
    for url in urls:
        with Store.open(url) as store:
            ids.append(store.store_id)

    assert ids[0] == ids[2] != ids[1]


def test_a_later_step_keeps_what_was_there(path: Path) -> None:
    version_1(path)
    database = Database(f"sqlite:///{path}", Clock())

    assert migrate(database, (*STEPS, LATER)) == "feed"
    assert migrate(database, (*STEPS, LATER)) == "feed"

    database.close()
    assert rows(path, "SELECT id, colour FROM jobs") == [("j1", 1700000000000001)]
    assert rows(path, "SELECT max(version) FROM schema_version") == [(LATER.version,)]


def test_a_step_that_fails_changes_nothing_and_can_be_tried_again(path: Path) -> None:
    version_1(path)
    database = Database(f"sqlite:///{path}", Clock())

    with pytest.raises(StoreUnreachableError, match="nowhere"):
        migrate(database, (*STEPS, LATER, BROKEN))

    tables = [name for (name,) in rows(path, "SELECT name FROM sqlite_master")]
    assert "postcards" in tables
    assert "half" not in tables
    assert migrate(database, (*STEPS, LATER)) == "feed"
    database.close()


def test_a_store_of_a_newer_version_is_refused_and_kept(path: Path) -> None:
    with Store.open(f"sqlite:///{path}") as store:
        submit(store)
        claimed(store, "other")
    database = Database(f"sqlite:///{path}", Clock())
    migrate(database, (*STEPS, LATER))
    database.close()
    before = path.read_bytes()

    with pytest.raises(StoreUnreachableError, match=f"schema version {LATER.version}") as caught:
        Store.open(f"sqlite:///{path}")

    assert caught.value.hint is not None
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == before


def test_steps_are_numbered_without_gaps() -> None:
    assert [step.version for step in STEPS] == list(range(1, len(STEPS) + 1))
