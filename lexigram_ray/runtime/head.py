"""The head that `up` starts on this machine: a process that outlives the command.

It leads a session of its own. What Ray starts stays in that session, so that `down` finds all of
it, even what has lost its parent. Free of Ray: Ray runs in the head.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from lexigram_ray.core.config import ENV_PREFIX
from lexigram_ray.core.errors import ClusterUnreachableError, WorkerError
from lexigram_ray.jobs.owner import UNSEEN, Owner
from lexigram_ray.runtime.token_auth import DEFAULT_MODE, MODE

OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Batches are small and large documents go through files: more would only be reserved."""

DASHBOARD_PORT = 8265
PORT_TAKEN = ("valid port for dashboard", "--dashboard-port")
"""In what Ray says where it cannot have the port that it was given."""

START_SECONDS = 90.0
END_SECONDS = 20.0
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.1
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own variable for clusters of one machine: at 0 it listens on 127.0.0.1 and nowhere else."""

LOOPBACK = "LOCALHOST"
"""Ray takes localhost and 127.0.0.1 for the machine's address on its network, but not this."""

_RAY = "from ray.scripts.scripts import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head that `up` has started.

    Attributes:
        owner: The process that watches over Ray's; its pid is also the id of their session.
        folder: Ray's sockets, logs, and its address.
    """

    owner: Owner
    folder: str

    @property
    def is_here(self) -> bool:
        """Whether its processes are to be seen from here: same machine, boot and container."""
        return _place(self.owner) == _place(Owner.current())

    @property
    def is_elsewhere(self) -> bool:
        """Whether it may run where it cannot be seen from here; an earlier boot's does not."""
        return not self.is_here and not self.owner.is_gone()

    def is_running(self) -> bool:
        """Whether its first process runs."""
        return self.is_here and not self.owner.is_gone()

    def is_whole(self) -> bool:
        """Whether it runs, and its sockets are there: without them, attaching ends the process."""
        sockets = Path(self.folder).glob("session_*/sockets/raylet*")
        return self.is_running() and any(sockets)

    def processes(self) -> list[psutil.Process]:
        """Return all of its processes that run, whatever has become of the first one."""
        if not self.is_here or self._pid_is_anothers():
            return []
        return [process for process in psutil.process_iter() if self._is_member(process)]

    def _pid_is_anothers(self) -> bool:
        # The kernel gives no pid away that is still the id of somebody's session.
        now = Owner.of(self.owner.pid).process_started
        return now not in (UNSEEN, self.owner.process_started)

    def _is_member(self, process: psutil.Process) -> bool:
        try:
            in_session = os.getsid(process.pid) == self.owner.pid
            return in_session and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            return False


class PortTakenError(ClusterUnreachableError):
    """Two heads that were started at once have chosen the same port for their dashboards."""


def start_head(store_id: str, logs: Path, *, dashboard_port: int = DASHBOARD_PORT) -> Head:
    """Start a head node of this machine's resources; it has no address yet.

    Args:
        store_id: Heads of different stores do not meet.
        logs: Where what it prints goes.
        dashboard_port: Another one where this one is taken already; 0 for any.

    Raises:
        ClusterUnreachableError: It cannot be started.
    """
    folder = _fresh_folder(store_id)
    logs.mkdir(parents=True, exist_ok=True)
    with _log(logs).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _RAY, *_arguments(folder, dashboard_port)],
            env=_environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Head(owner=Owner.of(process.pid), folder=str(folder))


def address_of(head: Head, logs: Path) -> str:
    """Wait until a head that was started has an address.

    Args:
        logs: As given to `start_head`.

    Raises:
        PortTakenError: Another program has taken the dashboard's port in the meantime.
        ClusterUnreachableError: It has ended, or takes too long.
    """
    file, log = _address_file(Path(head.folder)), _log(logs)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if address := file.read_text(encoding="ascii").strip():
                return f"{LOOPBACK}:{address.rpartition(':')[2]}"
        if not head.is_running():
            last = _last_line(log)
            is_taken = any(words in last for words in PORT_TAKEN)
            kind = PortTakenError if is_taken else ClusterUnreachableError
            raise kind(
                f"Ray does not start on this machine: {last}",
                hint=f"check free memory and disk, and {log}",
            )
        time.sleep(POLL_SECONDS)
    raise ClusterUnreachableError(
        f"Ray has not started within {START_SECONDS:.0f} s", hint=f"look into {log}"
    )


