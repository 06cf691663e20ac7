"""The process of one run: it claims the job, runs the task, and ends the job.

Started as `python -m lexigram_ray.maintenance.child` by `task_process`, and by nothing else. It
reads an order from stdin, and writes a JSON object a line to what was its stdout.
"""

from __future__ import annotations

import logging
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import TextIO

from lexigram_ray.core.errors import ConfigError, LeaseLostError
from lexigram_ray.core.job_logging import all_is_of_job
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.child_side import die_with_parent, reply, take_stdout
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.running import context_of, run_claimed
from lexigram_ray.maintenance.task_order import BUSY, CLAIMED, OVER, TELL, Order
from lexigram_ray.maintenance.user_tasks import Function, as_duty


def main() -> None:
    """Do what the order says."""
    replies = take_stdout()
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent's bytes
    die_with_parent(order.parent)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("lexigram_ray").setLevel(logging.INFO)
    all_is_of_job(order.job_id, "")
    with Store.open(order.config.paths.store_url) as store:
        _work(order, store, replies, stopping)


def _work(order: Order, store: Store, replies: TextIO, stopping: threading.Event) -> None:
    lease = order.config.jobs.lease_seconds
    try:
        claim = store.claim(order.job_id, Owner.current(), lease, actor=order.actor)
        job = store.get(order.job_id)
    except LeaseLostError:
        reply(replies, OVER, True)
        return
    if isinstance(claim, Busy) or job is None:
        reply(replies, BUSY, True)
        return
    reply(replies, CLAIMED, [claim.fence, claim.owner.to_json()])
    # Whoever took the job meanwhile, or ended it, decides what becomes of it.
    with suppress(LeaseLostError):
        run_claimed(
            context_of(
                order.config,
                store,
                job,
                tell=lambda line: reply(replies, TELL, line),
                should_stop=stopping.is_set,
            ),
            job,
            claim,
            function=_Unpickled(order.function) if order.function is not None else None,
        )


class _Unpickled:
    """A function that came as bytes; it is loaded when it is called, so that errors are its own."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __call__(self, context: DutyContext) -> DutyReport:
        try:
            function: Function = pickle.loads(self._pickled)  # noqa: S301 - our own parent's bytes
        except Exception as error:
            raise ConfigError(
                f"the function cannot be loaded where it is to run: {error_text(error)}",
                hint="install its module there, or give it by its import path",
            ) from error
        return as_duty(function)(context)


if __name__ == "__main__":
    main()
