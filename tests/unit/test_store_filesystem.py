"""Which file system a path lies on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.errors import StoreUnreachableError
from lexigram_ray.jobs import sqlite
from lexigram_ray.jobs.filesystem import Filesystem, filesystem_of
from lexigram_ray.jobs.store import Store

MOUNTS = r"""
/dev/vda / ext4 rw 0 0
server:/export /mnt/share nfs4 rw 0 0
/dev/vdb /mnt/share/local xfs rw 0 0
someone@host:/home /mnt/with\040space fuse.sshfs rw 0 0
host /mnt/twice ext4 rw 0 0
//host/share /mnt/twice cifs rw 0 0
fuse /mnt/archive fuse.archivemount rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind", "is_network"),
    [
        ("/srv/state/jobs.db", "ext4", False),
        ("/mnt/share", "nfs4", True),
        ("/mnt/share/not/yet/there", "nfs4", True),
        ("/mnt/shared", "ext4", False),
        ("/mnt/share/local/state", "xfs", False),
        ("/mnt/with space/state", "fuse.sshfs", True),
        ("/mnt/twice/state", "cifs", True),
        ("/mnt/archive/state", "fuse.archivemount", False),
    ],
)
def test_a_path_lies_on_the_nearest_mount_above_it(
    tmp_path: Path, path: str, kind: str, is_network: bool
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.lstrip())

    found = filesystem_of(Path(path), mounts)

    assert (found.kind, found.is_network) == (kind, is_network)


def test_a_link_is_followed(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.lstrip())
    link = tmp_path / "state"
    link.symlink_to("/mnt/share/state")

    assert filesystem_of(link / "jobs.db", mounts).kind == "nfs4"


def test_without_a_list_of_mounts_nothing_is_known(tmp_path: Path) -> None:
    found = filesystem_of(tmp_path, tmp_path / "missing")

    assert (found.kind, found.is_network) == ("unknown", False)


def test_this_machines_own_list_of_mounts_can_be_read(tmp_path: Path) -> None:
    found = filesystem_of(tmp_path)

    assert tmp_path.is_relative_to(found.mount_point)


def test_a_store_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = Filesystem(mount_point="/mnt/share", kind="nfs4")
    monkeypatch.setattr(sqlite, "filesystem_of", lambda path: share)

    with pytest.raises(StoreUnreachableError, match="nfs4 at /mnt/share") as caught:
        Store.open(f"sqlite:///{tmp_path}/state/jobs.db")

    assert caught.value.hint is not None
    assert not (tmp_path / "state").exists()
