"""What is said of a configuration that does not fit where it is to run."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest

import lexigram_ray
from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.environment import ConfigIssue, Environment
from lexigram_ray.core.environment_checks import is_loopback
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.jobs import filesystem
from lexigram_ray.jobs.filesystem import Filesystem
from lexigram_ray.jobs.store import Store

SERVER = "postgresql://me:secret@host/jobs"
Configured = Callable[..., WorkersConfig]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    monkeypatch.chdir(tmp_path)
    return lambda **settings: load_config(**{"state_dir": tmp_path / "state", **settings})


@pytest.fixture
def on_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    lies_on = Filesystem(mount_point="/mnt", kind="nfs4")
    monkeypatch.setattr(filesystem, "filesystem_of", lambda path: lies_on)


def of_field(issues: list[ConfigIssue], field: str) -> list[ConfigIssue]:
    return [issue for issue in issues if issue.field == field]


def make_token(config: WorkersConfig) -> None:
    with Store.open(config.paths.store_url) as store:
        store.tokens.create("ci", ["operate"])


def of_tokens(config: WorkersConfig, env: str) -> list[tuple[str, str]]:
    issues = of_field(config.validate_for_environment(env), "service.tokens")
    return [(issue.severity, issue.message) for issue in issues]


def test_all_three_names_are_one_class() -> None:
    from lexigram_ray.workers.config import WorkersConfig as OfWorkers

    assert lexigram_ray.WorkersConfig is WorkersConfig is OfWorkers


@pytest.mark.parametrize("env", [None, "development", "test"])
def test_a_laptop_needs_no_setting(configured: Configured, env: str | None) -> None:
    assert configured().validate_for_environment(env) == []


def test_production_finds_all_that_a_laptop_may_do_without(configured: Configured) -> None:
    issues = configured().validate_for_environment(Environment.PRODUCTION)

    fields = {issue.field for issue in issues}
    assert fields == {"store_url", "service.tokens", "service.host", "allowed_roots"}


@pytest.mark.parametrize("env", ["production", "staging"])
def test_every_issue_says_how_serious_it_is_and_what_to_do(
    configured: Configured, env: str
) -> None:
    for issue in configured(embedding={"model": "nobody/nothing"}).validate_for_environment(env):
        assert issue.severity in ("error", "warning")
        assert issue.message
        assert issue.suggestion
        assert issue.to_dict()["field"] == issue.field


def test_production_is_content_with_what_it_needs(configured: Configured, tmp_path: Path) -> None:
    config = configured(
        store_url=SERVER,
        data_uri=str(tmp_path / "data"),
        allowed_roots=[tmp_path],
        service={"host": "0.0.0.0"},
    )

    assert config.validate_for_environment("production") == []
    assert config.validate_for_environment("production", nodes=3) == []


def test_the_configured_environment_counts_unless_another_is_given(configured: Configured) -> None:
    config = configured(env="production")

    assert config.env is Environment.PRODUCTION
    assert config.validate_for_environment()
    assert config.validate_for_environment("development") == []


def test_an_environment_of_anothers_enum_is_taken_by_its_value(configured: Configured) -> None:
    class Theirs(StrEnum):
        PRODUCTION = "production"

    assert configured().validate_for_environment(Theirs.PRODUCTION)
    assert configured(env=Theirs.PRODUCTION).env is Environment.PRODUCTION


def test_an_unknown_environment_is_an_error_that_names_the_known_ones(
    configured: Configured,
) -> None:
    with pytest.raises(ConfigError, match="'prod'") as caught:
        configured().validate_for_environment("prod")

    assert "production" in (caught.value.hint or "")


def test_several_nodes_cannot_share_a_sqlite_file(configured: Configured) -> None:
    issues = configured().validate_for_environment("development", nodes=2)

    assert [(issue.field, issue.severity) for issue in issues] == [
        ("store_url", "error"),
        ("data_uri", "error"),
    ]
    assert "PostgreSQL" in issues[0].suggestion


def test_without_a_token_a_service_that_others_reach_is_an_error_anywhere(
    configured: Configured,
) -> None:
    issues = configured(service={"host": "0.0.0.0"}).validate_for_environment("development")

    assert [(issue.field, issue.severity) for issue in issues] == [("service.tokens", "error")]
    assert "tokens create" in issues[0].suggestion


def test_a_valid_token_lets_others_in(configured: Configured) -> None:
    config = configured(service={"host": "0.0.0.0"})
    make_token(config)

    assert config.validate_for_environment("development") == []
    assert of_tokens(config, "production") == []


@pytest.mark.parametrize(("host", "severity"), [("0.0.0.0", "error"), ("127.0.0.1", "warning")])
def test_tokens_that_are_all_revoked_let_nobody_in(
    configured: Configured, host: str, severity: str
) -> None:
    config = configured(service={"host": host})
    make_token(config)
    with Store.open(config.paths.store_url) as store:
        store.tokens.revoke("ci")

    ((found, message),) = of_tokens(config, "development")
    assert found == severity
    assert "every token is revoked or expired" in message


def test_looking_for_tokens_makes_nothing(configured: Configured, tmp_path: Path) -> None:
    configured().validate_for_environment("production")

    assert not (tmp_path / "state").exists()


def test_a_store_that_cannot_be_read_is_left_to_those_who_look_at_stores(
    configured: Configured, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "jobs.db").write_bytes(b"no database at all" * 1000)

    assert of_tokens(configured(service={"host": "0.0.0.0"}), "production") == []


@pytest.mark.usefixtures("on_nfs")
def test_sqlite_on_a_network_file_system_is_an_error_anywhere(configured: Configured) -> None:
    issues = configured().validate_for_environment("development")

    assert [(issue.field, issue.severity) for issue in issues] == [("state_dir", "error")]
    assert "nfs4 at /mnt" in issues[0].message


@pytest.mark.usefixtures("on_nfs")
def test_a_store_url_on_a_network_file_system_is_named(configured: Configured) -> None:
    url = "sqlite:////mnt/jobs.db"

    assert of_field(configured(store_url=url).validate_for_environment(), "store_url")


@pytest.mark.usefixtures("on_nfs")
def test_with_postgresql_a_shared_state_directory_is_a_warning(configured: Configured) -> None:
    issues = configured(store_url=SERVER).validate_for_environment()

    assert [(issue.field, issue.severity) for issue in issues] == [("state_dir", "warning")]
    assert "secret" not in str(issues)


def test_a_store_url_that_names_no_file_is_an_issue_not_a_crash(configured: Configured) -> None:
    (issue,) = configured(store_url="sqlite:///:memory:").validate_for_environment()

    assert (issue.field, issue.severity) == ("store_url", "error")


def test_a_model_that_is_not_at_hand_is_an_error_in_production(configured: Configured) -> None:
    config = configured(embedding={"model": "nobody/no-such-model"})

    (there,) = of_field(config.validate_for_environment("production"), "embedding.model")
    (here,) = of_field(config.validate_for_environment("development"), "embedding.model")
    assert (there.severity, here.severity) == ("error", "warning")
    assert "nobody/no-such-model" in there.message


def test_a_model_folder_that_is_not_there_is_an_error_anywhere(configured: Configured) -> None:
    (issue,) = configured(embedding={"model": "/no/such/folder"}).validate_for_environment()

    assert (issue.field, issue.severity) == ("embedding.model", "error")


def test_a_servers_model_need_not_be_on_this_machine(configured: Configured) -> None:
    server = {"url": "http://127.0.0.1:9/v1"}
    config = configured(embedding={"model": "text-embedding-3-small", "server": server})

    assert config.validate_for_environment("development") == []


def test_errors_come_first(configured: Configured) -> None:
    config = configured(embedding={"model": "/no/such/folder"})

    severities = [issue.severity for issue in config.validate_for_environment("production")]
    assert severities == sorted(severities)
    assert severities[0] == "error"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_is_what_other_machines_do_not_reach(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org"])
def test_other_addresses_are_reached(host: str) -> None:
    assert not is_loopback(host)
