"""Log records say which job they belong to, in threads too, and tell no secret."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.core import job_logging
from lexigram_ray.core.config import LoggingSettings, load_config
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.job_logging import (
    JobFilter,
    JobTag,
    all_is_of_job,
    current_job,
    formatter,
    in_this_context,
    logged_as,
)
from lexigram_ray.jobs.redaction import redacted
from lexigram_ray.jobs.report import Progress
from lexigram_ray.runtime.actor_log import log_to_worker_file
from tests.integration.local_ingest import ingest_here

SECRET = "sk-0123456789abcdef"


class Kept(logging.Handler):
    """Keeps records with the job that they say, and the thread that said them."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(JobFilter())
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logger = logging.getLogger("lexigram_ray")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def _logger(kind: str) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(JobFilter())
    handler.setFormatter(formatter("json" if kind == "json" else "text", redacted))
    logger = logging.Logger("lexigram_ray.tests")
    logger.addHandler(handler)
    return logger, stream


def test_a_line_of_json_holds_time_level_logger_message_and_job() -> None:
    logger, stream = _logger("json")
    with logged_as("0193", "papers"):
        logger.warning("commit to %s refused\nagain", "papers")
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    when = datetime.fromisoformat(said.pop("time"))
    assert when.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert said == {
        "level": "warning",
        "logger": "lexigram_ray.tests",
        "message": "commit to papers refused\nagain",
        "job_id": "0193",
        "collection": "papers",
        "exception": None,
    }


def test_outside_of_a_job_a_line_says_so() -> None:
    logger, stream = _logger("json")
    logger.error("no job")
    said = json.loads(stream.getvalue())
    assert (said["job_id"], said["collection"]) == (None, None)
    logger, stream = _logger("text")
    logger.error("no job")
    assert "[job" not in stream.getvalue()


def test_a_line_of_text_names_the_job_before_the_message() -> None:
    logger, stream = _logger("text")
    with logged_as("0193", "papers"):
        logger.warning("healing %d rows", 3)
    assert stream.getvalue().endswith("+00:00 WARNING [job 0193 papers] healing 3 rows\n")


@pytest.mark.parametrize("kind", ["text", "json"])
def test_secrets_are_told_neither_in_messages_nor_in_tracebacks(kind: str) -> None:
    logger, stream = _logger(kind)
    try:
        int(f"api_key={SECRET}")
    except ValueError:
        logger.exception("asking with %s failed", f"Bearer {SECRET}")
    said = stream.getvalue()
    assert SECRET not in said
    assert "ValueError" in said
    assert "Traceback" in said
    if kind == "json":
        assert "ValueError" in json.loads(said)["exception"]


def test_secrets_are_told_in_no_fact_of_a_line_either() -> None:
    logger, stream = _logger("json")

    facts = {"path": f"/v1/jobs/{SECRET}", "status": 404}
    logger.warning("asked", extra={"facts": facts})

    said = json.loads(stream.getvalue())
    assert (said["path"], said["status"]) == ("/v1/jobs/***", 404)


def test_a_thread_has_the_job_of_whoever_wraps_its_function() -> None:
    seen: dict[str, JobTag] = {}

    def look(name: str) -> Callable[[], None]:
        return lambda: seen.__setitem__(name, current_job())

    with logged_as("0193", "papers"):
        threads = [
            threading.Thread(target=look("bare")),
            threading.Thread(target=in_this_context(look("wrapped"))),
        ]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen["bare"] == JobTag()
    assert seen["wrapped"] == JobTag(job_id="0193", collection="papers")


def test_a_process_of_one_job_says_so_in_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logging, "_of_process", [JobTag()])
    all_is_of_job("0193", "papers")
    seen: list[JobTag] = []
    thread = threading.Thread(target=lambda: seen.append(current_job()))
    thread.start()
    thread.join()
    with logged_as("0194", "other"):
        seen.append(current_job())
    assert [tag.job_id for tag in seen] == ["0193", "0194"]


def test_every_record_of_a_run_has_its_job_in_the_run_s_threads_too(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(
        state_dir=tmp_path / "state",
        jobs={"heartbeat_seconds": 0.02},
        embedding={"cache": False},
    )
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tides.md").write_text("# Tides\n\nThe moon pulls the water.\n")
    logger = logging.getLogger("lexigram_ray.tests")
    from lexigram_ray.jobs import executor, heartbeat

    embed, beat = executor._embed_together, heartbeat.Heartbeat._run

    def embed_and_say(*given: object) -> object:
        logger.info("embedding")
        return embed(*given)  # pyright: ignore[reportArgumentType]

    def beat_and_say(beats: heartbeat.Heartbeat) -> None:
        logger.info("beating")
        beat(beats)

    def tell(progress: Progress) -> None:
        if progress.job_id:
            logger.info("in the run's own thread")

    monkeypatch.setattr(executor, "_embed_together", embed_and_say)
    monkeypatch.setattr(heartbeat.Heartbeat, "_run", beat_and_say)

    report = ingest_here(config, docs, tell)

    said = {
        record.getMessage(): (record.threadName, record.job_id, record.collection)  # pyright: ignore[reportAttributeAccessIssue]
        for record in kept.records
        if record.name == logger.name
    }
    assert said["embedding"] == ("ingest", report.job_id, "docs")
    assert said["beating"] == ("heartbeat", report.job_id, "docs")
    assert said["in the run's own thread"] == ("MainThread", report.job_id, "docs")
    assert current_job() == JobTag()


def test_a_worker_logs_to_stderr_alone_in_the_form_of_its_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("lexigram_ray")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", logger.propagate)
    before = logger.level
    try:
        log_to_worker_file(LoggingSettings(format="json", level="warning"))
        logging.getLogger("lexigram_ray.embedding").info("not said")
        logging.getLogger("lexigram_ray.embedding").warning("said")
        log_to_worker_file(LoggingSettings())
        logger.info("in words")
    finally:
        logger.setLevel(before)
    out, err = capsys.readouterr()
    assert out == ""
    json_line, text_line = err.splitlines()
    assert json.loads(json_line)["message"] == "said"
    assert text_line.endswith(" INFO in words")


def test_a_format_that_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logging\.format"):
        load_config(state_dir=tmp_path, logging={"format": "xml"})
