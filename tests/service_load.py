"""Clients that submit and, where an answer is lost, submit the same again: what did they hear?"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

PAUSE_SECONDS = 0.1
GIVE_UP_SECONDS = 180.0


@dataclass
class Heard:
    """What the clients heard.

    Attributes:
        run: Begins the keys of these submissions.
        job_ids: By key, every id that an accepting answer had.
        answers: How often which status came; 0 where no answer came.
        seconds: From the first request to the last answer.
    """

    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    job_ids: dict[str, set[str]] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, status: int) -> None:
        with self._lock:
            self.answers[status] += 1

    def accepted(self, key: str, job_id: str) -> int:
        """Note an accepted submission, and return how many there are."""
        with self._lock:
            self.job_ids.setdefault(key, set()).add(job_id)
            return len(self.job_ids)


def submit_all(
    url: str,
    *,
    submissions: int,
    connections: int,
    on_accepted: Callable[[int], None] = lambda _: None,
) -> Heard:
    """Submit texts, each with a key of its own, until every one was accepted.

    Args:
        on_accepted: Is told how many were, after each.

    Raises:
        TimeoutError: One is not accepted for too long.
        AssertionError: One is refused.
    """
    heard, waiting = Heard(), queue.SimpleQueue[int]()
    errors: list[Exception] = []
    for number in range(submissions):
        waiting.put(number)

    def work() -> None:
        try:
            with httpx.Client(base_url=url, timeout=30.0) as client:
                while not errors:
                    on_accepted(_submit(client, waiting.get_nowait(), heard))
        except queue.Empty:
            pass
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard.seconds = time.monotonic() - began
    if errors:
        raise errors[0]
    return heard


def _submit(client: httpx.Client, number: int, heard: Heard) -> int:
    key = f"{heard.run}-{number}"
    body = {
        "collection": "load",
        "texts": [{"id": f"t{number}", "text": f"text {number} of {heard.run}"}],
    }
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = client.post("/v1/embedding-jobs", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            heard.answered(0)
        else:
            heard.answered(answer.status_code)
            if answer.status_code == 202:
                return heard.accepted(key, answer.json()["id"])
            assert answer.status_code in (409, 429) or answer.status_code >= 500, answer.text
            if answer.status_code >= 500:
                _check_problem(answer)
        time.sleep(PAUSE_SECONDS)
    raise TimeoutError(f"{key} was not accepted within {GIVE_UP_SECONDS:.0f} s")


def _check_problem(answer: httpx.Response) -> None:
    """Whoever answers, HAProxy for a replica too, says what went wrong, and when to retry."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert "Retry-After" in answer.headers, problem
