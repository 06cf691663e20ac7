"""`status --watch`: what it shows, how fast things go, and that it ends without a trace."""

from __future__ import annotations

import io
import json
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from lexigram_ray.cli.status_live import Frame
from lexigram_ray.cli.status_watch import ChunkRates, in_one_line
from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.watching import Watched
from lexigram_ray.maintenance.amounts import Sizes
from lexigram_ray.runtime.status_looks import ClusterAnswer, StoreLooker, SystemLook
from lexigram_ray.service.service_state import Readiness, ServiceState
from tests.command_line import run_cli, start_cli

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
JOB = Job(
    id="0193579e-1c2d-7abc-8def-0123456789ab",
    kind="ingest",
    status=JobStatus.RUNNING,
    priority=0,
    collection="papers",
    spec={},
    spec_key="key",
    fence=1,
    attempt=1,
    retry_of=None,
    created_at=NOW - timedelta(minutes=12),
    started_at=NOW - timedelta(seconds=50),
    finished_at=None,
    error=None,
    error_code=None,
    progress={"total": 1000, "done": 250, "failed": 3, "chunks": 2_500},
)
ENDED = replace(
    JOB,
    id="0193579f-1c2d-7abc-8def-0123456789ab",
    status=JobStatus.FAILED,
    finished_at=NOW - timedelta(minutes=2),
    error="the disk is\x1b[31m full",
)
CLUSTER = {
    "address": "127.0.0.1:6379",
    "started_here": True,
    "dashboard": "http://127.0.0.1:8265",
    "problem": None,
    "nodes": [{"name": "vm", "cpus": 2.0, "gpus": 0.0}],
    "actors": [{"name": "job:ingest:papers:1", "pid": None, "node": None}],
    "has_queue": True,
    "has_dead_letters": False,
    "has_maintenance": None,
}
LOOK = SystemLook(
    now=NOW,
    at=10.0,
    is_known=True,
    cluster=CLUSTER,
    jobs={JobStatus.RUNNING: 1, JobStatus.PENDING: 2, JobStatus.FAILED: 1},
    running=(Watched.begin(JOB, 0.0),),
    pending=(replace(JOB, id="0193579d-0000", status=JobStatus.PENDING),),
    ended=(ENDED,),
    letters={"transient": 0, "invalid_input": 3},
    sizes=Sizes({"papers": 12_345}, {"papers": 45_600_000}),
)


def drawn(look: SystemLook, *, height: int = 40) -> str:
    screen = Console(file=io.StringIO(), width=120, height=height, color_system=None)
    screen.print(Frame(look, 38.2))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def saved(before: Watched | None, chunks: int, at: float) -> Watched:
    job = replace(JOB, progress={**JOB.progress, "chunks": chunks})
    if before is None:
        return Watched.begin(job, at)
    last = before.last.again(job, at)
    base = last if last.is_change and not before.base.is_change else before.base
    return Watched(base=base, last=last)


def test_a_frame_shows_cluster_actors_jobs_failures_and_collections() -> None:
    shown = drawn(LOOK)
    for said in (
        "127.0.0.1:6379: 1 node, 2 CPUs",
        "queue runs",
        "dead letters is missing",
        "maintenance is turned off",
        "job:ingest:papers:1 does not answer",
        "2 pending, 1 running, 1 failed",
        "38.2 chunks/s",
        "3 open: 3 invalid_input",
        "ingest papers",
        "250/1,000 25%, 3 failed",
        "waits for 12 min",
        "2 min ago",
        "12,345 rows",
        "45.6 MB",
    ):
        assert said in shown
    assert "\x1b[31m" not in shown


def test_a_frame_says_what_is_wrong_with_the_cluster() -> None:
    assert "looking" in drawn(replace(LOOK, is_known=False, cluster=None))
    assert "`lexigram-ray up`" in drawn(replace(LOOK, cluster=None))
    silent = {**CLUSTER, "problem": "its head process 7 is not running"}
    assert "does not answer: its head process 7" in drawn(replace(LOOK, cluster=silent))


