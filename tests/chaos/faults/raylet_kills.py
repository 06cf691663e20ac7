"""SIGKILL of the raylet of a second node: whatever ran there is gone, or talks to nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.chaos.orphans import end_all
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.site import NOBODY_IS_BLAMED, Site
from tests.chaos.supply import Supply, reference_of
from tests.chaos.tally import Tally
from tests.command_line import REPOSITORY, clean_environment
from tests.integration.up_site import STORE_URL
from tests.postgres_server import PostgresServer

FAULT = f"{SIGKILL} of the raylet of a second node"
TIMES = 3
LONG = 2
DOCUMENTS = 25
SMALL = {"object_store_memory": 100 * 1024 * 1024, "include_dashboard": False}
HEAD_CPUS = 2
NODE_CPUS = 1
AFTER_SECONDS = (4.0, 9.0)
END_SECONDS = 180.0


def run(trial: Trial) -> Iterator[Outcome]:
    """Yield the one outcome; each killed node is replaced, as whoever runs clusters does."""
    with contextlib.ExitStack() as stack:
        try:
            server = PostgresServer()
        except pytest.skip.Exception as error:
            yield Outcome(fault=FAULT, times=0, lost=0, duplicated=0, notes=(str(error),))
            return
        stack.callback(server.end)
        site = Site(trial.state("killed"), NOBODY_IS_BLAMED | {STORE_URL: server.fresh_database()})
        yield _outcome(trial, site, reference_of(trial), stack.enter_context(_cluster()))


@contextlib.contextmanager
def _cluster() -> Iterator[Cluster]:
    # Each process that Ray forks here is another program at once.
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": HEAD_CPUS, **SMALL})
    try:
        yield made
    finally:
        made.shutdown()
        # The workers of a killed raylet outlive it here; with a real node they would be gone.
        end_all()


def _outcome(trial: Trial, site: Site, reference: Site, cluster: Cluster) -> Outcome:
    supply, chance = Supply(trial, site, "raylet", DOCUMENTS), trial.chance("raylet")
    times = TIMES * (LONG if trial.long else 1)
    tally = Tally()
    while tally.times < times:
        process = _start(site, cluster, supply.add())
        while tally.times < times and process.poll() is None:
            node: Any = cluster.add_node(num_cpus=NODE_CPUS, **SMALL)
            time.sleep(chance.uniform(*AFTER_SECONDS))
            if process.poll() is None:
                os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
                tally.times += 1
            else:
                cluster.remove_node(node)
        tally.notes += _problems(process)
    tally.notes += site.complaints()
    tally.add(supply.differs(reference))
    return tally.outcome(FAULT)


def _start(site: Site, cluster: Cluster, command: Any) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "tests.chaos.faults.two_nodes_child"]
    return subprocess.Popen(
        [*program, *map(str, command), "--address", cluster.address, "--json"],
        env=clean_environment(LEXIGRAM_RAY_STATE=str(site.state), **site.environment),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _problems(process: subprocess.Popen[str]) -> Iterator[str]:
    try:
        stdout, stderr = process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        yield f"the command has not ended {END_SECONDS:.0f} s after the last kill"
        return
    if process.returncode:
        yield f"exit code {process.returncode}: {stdout[-500:]} {stderr[-500:]}"
