"""What a job records: enough for any process to do it, and no secret."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import ConfigError, UsageError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import ChunkerSpec, JobStatus
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.jobs.recipes import GivenModel, Recipe
from lexigram_ray.jobs.recorded_config import recorded_config, restored_config
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import IngestRequest
from lexigram_ray.jobs.requests import (
    EMBED,
    INGEST,
    REQUEST,
    config_of,
    embed_request_of,
    embed_spec,
    ingest_request_of,
    ingest_spec,
    require_same,
    spec_key_of,
)
from lexigram_ray.jobs.staging import stage
from tests.fakes import HashingProvider

SERVER = "https://vectors.example/v1"
PROVIDER = HashingProvider()
RECIPE = Recipe(
    GivenModel(spec=PROVIDER.spec, provider=PROVIDER),
    ChunkerSpec(strategy="tokens", size=254, overlap=0),
)


def config(tmp_path: Path, **sections: object) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state", **sections)


def with_server(tmp_path: Path, **server: object) -> WorkersConfig:
    return config(tmp_path, embedding={"model": "small", "server": server})


def job_of(kind: str, spec: dict[str, object]) -> Job:
    return Job(
        id="0192",
        kind=kind,
        status=JobStatus.PENDING,
        priority=0,
        collection="docs",
        spec=json.loads(json.dumps(spec)),
        spec_key=spec_key_of(spec),
        fence=0,
        attempt=0,
        retry_of=None,
        created_at=datetime.now(UTC),
        started_at=None,
        finished_at=None,
        error=None,
        error_code=None,
    )


def embed_job(tmp_path: Path, data: object, provider: HashingProvider | None = None) -> Job:
    request = EmbedRequest(table=table_of(data), collection="docs", provider=provider)
    staged = stage(
        request.table, tmp_path / "staged", on_progress=lambda _: None, keep_on=lambda: True
    )
    return job_of(EMBED, embed_spec(config(tmp_path), request, RECIPE, staged))


def test_another_process_has_the_settings_that_decide_a_run_and_keeps_its_own_state(
    tmp_path: Path,
) -> None:
    submitter = config(
        tmp_path,
        embedding={"precision": "fp32", "dimensions": 64, "long_texts": "fail"},
        chunking={"strategy": "characters", "size": 300},
        parser={"ocr": True, "timeout_seconds": 7},
        runtime={"workers": 3},
    )
    runner = load_config(
        state_dir=tmp_path / "elsewhere",
        jobs={"lease_seconds": 30},
        runtime={"workers": 9, "inline_seconds": 0},
    )

    restored = restored_config(runner, json.loads(json.dumps(recorded_config(submitter))))

    for section in ("embedding", "chunking", "parser"):
        assert getattr(restored, section) == getattr(submitter, section)
    assert (restored.runtime.workers, restored.runtime.inline_seconds) == (3, 0)
    assert restored.state_dir == tmp_path / "elsewhere"
    assert restored.jobs.lease_seconds == 30


def test_no_secret_is_recorded(tmp_path: Path) -> None:
    url = f"{SERVER}?code=query-secret"
    recorded = json.dumps(recorded_config(with_server(tmp_path, url=url, api_key="key-secret")))

    assert "secret" not in recorded.replace("needs_secret", "")
    assert SERVER in recorded


def test_a_server_is_given_the_runners_own_key_for_it(tmp_path: Path) -> None:
    recorded = recorded_config(with_server(tmp_path, url=SERVER, api_key="old", batch_texts=7))
    runner = with_server(tmp_path, url=SERVER, api_key="rotated", batch_texts=99)

    server = restored_config(runner, recorded).embedding.server

    assert server.api_key is not None
    assert (server.api_key.get_secret_value(), server.batch_texts) == ("rotated", 7)


def test_a_runner_without_a_key_takes_the_recorded_file_or_says_that_it_needs_one(
    tmp_path: Path,
) -> None:
    runner = with_server(tmp_path, url=SERVER)
    with_file = recorded_config(with_server(tmp_path, url=SERVER, api_key_file=tmp_path / "key"))
    with_key = recorded_config(with_server(tmp_path, url=SERVER, api_key="key"))
    in_url = with_server(tmp_path, url=f"{SERVER}?code=secret")

    assert restored_config(runner, with_file).embedding.server.api_key_file == tmp_path / "key"
    with pytest.raises(ConfigError, match="needs the key"):
        restored_config(runner, with_key)
    assert restored_config(in_url, recorded_config(in_url)).embedding.server.url == (
        f"{SERVER}?code=secret"
    )


@pytest.mark.parametrize("own", [{}, {"url": "https://other.example/v1", "api_key": "other"}])
def test_a_key_is_never_sent_to_another_server(tmp_path: Path, own: dict[str, object]) -> None:
    keyless = recorded_config(with_server(tmp_path, url=SERVER))
    with_key = recorded_config(with_server(tmp_path, url=SERVER, api_key="key"))
    runner = with_server(tmp_path, **own)

    server = restored_config(runner, keyless).embedding.server
    assert (server.url, server.api_key) == (SERVER, None)
    with pytest.raises(ConfigError, match=r"needs the key of the embedding server https://vectors"):
        restored_config(runner, with_key)


def test_paths_of_settings_are_the_same_in_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("key").touch()
    local = recorded_config(config(tmp_path, embedding={"model": "model"}))
    server = recorded_config(with_server(tmp_path, url=SERVER, api_key_file="key"))

    monkeypatch.chdir("/")

    assert restored_config(config(tmp_path), local).embedding.model == str(tmp_path / "model")
    read = restored_config(config(tmp_path), server).embedding.server
    assert read.api_key_file == tmp_path / "key"


def test_a_setting_of_another_version_is_named(tmp_path: Path) -> None:
    recorded = recorded_config(config(tmp_path)) | {"chunking": {"size": 9, "shape": "round"}}

    with pytest.raises(ConfigError, match=r"chunking\.shape is not understood"):
        restored_config(config(tmp_path), recorded)


def test_paths_are_recorded_absolute_and_come_back_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = Path(os.fsdecode(b"not utf-8 \xff.txt"))
    monkeypatch.chdir(tmp_path)
    request = IngestRequest(
        paths=(Path("papers"), strange), collection="docs", prune=True, retry_failed=True
    )
    job = job_of(INGEST, ingest_spec(config(tmp_path), request, RECIPE))
    monkeypatch.chdir("/")

    again = ingest_request_of(job)

    assert again == replace(request, paths=(tmp_path / "papers", tmp_path / strange))


def test_what_is_recorded_for_the_run_makes_no_other_job(tmp_path: Path) -> None:
    request = IngestRequest(paths=(tmp_path,), collection="docs")
    plain = ingest_spec(config(tmp_path), request, RECIPE)
    pruning = ingest_spec(
        config(tmp_path, runtime={"workers": 2}), replace(request, prune=True), RECIPE
    )
    identity = {name: value for name, value in plain.items() if name != REQUEST}

    assert spec_key_of(plain) == spec_key_of(pruning)
    # As it was before requests were recorded: unfinished jobs of that time are still found.
    assert spec_key_of(plain) == hash_text(json.dumps(identity, sort_keys=True))
    assert spec_key_of(plain) != spec_key_of(plain | {"collection": "other"})


def test_a_table_is_recorded_where_it_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faq.csv"
    file.write_text("key,text\n1,one\n")
    named = embed_job(tmp_path, file)
    given = embed_job(tmp_path, ["one", "two"])
    request = embed_request_of(named, config(tmp_path))

    assert named.spec[REQUEST]["table"]["path"] == str(file)  # type: ignore[index]
    assert given.spec[REQUEST]["table"] is None  # type: ignore[index]
    assert request is not None
    assert sum(rows.batch.num_rows for rows in request.table.rows()) == 1


def test_texts_that_are_kept_nowhere_any_more_are_said_to_be_gone(tmp_path: Path) -> None:
    request = embed_request_of(embed_job(tmp_path, ["one"]), config(tmp_path))

    assert request is not None
    with pytest.raises(UsageError, match="the rows of job 0192 are gone"):
        request.table.rows()


def test_a_table_outside_the_runners_roots_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "faq.csv"
    file.write_text("text\none\n")
    job = embed_job(tmp_path, file)
    request = embed_request_of(job, config(tmp_path, allowed_roots=[tmp_path / "allowed"]))

    assert request is not None
    with pytest.raises(UsageError, match=r"faq\.csv"):
        request.table.rows()


def test_a_job_of_a_providers_object_is_only_for_the_program_that_has_it(tmp_path: Path) -> None:
    job = embed_job(tmp_path, ["one"], HashingProvider())

    with pytest.raises(UsageError, match=r"job 0192 .*\(fake/hashing-"):
        embed_request_of(job, config(tmp_path))


def test_a_job_of_an_older_version_says_how_it_is_gone_on_with(tmp_path: Path) -> None:
    job = job_of(INGEST, {"paths": ["/papers"], "collection": "docs"})

    assert ingest_request_of(job) is None
    with pytest.raises(UsageError, match="does not say how") as refused:
        config_of(config(tmp_path), job)
    assert "lexigram-ray ingest" in str(refused.value.hint)


def test_another_model_is_refused_and_both_are_named() -> None:
    job = job_of(INGEST, {"model": "small@1", "chunker": "tokens:254:0"})

    require_same(job, {"model": "small@1", "chunker": "tokens:254:0"})
    with pytest.raises(UsageError, match=r"small@1, chunker tokens:254:0.*small@2, chunker"):
        require_same(job, {"model": "small@2", "chunker": "tokens:254:0"})
