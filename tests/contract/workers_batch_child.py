"""A process that works on embedding jobs until it is killed: STATE [dies-when-told]."""

from __future__ import annotations

import asyncio
import os
import sys

from lexigram_ray.workers import BatchEmbeddingWorker, WorkerJobCompletedHook, subscribe


async def work(state: str) -> None:
    """Work until somebody kills this process."""
    await BatchEmbeddingWorker(state=state).start()
    sys.stdout.write("works\n")
    sys.stdout.flush()
    await asyncio.sleep(600)


def die(_: WorkerJobCompletedHook) -> None:
    """Die as a subscriber that was just called."""
    sys.stdout.write("told\n")
    sys.stdout.flush()
    os._exit(9)


if __name__ == "__main__":
    if sys.argv[2:] == ["dies-when-told"]:
        subscribe(WorkerJobCompletedHook, die)
    asyncio.run(work(sys.argv[1]))
