"""Folders of documents in several formats, each of several chunks, made in moments."""

from __future__ import annotations

import html
import random
from pathlib import Path

import docx

WORDS = (
    "anchor", "barge", "beacon", "berth", "buoy", "cable", "captain", "cargo", "channel", "chart",
    "coal", "crane", "crew", "dock", "ferry", "flag", "fog", "grain", "harbour", "hull", "lantern",
    "ledger", "light", "lock", "mast", "pilot", "port", "rope", "sail", "salt", "signal", "steel",
    "storm", "tide", "timber", "tow", "vessel", "watch", "wave", "wind", "yard",
)  # fmt: skip
WORDS_IN_A_PARAGRAPH = 80
PARAGRAPHS = (4, 18)
FORMATS = ("txt", "md", "html", "txt", "md", "html", "txt", "md", "html", "docx")
"""One in ten is an office file: those take the parser the longest."""


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
