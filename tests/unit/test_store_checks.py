"""What the doctor says of the file systems under a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.cli.store_checks import filesystem_check
from lexigram_ray.core.config import load_config
from lexigram_ray.jobs import filesystem
from lexigram_ray.jobs.filesystem import Filesystem

SERVER = "postgresql://me:secret@host/jobs"


@pytest.fixture(params=["nfs4", "ext4"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    lies_on = Filesystem(mount_point="/mnt", kind=request.param)
    monkeypatch.setattr(filesystem, "filesystem_of", lambda path: lies_on)
    return request.param


def test_sqlite_on_a_network_file_system_fails_with_a_fix(kind: str, tmp_path: Path) -> None:
    check = filesystem_check(load_config(state_dir=tmp_path))

    assert check.status == ("fail" if kind == "nfs4" else "ok")
    assert f"{kind} at /mnt" in check.detail
    assert ("PostgreSQL" in check.fix) is (kind == "nfs4")


def test_with_postgresql_data_may_lie_on_either(kind: str, tmp_path: Path) -> None:
    check = filesystem_check(load_config(state_dir=tmp_path, store_url=SERVER))

    assert check.status == "ok"
    assert ("this machine alone" in check.detail) is (kind == "ext4")
    assert "secret" not in check.detail