def test_the_service_is_told_of_where_there_is_one() -> None:
    service = ServiceState(url="http://127.0.0.1:8000", readiness=Readiness.NOT_READY)
    screen = Console(file=io.StringIO(), width=120, height=40, color_system=None)
    screen.print(Frame(LOOK, 38.2, service))
    assert isinstance(screen.file, io.StringIO)
    assert "service       http://127.0.0.1:8000 is not ready" in screen.file.getvalue()
    assert "[12 s] up; the service is not ready; 2 pending" in in_one_line(LOOK, 0, 12.0, service)


def test_many_jobs_and_collections_leave_room_for_the_rest() -> None:
    jobs = tuple(Watched.begin(replace(JOB, id=f"{n:08x}-0000"), 0.0) for n in range(20))
    sizes = Sizes({f"c{n}": n for n in range(90)}, {})
    shown = drawn(replace(LOOK, running=jobs, sizes=sizes), height=30)
    assert "RUNNING (and 16 more)" in shown
    assert "ENDED" in shown
    assert "c89" in shown
    assert len(shown.splitlines()) <= 32


def test_a_line_says_the_same_in_short() -> None:
    assert in_one_line(LOOK, 38.2, 12.0) == (
        "[12 s] up; 2 pending, 1 running, 1 failed; "
        "ingest into papers 250/1,000 documents, 25%, 3 failed, 5.0/s, about 2 min 30 s left; "
        "38.2 chunks/s; 3 open dead letters"
    )


def test_a_rate_is_of_what_was_saved_between_two_looks() -> None:
    rates = ChunkRates()
    watched = saved(None, 100, 0.0)
    assert rates.per_second((watched,), 0.0) == 0
    watched = saved(watched, 200, 10.0)
    assert rates.per_second((watched,), 10.0) == 0
    watched = saved(watched, 200, 15.0)
    assert rates.per_second((watched,), 15.0) == 0
    watched = saved(watched, 600, 20.0)
    assert rates.per_second((watched,), 20.0) == pytest.approx(40)


def test_a_rate_forgets_what_is_a_minute_old_and_jobs_that_have_ended() -> None:
    rates = ChunkRates()
    watched: Watched | None = None
    for at in range(0, 200, 10):
        chunks = at * 100 if at < 100 else 10_000
        watched = saved(watched, chunks + at, float(at))
        rates.per_second((watched,), float(at))
    assert watched is not None
    assert rates.per_second((watched,), 190.0) == pytest.approx(1.0)
    assert rates.per_second((), 191.0) == 0
    assert rates.per_second((watched,), 192.0) == 0


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    config = load_config(state_dir=tmp_path / "state")
    looker = StoreLooker(config)
    look = looker.look(ClusterAnswer())
    assert (look.running, look.ended, look.jobs) == ((), (), {})
    assert not (tmp_path / "state").exists()
    Store.open(config.paths.store_url).close()
    assert looker.look(ClusterAnswer()).jobs[JobStatus.PENDING] == 0
    looker.close()


def test_a_look_is_one_object_of_json() -> None:
    said = json.loads(json.dumps(LOOK.to_dict(chunks_per_second=38.2)))
    assert said["jobs"]["pending"] == 2
    assert said["running"][0]["id"] == JOB.id
    assert said["dead_letters"] == {"transient": 0, "invalid_input": 3}
    assert said["collections"] == [{"name": "papers", "rows": 12345, "bytes": 45600000}]


def test_an_interval_without_a_watch_is_wrong_use(tmp_path: Path) -> None:
    result = run_cli("status", "--interval", "1", state=tmp_path / "state")
    assert result.code == 2
    assert "--watch" in result.stderr


@pytest.mark.parametrize("json_lines", [True, False])
def test_a_watch_ends_at_ctrl_c_with_0_and_leaves_no_process(
    tmp_path: Path, json_lines: bool
) -> None:
    options = ["--json", "--interval", "0.2"] if json_lines else []
    process = start_cli("status", "--watch", *options, state=tmp_path / "state")
    assert process.stdout is not None
    first = process.stdout.readline()
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stderr == ""
    lines = [first, *rest.splitlines()]
    if json_lines:
        assert {json.loads(line)["jobs"]["pending"] for line in lines} == {0}
    else:
        assert "no jobs" in first
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
