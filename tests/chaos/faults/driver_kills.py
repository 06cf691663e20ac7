"""SIGKILL of commands in the middle of their work: on a cluster, and with a Ray of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.site import NOBODY_IS_BLAMED, Site
from tests.chaos.supply import Supply, reference_of
from tests.chaos.tally import Tally

ON_THE_CLUSTER = 5
BY_ITSELF = 2
LONG = 2
DOCUMENTS = 25
AFTER_SECONDS = (2.0, 7.0)
"""A command that starts Ray needs four of them until it works."""


def run(trial: Trial) -> Iterator[Outcome]:
    """Yield an outcome for commands that use what `up` has started, and one for those that do not.

    Only the command itself is killed: what it has started has to see that.
    """
    site, reference = Site(trial.state("killed"), NOBODY_IS_BLAMED), reference_of(trial)
    factor = LONG if trial.long else 1
    with site.up():
        whom = "a command on the cluster"
        yield _outcome(trial, site, reference, whom, times=ON_THE_CLUSTER * factor)
    whom = "a command with its own Ray"
    yield _outcome(trial, site, reference, whom, times=BY_ITSELF * factor)


def _outcome(trial: Trial, site: Site, reference: Site, whom: str, *, times: int) -> Outcome:
    supply = Supply(trial, site, whom.replace(" ", "-"), DOCUMENTS)
    chance = trial.chance(whom)
    commands = [supply.add()]
    tally = Tally()
    while tally.times < times and not tally.notes:
        process = site.start(*commands[-1])
        if _is_killed(process, chance.uniform(*AFTER_SECONDS)):
            tally.times += 1
        elif process.returncode:
            tally.notes.append(f"a command that nobody killed has exit code {process.returncode}")
        else:
            # So fast: the next one has new documents.
            commands.append(supply.add())
    for command in commands:
        site.done(*command)
    tally.notes += site.complaints()
    tally.add(supply.differs(reference))
    return tally.outcome(f"{SIGKILL} of {whom}")


def _is_killed(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a command after so many seconds; return whether it had not ended before."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    finally:
        # Not read to their ends: its children may hold them still.
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
