"""`UniversalDocumentParser`: real files of every format, in the sandbox."""

from __future__ import annotations

import asyncio
import os
import pickle
from pathlib import Path

import pytest

from lexigram_ray.core.errors import (
    CorruptError,
    DocumentSkipped,
    EncryptedError,
    PathNotAllowedError,
)
from lexigram_ray.workers.document_ingestion import UniversalDocumentParser
from lexigram_ray.workers.document_ingestion.parser import DocumentNotFoundError
from tests import documents
from tests.documents import PAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_fault_10_every_claimed_format_is_parsed(tmp_path: Path) -> None:
    parser = UniversalDocumentParser(state=tmp_path / "state")
    (tmp_path / "files").mkdir()
    paths = list(documents.write_all(tmp_path / "files"))
    assert {".pdf", ".docx", ".html", ".htm", ".md", ".txt"} <= set(parser.supported_extensions)
    assert {path.suffix for path in paths} <= set(parser.supported_extensions)

    async def run() -> None:
        for path in paths:
            document = await parser.parse(path)
            assert all(sentence in document.content.replace("\n", " ") for sentence in PAGES), path
            facts = document.metadata
            assert (facts["file_name"], facts["file_type"]) == (path.name, path.suffix)
            assert facts["file_size"] == path.stat().st_size
            assert facts["source"] == facts["file_path"] == str(path)
        facts = await parser.extract_metadata(tmp_path / "files" / "handbook.pdf")
        assert (facts["title"], facts["pages"], facts["type"]) == (documents.TITLE, 3, "pdf")
        assert facts["file_modified"].endswith("+00:00")

    try:
        asyncio.run(run())
    finally:
        parser.close()


def test_fault_10_html_is_text_without_scripts_and_tags(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<html><head><title>T</title><script>steal()</script></head><body><h1>Hi</h1>"
        "<p>a &lt; b, and 5 > 3</p><style>p {}</style></body></html>"
    )
    parser = UniversalDocumentParser(state=tmp_path / "state")
    document = asyncio.run(parser.parse(page))
    parser.close()
    assert "a < b, and 5 > 3" in document.content
    assert not any(word in document.content for word in ("steal", "<p>", "p {}", "&lt;"))


def test_files_that_cannot_be_parsed_say_why_and_those_without_text_are_empty(
    tmp_path: Path,
) -> None:
    parser = UniversalDocumentParser(allowed_root=tmp_path / "in", state=tmp_path / "state")
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "out.txt")
    (folder / "locked.pdf").write_bytes(documents.encrypted_pdf())
    (folder / "torn.docx").write_bytes(documents.truncated_docx())
    (folder / "empty.txt").write_bytes(b"")
    (folder / "program").write_bytes(b"\x7fELF" + bytes(100))

    async def run() -> None:
        wrong: dict[str, type[Exception]] = {
            "../out.txt": PathNotAllowedError,
            "link.txt": PathNotAllowedError,
            "gone.txt": FileNotFoundError,
            ".": DocumentNotFoundError,
            "locked.pdf": EncryptedError,
            "torn.docx": CorruptError,
            "program": DocumentSkipped,
        }
        for name, error in wrong.items():
            with pytest.raises(error):
                await parser.parse(folder / name)
        assert (await parser.parse(folder / "empty.txt")).content == ""

    try:
        asyncio.run(run())
    finally:
        parser.close()


def test_the_loop_goes_on_while_a_file_is_parsed_and_an_idle_parsers_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexigram_ray.workers.document_ingestion.parser.IDLE_SECONDS", 0.1)
    (tmp_path / "a.pdf").write_bytes(documents.pdf())
    parser = UniversalDocumentParser(state=tmp_path / "state")

    def children() -> set[str]:
        task = Path(f"/proc/{os.getpid()}/task")
        found = (each / "children" for each in task.iterdir())
        return {pid for file in found for pid in file.read_text().split()}

    before = children()

    async def run() -> int:
        ticks = 0
        parsing = asyncio.ensure_future(parser.parse(tmp_path / "a.pdf"))
        while not parsing.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert PAGES[0] in (await parsing).content
        for _ in range(500):
            if not children() - before:
                break
            await asyncio.sleep(0.02)
        return ticks

    assert asyncio.run(run()) > 3
    assert children() <= before


def test_the_error_of_a_missing_file_survives_pickling() -> None:
    error = DocumentNotFoundError("Document not found: a.pdf", hint="look again")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, FileNotFoundError)
    assert (str(again), again.hint, again.code) == (str(error), "look again", "not_found")