def end_head(head: Head) -> int:
    """End a head and all of its processes, and return how many there were.

    Its logs stay until the next one is started.

    Raises:
        WorkerError: Some of them do not end.
    """
    members = set[psutil.Process]()
    # The first one ends the others in good order; what is left then has lost its parent.
    steps = [
        ({head.owner.pid}, signal.SIGTERM, END_SECONDS),
        (None, signal.SIGTERM, GRACE_SECONDS),
        (None, signal.SIGKILL, GRACE_SECONDS),
    ]
    for pids, number, seconds in steps:
        # Found anew: some are started by others that end.
        members |= _with_descendants(head.processes())
        asked = [each for each in members if pids is None or each.pid in pids]
        _signal(asked, number)
        _wait(head, members, seconds if asked else 0.0)
    if left := _left(head, members):
        pids = " ".join(str(process.pid) for process in left)
        raise WorkerError(f"processes of the cluster do not end: {pids}", hint=f"kill -9 {pids}")
    return len(members)


def _place(owner: Owner) -> tuple[str, str, str]:
    return owner.host, owner.boot_id, owner.pid_namespace


def _arguments(folder: Path, dashboard_port: int) -> Sequence[str]:
    return (
        "start", "--head", "--block", "--port=0", f"--temp-dir={folder}",
        "--include-dashboard=true", f"--dashboard-port={_free_port(dashboard_port)}",
        f"--dashboard-agent-listen-port={_free_port(0)}",
        f"--ray-client-server-port={_free_port(0)}", f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
    )  # fmt: skip


def _environment() -> dict[str, str]:
    # Every worker inherits it: settings come with the actors, and secrets do not belong here.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith((ENV_PREFIX, "LEXIGRAM_RAY_")) and name != "RAY_ADDRESS"
    }
    return {MODE: DEFAULT_MODE} | kept | {LOOPBACK_ONLY: "0"}


def private_path(name: str) -> Path:
    """Return where a folder of this user lies, for sockets: their paths may have 107 bytes."""
    return Path(tempfile.gettempdir()) / f"lexigram-ray-{os.getuid()}" / name


def private_folder(name: str) -> Path:
    """Return a folder that nobody else can look or write into, made where it is missing.

    Raises:
        ClusterUnreachableError: Somebody else has made it.
    """
    folder = private_path(name)
    for each in (folder.parent, folder):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)
        found = each.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise ClusterUnreachableError(
                f"{each} belongs to somebody else",
                hint="have it removed, or set TMPDIR to a folder of your own",
            )
    return folder


def _fresh_folder(store_id: str) -> Path:
    folder = private_folder(store_id[:8])
    for old in folder.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink()
    return folder


def _log(logs: Path) -> Path:
    return logs / "ray-head.log"


def _address_file(folder: Path) -> Path:
    return folder / "ray_current_cluster"


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ClusterUnreachableError(
        "this machine has no free port for Ray's dashboard", hint="close some connections"
    )


def _with_descendants(members: Iterable[psutil.Process]) -> set[psutil.Process]:
    # A parser has a session of its own, so that it can be killed with all that it starts.
    family = set[psutil.Process]()
    for member in members:
        with suppress(psutil.NoSuchProcess):
            family |= {member, *member.children(recursive=True)}
    return family


def _left(head: Head, members: Iterable[psutil.Process]) -> list[psutil.Process]:
    left = set(head.processes())
    for member in members:
        with suppress(psutil.NoSuchProcess):
            if member.is_running() and member.status() != psutil.STATUS_ZOMBIE:
                left.add(member)
    return sorted(left, key=lambda process: process.pid)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _wait(head: Head, members: Iterable[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _left(head, members):
        time.sleep(POLL_SECONDS)


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"
    return "it has left no log"
