"""The notebooks as a person runs them, top to bottom, in kernels of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.command_line import REPOSITORY, clean_environment

NOTEBOOKS = REPOSITORY / "notebooks"
NAMES = ("01_ingest_and_search.ipynb", "02_batch_embedding.ipynb")
CELL_SECONDS = 120
MOST_ROWS = 21
"""Of a table, with its head."""
MOST_CHARACTERS = 40_000
"""Of one output: what a saved notebook is made of."""


@pytest.fixture
def place(tmp_path: Path, converted_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, whose models are ready and whose kernels see nothing of ours."""
    models = tmp_path / ".demo" / "state" / "models"
    models.parent.mkdir(parents=True)
    models.symlink_to(converted_models)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return tmp_path


def run(notebook: nbformat.NotebookNode, place: Path) -> nbformat.NotebookNode:
    """Run a notebook in a kernel of its own; the first cell that fails fails the test."""
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(place)}},
    )
    return client.execute(env=clean_environment(PYTHONPATH=str(REPOSITORY)))


def run_cells(place: Path, *sources: str) -> list[Mapping[str, Any]]:
    """Run cells in a fresh kernel; return the value of each one's last expression."""
    cells = [new_code_cell(source) for source in sources]
    shown = outputs(run(new_notebook(cells=cells), place))
    return [output for output in shown if output["output_type"] == "execute_result"]


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def outputs(notebook: nbformat.NotebookNode) -> Iterator[Mapping[str, Any]]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def shown(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    return [output["data"][kind] for output in outputs(notebook) if kind in output.get("data", {})]


def check_structure(notebook: nbformat.NotebookNode) -> None:
    assert [output for output in outputs(notebook) if output["output_type"] == "error"] == []
    assert [output["text"] for output in outputs(notebook) if output.get("name") == "stderr"] == []
    for html in shown(notebook, "text/html"):
        assert len(html) < MOST_CHARACTERS
        assert len(re.findall("<tr", html)) <= MOST_ROWS
        assert "<script" not in html
    # What a text-only reader sees of each.
    assert all(len(text) < MOST_CHARACTERS for text in shown(notebook, "text/plain"))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)

    assert {path.name for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)
    assert list(outputs(notebook)) == []
    assert {cell.execution_count for cell in notebook.cells if cell.cell_type == "code"} == {None}
    assert notebook.cells[0].cell_type == "markdown"


def test_ingest_and_search_and_attach_in_another_kernel(place: Path) -> None:
    notebook = run(read(NAMES[0]), place)
    cards = "\n".join(shown(notebook, "text/html"))

    check_structure(notebook)
    assert "6 documents found: 6 ingested" in cards
    assert "6 documents found: 6 unchanged" in cards
    assert "5 hits in readmes, hybrid" in cards
    assert "1 failed" in cards
    assert "truncated.pdf" in cards

    # The kernel is gone; the job is not.
    card, told = run_cells(
        place,
        "import lexigram_ray\njob = lexigram_ray.attach(state='.demo/state')\njob",
        "job.wait(timeout=5)\n(job.result.found, job.result.failed, job.progress.percent)",
    )
    assert "7 documents found: 6 unchanged, 1 failed" in card["data"]["text/html"]
    assert told["data"]["text/plain"] == "(7, 1, 100.0)"


def test_batch_embedding_and_a_job_that_outlives_its_kernel(place: Path) -> None:
    notebook = run(read(NAMES[1]), place)
    cards = "\n".join(shown(notebook, "text/html"))
    plain = "\n".join(shown(notebook, "text/plain"))

    check_structure(notebook)
    assert "<svg" in cards
    assert "96 texts read: 96 embedded" in cards
    assert "96/96 texts" in cards
    assert "'100 % from the cache'" in plain
    assert "5 hits in python-help, hybrid" in cards
    assert "(False, 'unhealthy')" in plain

    # One kernel submits and ends; nobody has worked on the job.
    [submitted] = run_cells(
        place,
        "from lexigram_ray.workers import BatchEmbeddingWorker\n"
        "worker = BatchEmbeddingWorker(state='.demo/state')\n"
        "chunk = type('Chunk', (), {'text': 'The crane lifts forty tonnes.', 'metadata': {}})\n"
        "await worker.embed_batch([chunk], 'port')",
    )
    job_id = submitted["data"]["text/plain"].strip("'")
    # Another one finds it, and starts a worker.
    waiting, done, row = run_cells(
        place,
        "import lexigram_ray\n"
        f"job = lexigram_ray.attach({job_id[:13]!r}, state='.demo/state')\njob",
        "from lexigram_ray.workers import BatchEmbeddingWorker\n"
        "worker = BatchEmbeddingWorker(state='.demo/state')\n"
        "await worker.start()\nawait job\nawait worker.stop()\njob.status.value",
        "job.result.search('crane').hits[0].text",
    )
    assert "pending" in waiting["data"]["text/html"]
    assert done["data"]["text/plain"] == "'completed'"
    assert "forty tonnes" in row["data"]["text/plain"]


def test_a_job_whose_process_is_gone_is_gone_on_with_by_run(place: Path) -> None:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.report import IngestRequest
    from lexigram_ray.jobs.submitting import submit_ingest
    from lexigram_ray.notebook.job_handle import attach

    state = place / ".demo" / "state"
    (place / "crane.md").write_text("# Crane\n\nIt lifts forty tonnes.\n")
    config = WorkersConfig(state_dir=state)
    job, _ = submit_ingest(config, IngestRequest(paths=(place / "crane.md",), collection="port"))

    handle = attach(job.id, state=state)
    with pytest.raises(TimeoutError, match="is pending after"):
        handle.wait(timeout=0.6)
    before = (handle.status.value, handle.result, "pending" in handle._repr_html_())
    handle.run()

    assert before == ("pending", None, True)
    assert (handle.status.value, handle.progress.percent, handle.is_over) == (
        "completed",
        100.0,
        True,
    )
    assert handle.result is not None
    assert handle.result.rows == 1
    assert asyncio.run(_awaited(handle)) is handle


async def _awaited(handle: Any) -> Any:
    return await handle
