"""Which file system a path lies on: SQLite's locks hold only on this machine's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK_KINDS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "wekafs",
        "orangefs",
        "davfs",
    }
)
# A FUSE file system names its program: these are the ones whose files lie on another machine.
_NETWORK_PROGRAMS = (
    "sshfs",
    "s3fs",
    "mount-s3",
    "mountpoint-s3",
    "goofys",
    "geesefs",
    "gcsfuse",
    "blobfuse",
    "rclone",
    "juicefs",
    "glusterfs",
    "ceph",
    "davfs",
    "curlftpfs",
    "seaweedfs",
    "hdfs",
    "smbnetfs",
)
_FUSE = "fuse."


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """A mounted file system.

    Attributes:
        mount_point: Where it is mounted.
        kind: As the kernel names it (`ext4`, `nfs4`, `fuse.sshfs`); `unknown` off Linux.
    """

    mount_point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether its files lie on another machine."""
        if self.kind.startswith(_FUSE):
            return self.kind.removeprefix(_FUSE).startswith(_NETWORK_PROGRAMS)
        return self.kind in _NETWORK_KINDS


def filesystem_of(path: Path, mounts: Path = _MOUNTS) -> Filesystem:
    """Return the file system that `path` lies on, or would lie on once it exists.

    Args:
        path: Need not exist; symbolic links in it are followed.
        mounts: The kernel's list of mounts.
    """
    target = path.absolute().resolve()
    found = Filesystem(mount_point="/", kind="unknown")
    for candidate in _mounted(mounts):
        inside = target.is_relative_to(candidate.mount_point)
        # A later mount at the same place hides the earlier one.
        if inside and len(candidate.mount_point) >= len(found.mount_point):
            found = candidate
    return found


def _mounted(mounts: Path) -> Iterator[Filesystem]:
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    for line in text.splitlines():
        _device, mount_point, kind = line.split(" ")[:3]
        yield Filesystem(mount_point=_unescaped(mount_point), kind=kind)


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
