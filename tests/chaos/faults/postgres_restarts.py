"""PostgreSQL goes away and comes back beneath jobs that several processes submit and finish."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.chaos.faults.children import Child
from tests.chaos.proof_types import Outcome, Trial
from tests.postgres_server import PASSWORD, PASSWORD_IN_URL, PostgresServer

CLIENTS = 4
JOBS = 668
"""Beneath each kind of restart, of which there are three."""

RESTARTS = 2
GAP_SECONDS = (5.0, 12.0)
AWAY_SECONDS = (0.0, 3.0)
LONG_AWAY_SECONDS = 11.5
"""Longer than the store waits by itself: its callers hear of it."""

TIMES_LONG = 2
LIMIT_SECONDS = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A way to stop the server.

    Attributes:
        away_long: Whether its last stop outlasts the store's patience.
    """

    fault: str
    stop: Callable[[PostgresServer], None]
    away_long: bool = False


KINDS = (
    Restart(fault="SIGKILL of PostgreSQL", stop=PostgresServer.kill),
    Restart(fault="immediate stop of PostgreSQL", stop=lambda server: server.stop(signal.SIGQUIT)),
    Restart(
        fault="fast stop of PostgreSQL",
        stop=lambda server: server.stop(signal.SIGINT),
        away_long=True,
    ),
)


def run(trial: Trial) -> Iterator[Outcome]:
    """Restart the server in each way, several times each, beneath jobs of their own."""
    try:
        server = PostgresServer()
    except pytest.skip.Exception as missing:
        yield Outcome(
            fault="restart of PostgreSQL", times=0, lost=0, duplicated=0, notes=(str(missing),)
        )
        return
    try:
        for restart in KINDS:
            yield _restarted(server, restart, trial)
    finally:
        server.end()


def _restarted(server: PostgresServer, restart: Restart, trial: Trial) -> Outcome:
    chance = trial.chance(restart.fault)
    url = server.fresh_database()
    many = TIMES_LONG if trial.long else 1
    gaps = [chance.uniform(*GAP_SECONDS) for _ in range(RESTARTS * many)]
    share = JOBS * many // CLIENTS
    # An idle server would have no transaction to lose: the work lasts until the last restart.
    work_seconds = sum(gaps) / share
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                Child(
                    "postgres_restarts_child",
                    *(url, f"client{number}", share, work_seconds, share * CLIENTS),
                    limit_seconds=LIMIT_SECONDS,
                )
            )
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.line()
        for client in clients:
            client.go()
        left = [_restart_after(server, restart, gap, url, chance) for gap in gaps[:-1]]
        left.append(
            _restart_after(server, restart, gaps[-1], url, chance, away_long=restart.away_long)
        )
        said = [client.line() for client in clients]
        failed = [client.errors() for client, line in zip(clients, said, strict=True) if not line]
    told = [json.loads(line) for line in said if line]
    lost, duplicated, notes = _compared(url, told, share * CLIENTS)
    if restart.away_long and not any(client["errors"] for client in told):
        notes.append("no client has noticed anything")
    notes += [f"a client ended: {errors[-300:]}" for errors in failed]
    if not left[-1]:
        notes.append("the jobs were done before the last restart")
    return Outcome(
        fault=f"{restart.fault}, {share * CLIENTS:,} jobs",
        times=len(gaps),
        lost=lost,
        duplicated=duplicated,
        notes=tuple(notes),
    )


def _restart_after(
    server: PostgresServer,
    restart: Restart,
    gap: float,
    url: str,
    chance: random.Random,
    *,
    away_long: bool = False,
) -> int:
    """Restart the server after a while, and return how many jobs were unfinished then."""
    time.sleep(gap)
    left = _unfinished(url)
    restart.stop(server)
    time.sleep(LONG_AWAY_SECONDS if away_long else chance.uniform(*AWAY_SECONDS))
    server.start()
    return left


def _compared(url: str, told: list[dict[str, Any]], total: int) -> tuple[int, int, list[str]]:
    """Compare what clients were told with what the store holds, asked without our own code.

    Returns:
        What is lost, what is there too often, and whatever else is wrong.
    """
    with psycopg.connect(url) as connection:
        jobs = connection.execute(
            "SELECT unique_key, id, status, summary::json->>'by' FROM lexigram_ray.jobs"
        ).fetchall()
        completed = Counter(
            row[0]
            for row in connection.execute(
                "SELECT job_id FROM lexigram_ray.attempts WHERE outcome = 'completed'"
            )
        )
    stored = {key: (job_id, status, by) for key, job_id, status, by in jobs}
    by_job = {job_id: by for job_id, _, by in stored.values()}
    answered = {key: job_id for client in told for key, job_id in client["submitted"].items()}
    finished = [tuple(pair) for client in told for pair in client["finished"]]
    lost = sum(stored.get(key, ("",))[0] != job_id for key, job_id in answered.items())
    lost += sum(status != "completed" for _, status, _ in stored.values())
    lost += sum(by_job.get(job_id) != by for job_id, by in finished)
    lost += total - len(stored)
    duplicated = len(jobs) - len(stored)
    duplicated += sum(times - 1 for times in completed.values())
    duplicated += len(finished) - len({job_id for job_id, _ in finished})
    duplicated += sum(len(client["changed"]) for client in told)
    return lost, duplicated, _notes(told)


def _notes(told: list[dict[str, Any]]) -> list[str]:
    notes = [f"unclear: {words}" for client in told for words in client["unclear"][:3]]
    heard = " ".join(words for client in told for words in client["errors"])
    if PASSWORD in heard or PASSWORD_IN_URL in heard:
        notes.append("an error names the password")
    return notes


def _unfinished(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM lexigram_ray.jobs WHERE status <> 'completed'"
        ).fetchone()
    return 0 if row is None else int(row[0])
