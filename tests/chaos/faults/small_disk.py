"""A file system of a few megabytes that can be filled to its last page, and freed again."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MEGABYTES = 48
LOOK_SECONDS = 0.002


class NoSmallDiskError(Exception):
    """This process may not mount a file system."""


class SmallDisk:
    """A mounted tmpfs; `small_disk` makes one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        self._ended = threading.Event()
        self._filler: threading.Thread | None = None

    def fill(self, leave: int) -> None:
        """Take all space but `leave` bytes, and whatever others free later, until `free`."""
        self._ended.clear()
        self._take(leave)
        self._filler = threading.Thread(target=self._keep_full, args=(leave,), daemon=True)
        self._filler.start()

    def free(self) -> None:
        """Give the space back."""
        self._ended.set()
        if self._filler is not None:
            self._filler.join()
            self._filler = None
        self._ballast.unlink(missing_ok=True)

    def _keep_full(self, leave: int) -> None:
        # A command that fails tidies up: with the space of it, it might go on after all.
        while not self._ended.wait(LOOK_SECONDS):
            self._take(leave)

    def _take(self, leave: int) -> None:
        space = os.statvfs(self.path)
        wanted = space.f_bavail * space.f_frsize - leave
        if wanted <= 0:
            return
        with self._ballast.open("ab") as ballast:
            try:
                os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, wanted)
            except OSError:
                return  # Somebody was faster; what is left is taken at the next look.


@contextmanager
def small_disk(path: Path) -> Generator[SmallDisk]:
    """Mount an empty file system at a folder that is made for it; it goes with the block.

    Raises:
        NoSmallDiskError: Only root may do that, and not in every container.
    """
    path.mkdir()
    size = f"size={MEGABYTES}m"
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounting.returncode:
        raise NoSmallDiskError(
            f"no small disk can be mounted, so that none can be full: {mounting.stderr.strip()};"
            " run as root (of a container with SYS_ADMIN), or this scenario alone with"
            " `unshare --user --map-root-user --mount make chaos ONLY=full_disk`"
        )
    disk = SmallDisk(path)
    try:
        yield disk
    finally:
        disk.free()
        subprocess.run(["umount", "--lazy", str(path)], check=True)
