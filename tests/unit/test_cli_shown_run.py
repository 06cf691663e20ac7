"""A long run in view of the user: what Ctrl-C says, what is kept, and what a stop that early is."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import pytest

from lexigram_ray.cli.displays import Silent
from lexigram_ray.cli.embed_progress import EmbedMoment
from lexigram_ray.cli.error_edge import explain
from lexigram_ray.cli.ingest_progress import IngestMoment
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.moment import Moment
from lexigram_ray.cli.shown_run import Show, run_shown
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport
from lexigram_ray.jobs.embed_run import EmbedInterrupted
from lexigram_ray.jobs.report import Progress
from tests.embed_reports import make_report

INVOCATION = Invocation(argv=("embed", "a b.csv", "-c", "faq"))

# A signal to the process of the tests ends it where a library has put handlers of its own.
SIGNALS_ITSELF = pytest.mark.soak


@pytest.mark.parametrize(
    ("moment", "stopping"),
    [
        (
            IngestMoment(
                Progress(phase="ingesting", job_id="0192", documents_done=3, documents_total=4000)
            ),
            "3 of 4,000 documents are done and kept, job 0192; once more ends it at once",
        ),
        (
            EmbedMoment(
                EmbedProgress(phase="embedding", job_id="0192", texts_done=7, texts_total=9)
            ),
            "7 of 9 texts are done and kept, job 0192; once more ends it at once",
        ),
        (
            EmbedMoment(EmbedProgress(phase="reading", texts_read=5)),
            "nothing was begun; once more ends it at once",
        ),
        (None, "nothing was begun; once more ends it at once"),
    ],
)
@SIGNALS_ITSELF
def test_a_signal_stops_the_work_and_says_what_is_kept_and_how_to_go_on(
    moment: Moment | None, stopping: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(show: Show, stop: threading.Event) -> EmbedReport:
        if moment is not None:
            show(moment)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(4)
        return replace(make_report(), status=JobStatus.PENDING)

    report = run_shown(work, invocation=INVOCATION, display=Silent())

    assert report.status is JobStatus.PENDING
    assert (
        capsys.readouterr().err
        == f"stopping: {stopping}\ngo on with: {INVOCATION.command_line()}\n"
    )


@SIGNALS_ITSELF
def test_a_stop_beside_up_says_that_the_job_goes_on_and_how_to_end_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(show: Show, stop: threading.Event) -> EmbedReport:
        show(EmbedMoment(EmbedProgress(phase="embedding", job_id="0192")))
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(4)
        return replace(make_report(), status=JobStatus.PENDING)

    run_shown(work, invocation=INVOCATION, display=Silent(), goes_on=lambda: True)

    said = capsys.readouterr().err
    assert "note: `lexigram-ray up` goes on with the job\nend it with: " in said
    assert f"{INVOCATION.suggest('jobs', 'cancel', '0192')}\n" in said


def test_a_stop_before_there_was_a_job_says_so_and_names_the_same_command() -> None:
    def work(_show: Show, _stop: threading.Event) -> EmbedReport:
        raise EmbedInterrupted("", None)

    with pytest.raises(EmbedInterrupted) as stopped:
        run_shown(work, invocation=INVOCATION, display=Silent())
    explained = explain(stopped.value, INVOCATION)

    assert explained.message == "interrupted before anything was submitted"
    assert (explained.code, explained.exit_code) == ("interrupted", 130)
    assert explained.hint == INVOCATION.command_line()
