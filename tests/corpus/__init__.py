"""Debian's documentation packages as a corpus, and twenty questions that it answers.

`make test` ingests parts of debian-policy and some thirty-five pages of python3-doc, `make soak`
more pages and debian-policy whole, `make bench` python3-doc, debian-policy and git-doc whole. Paths
in `questions.json` are relative to `/usr/share/doc`, so that they name no Python version.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

DOC = Path("/usr/share/doc")
PACKAGES = ("python3-doc", "debian-policy", "git-doc")
PYTHON = DOC / "python3-doc" / "html"
POLICY = DOC / "debian-policy"
QUESTIONS = Path(__file__).with_name("questions.json")
PYTHON_PAGES = Path(__file__).with_name("python_pages.txt")
"""Patterns under `python3-doc/html`, one a line; below the ruler those of `make soak` alone."""

POLICY_PARTS = (
    *("policy.html/*.html", "policy.html/_static", "policy.pdf.gz"),
    *("perl-policy.html", "README*", "*.yaml.gz"),
)
"""What `make test` takes: the policy as pages and as a book, and not five times over."""

WHOLE_BOOKS = ("policy.txt.gz", "policy.pdf.gz", "policy.epub")
"""Files that hold all of the policy: only their answering passage is an answer."""

NEAR_CHARACTERS = 2_000
"""How far from the answering sentence a passage of a whole book may lie: about a printed page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and where its answer stands.

    Attributes:
        answers: Every file of the three packages that answers it, resolved.
        quotes: The answering sentences; each answer holds at least one.
    """

    text: str
    answers: frozenset[Path]
    quotes: tuple[str, ...]


def require_packages(names: Sequence[str]) -> None:
    """Skip the test where Debian's packages are not installed."""
    missing = [name for name in names if not (DOC / name).is_dir()]
    if missing:
        pytest.skip(f"needs Debian's documentation: apt-get install {' '.join(missing)}")


def questions() -> list[Question]:
    """Return the twenty questions."""
    return [
        Question(
            text=item["question"],
            answers=frozenset((DOC / path).resolve() for path in item["answers"]),
            quotes=tuple(item["quotes"]),
        )
        for item in json.loads(QUESTIONS.read_text(encoding="utf-8"))
    ]


def corpus_paths(*, whole: bool) -> list[Path]:
    """Return what `make test` ingests of both packages, or `make soak`."""
    some, _, more = PYTHON_PAGES.read_text(encoding="utf-8").partition("---")
    pages = [*some.split(), *(more.split() if whole else ())]
    parts = ["*"] if whole else POLICY_PARTS
    named = ((PYTHON, pages), (POLICY, parts))
    found = (path for root, globs in named for each in globs for path in sorted(root.glob(each)))
    return list(dict.fromkeys(found))


def whole_packages() -> list[Path]:
    """Return what `make bench` ingests."""
    return [DOC / name for name in PACKAGES]


def count_documents(paths: Sequence[Path]) -> int:
    """Count what a run over `paths` must find, without the code under test.

    One document for each distinct file that a name leads to, and one for each dangling link.
    """
    found: set[str] = set()
    folders: set[str] = set()
    pending = [os.fspath(path) for path in paths]
    while pending:
        path = pending.pop()
        real = os.path.realpath(path)
        if not os.path.isdir(real):
            found.add(real)
        elif real not in folders:
            folders.add(real)
            pending.extend(os.path.join(real, name) for name in os.listdir(real))
    return len(found)


def answers_it(
    question: Question, hit: Mapping[str, object], text_of: Callable[[Path], str]
) -> bool:
    """Whether a hit of `search --json` lies in a file that answers the question.

    In a book that holds everything, the hit must also lie near the answering sentence.

    Args:
        text_of: Returns a file's parsed text, which the hit's offsets refer to.
    """
    source = Path(str(hit["source"]))
    if source not in question.answers:
        return False
    return source.name not in WHOLE_BOOKS or holds_quote(
        question, hit, text_of, within=NEAR_CHARACTERS
    )


def holds_quote(
    question: Question, hit: Mapping[str, object], text_of: Callable[[Path], str], *, within: int
) -> bool:
    """Whether one of the answering sentences stands in the hit or `within` characters of it."""
    start, end = (int(str(hit[name])) for name in ("char_start", "char_end"))
    around = text_of(Path(str(hit["source"])))[max(0, start - within) : end + within]
    letters = letters_of(around)
    return any(letters_of(quote) in letters for quote in question.quotes)


def letters_of(text: str) -> str:
    """Return the letters and digits alone: what markup, line breaks and quotes leave alike."""
    without_roles = re.sub(r":[\w:+-]+:`", "", text)
    return re.sub(r"[\W_]+", "", without_roles.lower())
