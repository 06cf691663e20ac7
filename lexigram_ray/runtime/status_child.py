"""Looks at the cluster for `status --watch`, in a process of its own: one JSON object a line.

A process that is attached to a cluster hangs, and then dies, when that cluster ends. So the one
that a person watches is never attached; it ends this one, and starts another.

On stdin stands the configuration, pickled; this process ends with the pipe.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import sys
from contextlib import ExitStack
from typing import TextIO

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.runtime.cluster_file import noted_cluster
from lexigram_ray.runtime.status import read_status

LOOK_SECONDS = 2.0


def main() -> None:
    """Look until nobody listens."""
    config: WorkersConfig = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever Ray prints on stdout is no answer.
    os.dup2(2, 1)
    noted = noted_cluster(config)
    with ExitStack() as stack:
        while noted_cluster(config) == noted:
            found = read_status(config)
            _tell(answers, found.to_dict()["cluster"])
            if found.cluster is not None and found.cluster.problem is None:
                _stay_attached(config, found.cluster.address, stack)
            if _is_left_alone(LOOK_SECONDS):
                return


def _stay_attached(config: WorkersConfig, address: str | None, stack: ExitStack) -> None:
    """Keep one connection: each would be a driver of its own in Ray's list of jobs."""
    import ray

    from lexigram_ray.runtime.cluster import connected

    if not ray.is_initialized():
        stack.enter_context(connected(config, address))


def _tell(answers: TextIO, cluster: object) -> None:
    answers.write(json.dumps(cluster) + "\n")
    answers.flush()


def _is_left_alone(seconds: float) -> bool:
    """Wait; return whether whoever started this process is gone."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    main()
