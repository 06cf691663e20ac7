"""Which process holds a claim, and whether it is certainly gone."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"
_DEAD_STATES = frozenset("ZXx")

UNSEEN = 0
"""When a process began that cannot be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One process of one machine, told apart from a later one that got the same pid.

    Attributes:
        host: The machine's name.
        pid: As seen within `pid_namespace`.
        process_started: When the process began, in the machine's own unit (Linux: clock ticks
            since boot, which a moved clock does not change); compared for equality only. `UNSEEN`
            where it could not be told.
        boot_id: Of the machine's current boot.
        pid_namespace: Containers on one machine share its boot id, and may share its name, but
            number their processes apart; empty where there are no namespaces.
    """

    host: str
    pid: int
    process_started: int
    boot_id: str
    pid_namespace: str = ""

    @classmethod
    def current(cls) -> Owner:
        """Return the calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return a process of this machine, also one that is dead but not yet reaped."""
        seen = _seen(pid)
        return cls(
            host=socket.gethostname(),
            pid=pid,
            process_started=UNSEEN if seen is None else seen.started,
            boot_id=_boot_id(),
            pid_namespace=_pid_namespace(),
        )

    def is_gone(self) -> bool:
        """Return True only when this process certainly runs no more.

        False for another machine, for another container, and for whatever cannot be seen: their
        leases have to expire.
        """
        if self.host != socket.gethostname():
            return False
        if self.boot_id != _boot_id():
            return True
        if self.pid_namespace != _pid_namespace():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # It exists, and is another user's.
        seen = _seen(self.pid)
        # Under `hidepid` another user's process exists, but its start cannot be read.
        return seen is not None and (seen.is_dead or seen.started != self.process_started)

    def to_json(self) -> str:
        """Serialise for the store."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Owner:
        """Read back what `to_json` wrote; keys of a later version are ignored."""
        raw = json.loads(text)
        return cls(**{name: raw[name] for name in cls.__slots__ if name in raw})

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class _Seen(NamedTuple):
    started: int
    is_dead: bool
    """Dead, but not yet reaped."""


def _seen(pid: int) -> _Seen | None:
    seen = _proc_stat(pid)
    if seen is not None or _BOOT_ID.exists():
        return seen
    return _seen_without_proc(pid)


def _proc_stat(pid: int) -> _Seen | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses: count from the last one.
    fields = text.rpartition(")")[2].split()
    return _Seen(started=int(fields[19]), is_dead=fields[0] in _DEAD_STATES)


def _seen_without_proc(pid: int) -> _Seen | None:
    import psutil

    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return _Seen(started=round(process.create_time() * 1000), is_dead=is_dead)
    except psutil.Error:
        return None


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        import psutil

        # The computed time of boot moves by a second now and then as the clock is adjusted.
        return str(round(psutil.boot_time() / 60))


def _pid_namespace() -> str:
    try:
        # realpath, unlike readlink, would invent a path for it.
        return os.readlink(_PID_NAMESPACE)
    except OSError:
        return ""
