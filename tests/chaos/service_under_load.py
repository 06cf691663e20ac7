"""Submissions while parts of the service die: `python -m tests.chaos.service_under_load`.

Clients repeat what was not answered, with the same Idempotency-Key. In the end every submission
that was accepted is in the store once, and none else; a table says what the clients heard.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.integration.served_site import HAPROXY, PROXY, REPLICA, ServedSite, serving
from tests.service_load import Heard, submit_all

TITLES = {"replica": REPLICA, "proxy": PROXY, "haproxy": HAPROXY}


def main(argv: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="lexigram-ray-served-") as folder:
        state = Path(folder) / "state"
        state.mkdir()
        replicas = str(given.replicas)
        settings = {
            "LEX_AI_WORKERS__SERVICE__MIN_REPLICAS": replicas,
            "LEX_AI_WORKERS__SERVICE__MAX_REPLICAS": replicas,
        }
        with serving(state, settings) as site:
            heard, killed = _submit(site, given)
            stored = site.job_ids()
    return _print(given, heard, killed, stored)


def _submit(site: ServedSite, given: argparse.Namespace) -> tuple[Heard, list[str]]:
    # Spread over the run, the first one in good time.
    whens = [given.submissions * (n + 1) // (len(given.kill) + 1) for n in range(len(given.kill))]
    plan = list(zip(whens, given.kill, strict=True))
    killed: list[str] = []
    lock = threading.Lock()

    def kill_in_time(accepted: int) -> None:
        with lock:
            while plan and accepted >= plan[0][0]:
                _, what = plan.pop(0)
                killed.append(f"{what} {site.kill_one(TITLES[what])} at {accepted:,}")

    heard = submit_all(
        site.url,
        submissions=given.submissions,
        connections=given.connections,
        on_accepted=kill_in_time,
    )
    return heard, killed


def _print(
    given: argparse.Namespace, heard: Heard, killed: Sequence[str], stored: Sequence[str]
) -> int:
    accepted = [job_id for ids in heard.job_ids.values() for job_id in ids]
    twice = len(stored) - len(set(stored)) + sum(len(ids) > 1 for ids in heard.job_ids.values())
    lost, others = set(accepted) - set(stored), set(stored) - set(accepted)
    rows = {
        "submissions": f"{given.submissions:,} from {given.connections} connections",
        "replicas": f"{given.replicas}",
        "killed": ", ".join(killed) or "nothing",
        "seconds": f"{heard.seconds:.1f} ({given.submissions / heard.seconds:.0f} a second)",
        "answers": ", ".join(
            f"{status or 'none'}: {times:,}" for status, times in sorted(heard.answers.items())
        ),
        "accepted": f"{len(heard.job_ids):,}",
        "in the store": f"{len(stored):,}",
        "lost": f"{len(lost):,}",
        "twice": f"{twice:,}",
        "not accepted, but there": f"{len(others):,}",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
    return int(bool(lost or others or twice or len(heard.job_ids) != given.submissions))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument(
        "--kill", nargs="*", choices=sorted(TITLES), default=["replica"], help="One after the other"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
