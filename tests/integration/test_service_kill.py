"""Whatever of the service is killed: what it has accepted is in the store once, and none else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.served_site import HAPROXY, PROXY, REPLICA, ServedSite, eventually, serving
from tests.ready_state import with_model
from tests.service_load import Heard, submit_all

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.chaos]

SUBMISSIONS = 300
CONNECTIONS = 16


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, converted_models: Path
) -> Iterator[ServedSite]:
    settings = {
        "LEX_AI_WORKERS__SERVICE__MIN_REPLICAS": "2",
        "LEX_AI_WORKERS__SERVICE__MAX_REPLICAS": "2",
    }
    state = with_model(tmp_path_factory.mktemp("served") / "state", converted_models)
    with serving(state, settings) as site:
        yield site


def submit_while_killing(served: ServedSite, title: str) -> tuple[Heard, int]:
    """Submit; once a third was accepted, kill one process. Return what was heard, and its pid."""
    killed: list[int] = []
    once = threading.Lock()

    def kill_at_a_third(accepted: int) -> None:
        if accepted >= SUBMISSIONS // 3 and once.acquire(blocking=False):
            killed.append(served.kill_one(title))

    heard = submit_all(
        served.url,
        submissions=SUBMISSIONS,
        connections=CONNECTIONS,
        on_accepted=kill_at_a_third,
    )
    return heard, killed[0]


@pytest.mark.parametrize("title", [REPLICA, PROXY, HAPROXY], ids=["replica", "proxy", "haproxy"])
def test_every_accepted_submission_is_in_the_store_once_and_none_else(
    served: ServedSite, title: str
) -> None:
    before = len(served.pids(title))
    known = served.job_ids()

    heard, killed = submit_while_killing(served, title)

    assert len(heard.job_ids) == SUBMISSIONS
    assert all(len(ids) == 1 for ids in heard.job_ids.values())
    accepted = [job_id for ids in heard.job_ids.values() for job_id in ids]
    assert sorted(served.job_ids()) == sorted([*known, *accepted])
    assert heard.answers[202] == SUBMISSIONS
    # What was killed is replaced.
    eventually(
        lambda: killed not in served.pids(title) and len(served.pids(title)) >= before, title
    )
