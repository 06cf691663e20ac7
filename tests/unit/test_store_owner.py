"""An owner is gone only when that is certain."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from lexigram_ray.jobs import owner as owner_module
from lexigram_ray.jobs.owner import Owner


def test_this_process_is_not_gone() -> None:
    owner = Owner.current()

    assert owner.pid == os.getpid()
    assert owner == Owner.of(os.getpid())
    assert owner == Owner.current()
    assert not owner.is_gone()


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    owner = Owner.current()

    assert replace(owner, process_started=owner.process_started - 1).is_gone()


def test_a_process_of_an_earlier_boot_is_gone() -> None:
    assert replace(Owner.current(), boot_id="earlier").is_gone()


def test_nothing_is_certain_of_another_machine() -> None:
    other = replace(Owner.current(), host="elsewhere", boot_id="theirs", process_started=1)

    assert not other.is_gone()


def test_nothing_is_certain_of_another_container_on_this_machine() -> None:
    other = replace(Owner.current(), pid_namespace="pid:[1]", process_started=1)

    assert not other.is_gone()


def test_a_killed_process_is_gone_before_and_after_it_is_reaped() -> None:
    code = (
        "from lexigram_ray.jobs.owner import Owner; import time;"
        "print(Owner.current().to_json(), flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        owner = Owner.from_json(output.readline())
    assert not owner.is_gone()

    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert owner.is_gone()
    # Still told from a later process with its pid.
    assert Owner.of(process.pid) == owner
    process.wait()
    assert owner.is_gone()
    assert Owner.of(process.pid) != owner


def test_a_process_whose_start_cannot_be_read_may_live(monkeypatch: pytest.MonkeyPatch) -> None:
    # As under /proc mounted with hidepid, for another user's process.
    monkeypatch.setattr(owner_module, "_proc_stat", lambda pid: None)

    assert not replace(Owner.current(), process_started=1).is_gone()


def test_an_owner_survives_json_and_pickle() -> None:
    owner = Owner.current()

    assert Owner.from_json(owner.to_json()) == owner
    assert pickle.loads(pickle.dumps(owner)) == owner
    later = owner.to_json().replace("{", '{"node": "of a later version", ', 1)
    assert Owner.from_json(later) == owner
