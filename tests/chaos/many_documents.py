"""Folders of documents in several formats, and tables of texts, made in moments."""

from __future__ import annotations

import html
import random
from collections.abc import Sequence
from pathlib import Path

import docx
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = (
    "anchor", "barge", "beacon", "berth", "buoy", "cable", "captain", "cargo", "channel", "chart",
    "coal", "crane", "crew", "dock", "ferry", "flag", "fog", "grain", "harbour", "hull", "lantern",
    "ledger", "light", "lock", "mast", "pilot", "port", "rope", "sail", "salt", "signal", "steel",
    "storm", "tide", "timber", "tow", "vessel", "watch", "wave", "wind", "yard",
)  # fmt: skip
WORDS_IN_A_PARAGRAPH = 80
WORDS_IN_A_TEXT = 60
PARAGRAPHS = (4, 18)
FORMATS = ("txt", "md", "html", "txt", "md", "html", "txt", "md", "html", "docx")
"""One in ten is an office file: those take the parser the longest."""

COLUMNS = ("--text-column", "text", "--id-column", "id")
"""Options of `embed` for a table of `write_texts`."""


def write_documents(folder: Path, count: int, *, seed: int) -> None:
    """Fill a folder; no two texts are alike, so that no vector comes from the cache."""
    chance = random.Random(seed)
    for number in range(count):
        suffix = FORMATS[number % len(FORMATS)]
        title = f"Log {number}"
        bodies = (
            " ".join(chance.choices(WORDS, k=WORDS_IN_A_PARAGRAPH))
            for _ in range(chance.randint(*PARAGRAPHS))
        )
        paragraphs = [f"Entry {part}: {body}." for part, body in enumerate(bodies)]
        _write(folder / f"log{number:04}.{suffix}", title, paragraphs)


def texts_of(count: int, chance: random.Random, *, words: int = WORDS_IN_A_TEXT) -> list[str]:
    """Return texts; no two are alike."""
    return [" ".join(chance.choices(WORDS, k=words)) for _ in range(count)]


def write_texts(path: Path, texts: Sequence[str], *, prefix: str = "t") -> None:
    """Write a table of texts, whose ids are the prefix and a number."""
    ids = [f"{prefix}{number}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), path)


def _write(path: Path, title: str, paragraphs: list[str]) -> None:
    if path.suffix == ".docx":
        document = docx.Document()
        document.add_heading(title, level=1)
        for paragraph in paragraphs:
            document.add_paragraph(paragraph)
        document.save(str(path))
    elif path.suffix == ".html":
        body = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)
        path.write_text(f"<html><body><h1>{title}</h1>{body}</body></html>")
    else:
        heading = f"# {title}" if path.suffix == ".md" else title
        path.write_text("\n\n".join([heading, *paragraphs]) + "\n")
