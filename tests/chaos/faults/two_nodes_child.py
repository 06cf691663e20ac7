"""`lexigram-ray` on a cluster of two nodes that are one machine, so that its disk is shared."""

from __future__ import annotations

from pathlib import Path

from lexigram_ray.cli.app import main
from lexigram_ray.jobs.filesystem import Filesystem
from lexigram_ray.runtime import cluster


def _shared(_: Path) -> Filesystem:
    return Filesystem(mount_point="/", kind="nfs4")


if __name__ == "__main__":
    cluster.filesystem_of = _shared
    main()
