"""The process of one call of an isolated handler; started by `_isolated`, and by nothing else."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import sys
from dataclasses import asdict
from typing import Any, TextIO

from lexigram_ray.core.errors import MaintenanceError
from lexigram_ray.jobs.redaction import traceback_text
from lexigram_ray.maintenance.child_side import die_with_parent, reply, take_stdout
from lexigram_ray.maintenance.user_tasks import load_function
from lexigram_ray.workers.maintenance._answers import answer_of, words_of
from lexigram_ray.workers.maintenance._isolated import ANSWER, ERROR, HandlerOrder

logger = logging.getLogger("lexigram_ray")


def main() -> None:
    """Do what the order says."""
    replies = take_stdout()
    order: HandlerOrder = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent's bytes
    die_with_parent(order.parent)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    try:
        _call(order.path, replies)
    except SystemExit as error:
        reply(replies, ERROR, f"the handler called exit ({error.code})")
    except Exception as error:  # noqa: BLE001 - the parent tells it
        logger.warning("%s", traceback_text(error))
        reply(replies, ERROR, words_of(error))


def _call(path: str, replies: TextIO) -> None:
    value = load_function(path)()
    if inspect.isawaitable(value):
        value = asyncio.run(_awaited(value))
    try:
        reply(replies, ANSWER, asdict(answer_of(value)))
    except (TypeError, ValueError) as error:
        raise MaintenanceError(
            f"what the handler has returned cannot be written as JSON: {error}",
            hint="return numbers, texts, lists and dicts with texts as keys",
        ) from error


async def _awaited(answer: Any) -> object:
    return await answer


if __name__ == "__main__":
    main()
