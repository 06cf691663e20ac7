"""`lexigram_ray.embed` and `.search` from Python, over real tables."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import lexigram_ray
from lexigram_ray.core.errors import UsageError
from tests.command_line import HEAR_SIGNALS, REPOSITORY, clean_environment

TEXTS = ["Fog signals are given twice a minute.", "The crane lifts forty tonnes.", "Berths cost."]


class Letters:
    """A provider of other code: what a text is made of, as plain lists."""

    dimension = 26

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[1.0 + text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def test_texts_are_embedded_and_found_with_the_model(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = lexigram_ray.embed(TEXTS, collection="port", state=state)
    again = lexigram_ray.embed(TEXTS, collection="port", state=state)
    found = lexigram_ray.search("how heavy a load", collection="port", state=state, limit=1)

    assert (result.read, result.embedded, result.failed, result.rows) == (3, 3, 0, 3)
    assert (again.embedded, again.cached, again.rows) == (0, 3, 3)
    assert [hit.text for hit in found] == [TEXTS[1]]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        [{"id": number, "text": text, "n": 1} for number, text in enumerate(TEXTS)],
        pa.table({"id": [0, 1, 2], "text": TEXTS, "n": [1, 1, 1]}),
        pd.DataFrame({"id": [0, 1, 2], "text": TEXTS, "n": [1, 1, 1]}),
    ],
    ids=["dictionaries", "arrow", "pandas"],
)
def test_whatever_holds_the_texts_the_rows_are_the_same(state: Path, data: object) -> None:
    result = lexigram_ray.embed(data, collection="port", provider=Letters(), state=state)
    found = result.search("crane", mode="text")

    assert (result.embedded, result.rows) == (3, 3)
    assert [(hit.id, hit.metadata) for hit in found] == [("1", {"n": 1})]
    assert found.to_pandas()["text"].tolist() == [TEXTS[1]]
    assert len(result.search("berth", limit=2)) == 2


def test_bad_rows_are_problems_and_no_exception(state: Path) -> None:
    rows = [{"id": "a", "text": TEXTS[0]}, {"id": "a", "text": TEXTS[1]}, {"id": "b", "text": ""}]
    result = lexigram_ray.embed(rows, collection="port", provider=Letters(), state=state)

    assert (result.read, result.embedded, result.failed) == (3, 1, 2)
    assert {problem.code for problem in result.problems} == {"repeated_id", "empty_text"}
    assert "2 failed" in result._repr_html_()


def test_wrong_use_is_an_error_that_names_the_way_out(state: Path) -> None:
    with pytest.raises(UsageError, match="precision='fp32'"):
        lexigram_ray.embed(
            TEXTS, collection="port", provider=Letters(), precision="fp32", state=state
        )
    with pytest.raises(UsageError, match="body") as raised:
        lexigram_ray.embed([{"text": "x"}], collection="port", text_column="body", state=state)

    assert raised.value.__notes__[0].startswith("try: ")
    assert not state.exists()


def test_progress_is_shown_when_asked_for(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lexigram_ray.embed(TEXTS, collection="port", provider=Letters(), state=state, progress=True)
    shown = capsys.readouterr()

    assert shown.out == ""
    assert "reading texts" in shown.err


def test_an_interrupt_keeps_what_is_done_and_the_same_call_goes_on(state: Path) -> None:
    state.parent.joinpath("call.py").write_text(
        textwrap.dedent(f"""
            import sys, time
            import lexigram_ray
            class Slow:
                dimension = 8
                def embed(self, texts):
                    print("embedding\\n", end="", flush=True)
                    time.sleep(0.2)
                    return [[1.0 + len(text)] * 8 for text in texts]
            texts = [f"Rule {{n}} of the quay." for n in range(20_000)]
            result = lexigram_ray.embed(
                texts, collection="port", provider=Slow(), state={str(state)!r}
            )
            print("done", result.read, result.rows, flush=True)
        """)
    )
    command = [*HEAR_SIGNALS, sys.executable, "call.py"]
    environment = clean_environment(PYTHONPATH=str(REPOSITORY))
    process = subprocess.Popen(
        command,
        cwd=state.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline() == "embedding\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    last = errors.rstrip().rsplit("\n", 1)[-1]

    assert process.returncode != 0
    assert "stopping: what is done is kept" in errors
    assert last.startswith("KeyboardInterrupt: interrupted: ")
    assert "of 20,000 texts are done and kept" in last
    assert "the same call goes on from there" in last

    resumed = subprocess.run(
        command, cwd=state.parent, env=environment, capture_output=True, text=True, check=True
    )
    assert resumed.stdout.splitlines()[-1] == "done 20000 20000"
