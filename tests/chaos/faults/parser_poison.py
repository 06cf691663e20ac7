"""A document on which the parser dies, every time: it is set apart, and its neighbours are not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import docx

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import DeadLetter, LetterStatus
from tests.chaos.many_documents import write_documents
from tests.chaos.proof_types import Outcome, Trial
from tests.chaos.same_rows import difference, keys_of
from tests.chaos.site import ALL, Site
from tests.chaos.supply import UNDISTURBED, reference_of

TIMES = 3
DOCUMENTS = 20
MEMORY = {"LEX_AI_WORKERS__PARSER__MEMORY_MB": "512"} | UNDISTURBED
POISON = "poison.docx"
MEGABYTES = 60
"""Of XML, which the parser unfolds to many times as much; packed, it is a fifth of one."""

MARK = b"MARK"
SOME_FAILED = 3


def run(trial: Trial) -> Iterator[Outcome]:
    """Yield the one outcome: the parser's process has really died each time."""
    site, reference = Site(trial.state("poisoned"), MEMORY), reference_of(trial)
    folder = trial.root / "documents"
    folder.mkdir()
    write_documents(folder, DOCUMENTS, seed=trial.chance("documents").randrange(10**9))
    reference.done("ingest", folder, "-c", "docs")
    write_poison(folder / POISON)
    # The same folder again retries it; so does every command of `dlq retry`.
    commands = [
        ("ingest", folder, "-c", "docs"),
        *[("ingest", folder, "-c", "docs", "--retry-failed")] * 2,
    ]
    codes = [site.run(*command).code for command in commands]
    after = site.run("ingest", folder, "-c", "docs")
    letters = _letters(site)
    differs = difference(keys_of(site.state, "docs"), keys_of(reference.state, "docs"))
    yield Outcome(
        fault="a document that its parser dies of",
        times=sum(len(letter.attempts) for letter in letters),
        lost=differs.lost,
        duplicated=differs.duplicated,
        notes=(*_wrong_codes([*codes, after.code]), *_wrong_letters(letters)),
    )


def write_poison(path: Path) -> None:
    """Write an office file of so many short paragraphs that the parser's memory ends."""
    model = io.BytesIO()
    document = docx.Document()
    document.add_paragraph(MARK.decode())
    document.save(model)
    with (
        zipfile.ZipFile(model) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in source.namelist():
            with packed.open(name, "w") as part:
                if name == "word/document.xml":
                    head, tail = source.read(name).split(MARK, 1)
                    part.write(head)
                    block = b"</w:t></w:r></w:p><w:p><w:r><w:t>tide" * 20_000
                    for _ in range(MEGABYTES * 10**6 // len(block)):
                        part.write(block)
                    part.write(tail)
                else:
                    part.write(source.read(name))


def _letters(site: Site) -> list[DeadLetter]:
    with site.store() as store:
        return list(store.dead_letters.each(ALL))


def _wrong_codes(codes: list[int]) -> Iterator[str]:
    for number, code in enumerate(codes):
        if code != SOME_FAILED:
            yield f"run {number + 1} has exit code {code}"


def _wrong_letters(letters: list[DeadLetter]) -> Iterator[str]:
    if [Path(letter.source).name for letter in letters] != [POISON]:
        yield f"dead letters of {[letter.source for letter in letters]}"
        return
    (letter,) = letters
    told = [(each.category, each.code) for each in letter.attempts]
    if told != [(FailureCategory.INVALID_INPUT, "parser_died")] * TIMES:
        yield f"its failures are {told}"
    if letter.status is not LetterStatus.OPEN or letter.next_retry_at is not None:
        yield f"it is {letter.status.value}, due {letter.next_retry_at}"
