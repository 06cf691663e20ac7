"""configs/serve.yaml: Ray's own `serve deploy` runs the service on a cluster that is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from lexigram_ray.service.deployment import APPLICATION, SERVE_ENVIRONMENT
from tests.command_line import REPOSITORY, clean_environment
from tests.integration.ports import free_port
from tests.integration.served_site import (
    READY_SECONDS,
    REPLICA,
    ServedSite,
    eventually,
    status_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.ray]

FILE = REPOSITORY / "configs" / "serve.yaml"
RAYS_SERVE = (sys.executable, "-c", "from ray.serve.scripts import cli; cli()")


@pytest.fixture
def site(state: Path) -> Iterator[ServedSite]:
    found = ServedSite(state)
    yield found
    found.close()


def test_the_file_is_what_ray_reads_and_has_the_switches_of_the_code() -> None:
    written = ServeDeploySchema.model_validate(yaml.safe_load(FILE.read_text()))
    (application,) = written.applications
    assert (application.name, application.route_prefix) == (APPLICATION, "/")
    assert written.controller_options is not None
    assert written.controller_options.runtime_env == {"env_vars": SERVE_ENVIRONMENT}
    assert written.http_options.request_timeout_s is None


def test_ray_s_own_deploy_runs_it(site: ServedSite, tmp_path: Path) -> None:
    up = site.done("up")
    port = free_port()
    written: dict[str, Any] = yaml.safe_load(FILE.read_text())
    written["http_options"]["port"] = port
    written["applications"][0]["args"]["settings"]["state_dir"] = str(site.state)
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump(written))

    subprocess.run(
        [*RAYS_SERVE, "deploy", str(file), "--address", up["dashboard"]],
        env=clean_environment(**site.environment, RAY_AUTH_MODE="token"),
        check=True,
        capture_output=True,
        timeout=120,
    )

    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
        eventually(lambda: status_of(client, "/readyz") == 200, "ready", READY_SECONDS)
        assert client.get("/v1/jobs").json() == {"items": [], "next": None}
    assert len(site.pids(REPLICA)) == 1
    # It is not ours to end, nor to replace.
    refused = site.run("serve", "--port", str(port))
    assert refused.code == 2
    assert "another state directory" in str(refused.object)
