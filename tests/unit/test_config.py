"""The configuration says what is wrong with it, and where each value comes from."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_references_fields_have_the_references_defaults() -> None:
    config = load_config()
    assert config.enabled is True
    assert config.name == "ai_workers"
    assert config.env is None
    assert config.batch_embedding_concurrency == 3
    assert config.document_ingestion_concurrency == 3
    assert config.enable_maintenance is True
    assert config.dlq_check_interval == 60


def test_environment_goes_over_file_and_arguments_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "application.yaml").write_text(
        "ai_workers:\n  parser: {timeout_seconds: 1, memory_mb: 600}\n  dlq_check_interval: 5\n"
    )
    monkeypatch.setenv("LEX_AI_WORKERS__PARSER__TIMEOUT_SECONDS", "2")
    config = load_config(dlq_check_interval=7)
    assert config.parser.timeout_seconds == 2
    assert config.parser.memory_mb == 600
    assert config.dlq_check_interval == 7


def test_another_applications_sections_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "application.yaml").write_text("database:\n  url: x\n")
    assert load_config().dlq_check_interval == 60


def test_a_misspelt_variable_names_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__PARSER__TIMEOUT_SECOND", "2")
    with pytest.raises(ConfigError, match="mean LEX_AI_WORKERS__PARSER__TIMEOUT_SECONDS"):
        load_config()


def test_a_misspelt_key_in_the_file_names_the_nearest_known_one(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("ai_workers:\n  parser:\n    memory_mbs: 300\n")
    with pytest.raises(ConfigError, match=r"parser\.memory_mbs; did you mean memory_mb\?"):
        load_config(file)


def test_a_wrong_value_names_setting_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__JOBS__LEASE_SECONDS", "soon")
    with pytest.raises(ConfigError, match=r"jobs\.lease_seconds.*'soon'"):
        load_config()


@pytest.mark.parametrize("text", ["ai_workers: [", "ai_workers: 3", "\xff"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_config(file)


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_a_configuration_from_a_file_pickles(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("ai_workers:\n  parser: {ocr: true}\n")
    again = pickle.loads(pickle.dumps(load_config(file)))
    assert type(again) is WorkersConfig
    assert again.parser.ocr is True


def test_relative_places_become_absolute(tmp_path: Path) -> None:
    config = load_config(state_dir=Path("state"))
    assert config.state_dir == tmp_path / "state"
    assert config.paths.store_url == f"sqlite:///{tmp_path}/state/jobs.db"


@pytest.mark.parametrize("uri", ["s3://bucket/x", "hdfs://x", ""])
def test_a_data_uri_that_is_not_local_is_refused_instead_of_becoming_a_folder(uri: str) -> None:
    with pytest.raises(ConfigError, match="data_uri"):
        load_config(data_uri=uri)


def test_a_data_uri_is_a_path_or_a_file_uri(tmp_path: Path) -> None:
    assert load_config(data_uri=f"file://{tmp_path}/data").paths.cache == tmp_path / "data/cache"
    assert load_config(data_uri="data").paths.lancedb == tmp_path / "data/lancedb"


def test_an_empty_state_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__STATE_DIR", "")
    with pytest.raises(ConfigError, match="state_dir"):
        load_config()


def test_a_sections_variable_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__PARSER", "abc")
    with pytest.raises(ConfigError, match="parser"):
        load_config()


def test_allowed_roots_are_paths_as_in_path_or_a_list_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "application.yaml").write_text("ai_workers:\n  allowed_roots: [/a, /b]\n")
    assert load_config().allowed_roots == (Path("/a"), Path("/b"))
    monkeypatch.setenv("LEX_AI_WORKERS__ALLOWED_ROOTS", "/c:/d")
    assert load_config().allowed_roots == (Path("/c"), Path("/d"))


@pytest.mark.parametrize("roots", ["/data:", "", ":"])
def test_an_empty_allowed_root_is_refused(monkeypatch: pytest.MonkeyPatch, roots: str) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__ALLOWED_ROOTS", roots)
    with pytest.raises(ConfigError, match="allowed_roots"):
        load_config()


def test_a_home_that_does_not_exist_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="scratch_dir"):
        load_config(scratch_dir="~nobody-of-that-name/x")


def test_a_heartbeat_as_long_as_the_lease_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__JOBS__LEASE_SECONDS", "5")
    with pytest.raises(ConfigError, match="heartbeat_seconds must be shorter"):
        load_config()


def test_the_default_state_directory_is_absolute_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert load_config().state_dir == tmp_path / "relative/lexigram-ray"


@pytest.mark.parametrize(
    "host", ["example.org:port", "*.example.org", "https://example.org", "", "example.org/papers"]
)
def test_a_host_that_no_url_could_have_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        load_config(service={"urls": {"enabled": True, "allowed_hosts": [host]}})


@pytest.mark.parametrize(
    "host",
    ["example.org", ".example.org:8443", "localhost", "10.0.0.1", "[::1]:8443", "2001:db8::1"],
)
def test_hosts_are_names_and_addresses_with_and_without_a_port(host: str) -> None:
    config = load_config(service={"urls": {"enabled": True, "allowed_hosts": [host]}})
    assert config.service.urls.allowed_hosts == (host,)
