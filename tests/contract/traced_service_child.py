"""A process that takes a submission over HTTP and works on it: STATE TRACEPARENT."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from lexigram_ray.core.config import load_config
from lexigram_ray.runtime.resume import run_job
from tests.service_site import running_service


def main(state: Path, traceparent: str) -> None:
    """Submit one text as part of a trace, and embed it."""
    config = load_config(state_dir=state)
    body = {"collection": "docs", "texts": [{"id": "1", "text": "Leases are renewed."}]}
    with running_service(config) as site:
        headers = {"traceparent": traceparent}
        answer = site.client.post("/v1/embedding-jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    run_job(config, answer.json()["id"], stop=threading.Event())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
