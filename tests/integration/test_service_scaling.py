"""More requests than one replica is to have: another one comes, and nobody is sent away for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.served_site import (
    HAPROXY,
    READY_SECONDS,
    REPLICA,
    ServedSite,
    eventually,
    serving,
)
from tests.ready_state import with_model
from tests.service_load import Heard, submit_all

pytestmark = [pytest.mark.slow, pytest.mark.ray]

SUBMISSIONS = 200
CONNECTIONS = 16


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, converted_models: Path
) -> Iterator[ServedSite]:
    settings = {
        "LEX_AI_WORKERS__SERVICE__MAX_REPLICAS": "2",
        # Another one is wanted from a third of these on; none has to wait.
        "LEX_AI_WORKERS__SERVICE__MAX_ONGOING_REQUESTS": str(2 * CONNECTIONS),
    }
    state = with_model(tmp_path_factory.mktemp("served") / "state", converted_models)
    with serving(state, settings) as site:
        yield site


def test_a_replica_comes_under_load_and_no_request_fails_for_it(served: ServedSite) -> None:
    first = served.pids(HAPROXY)
    assert len(served.pids(REPLICA)) == 1
    assert first
    heard: list[Heard] = []
    errors: list[Exception] = []
    is_enough = threading.Event()

    def load() -> None:
        try:
            while not is_enough.is_set():
                heard.append(
                    submit_all(served.url, submissions=SUBMISSIONS, connections=CONNECTIONS)
                )
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    client = threading.Thread(target=load)
    client.start()
    try:
        eventually(lambda: len(served.pids(REPLICA)) == 2, "a second replica", READY_SECONDS)
        # HAProxy is replaced by one that knows both, while its connections are in use.
        eventually(lambda: is_replaced(served.pids(HAPROXY), first), "HAProxy's reload")
    finally:
        is_enough.set()
        client.join()

    assert errors == []
    assert {status for each in heard for status in each.answers} == {202}
    accepted = [job_id for each in heard for ids in each.job_ids.values() for job_id in ids]
    assert len(accepted) == SUBMISSIONS * len(heard)
    assert sorted(served.job_ids()) == sorted(accepted)


def is_replaced(now: list[int], before: list[int]) -> bool:
    return bool(now) and not set(now) & set(before)
