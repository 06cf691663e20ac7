"""`lexigram-ray dlq`: real failures, seen, mended, done again and put away from other processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.letter_records import LetterFilter, NewFailure, Subject
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.resume import run_job
from tests.command_line import Result, Terminal, run_cli
from tests.documents import PAGES, pdf
from tests.job_data import ended, ingest_spec, submitted
from tests.ready_state import converted_models, state

__all__ = ["converted_models", "state"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GOOD, BROKEN = 30, 5
LETTER_FIELDS = {
    "id", "job_id", "category", "code", "error", "retry_count", "max_retries", "next_retry_at",
    "status", "attempts",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Letters of one job in a store of their own: three of the input's fault, one that may pass."""

    state: Path
    documents: Path
    store: Store
    job_id: str

    def dlq(self, *arguments: str) -> Result:
        return run_cli("dlq", *arguments, state=self.state)

    def ids(self, category: FailureCategory | None = None) -> list[str]:
        which = LetterFilter(category=category)
        return [letter.id for letter in self.store.dead_letters.each(which)]


@pytest.fixture
def failures(tmp_path: Path) -> Iterator[Failures]:
    state, documents = tmp_path / "state", tmp_path / "documents"
    documents.mkdir()
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        job = ended(store, submitted(store, ingest_spec(documents)), JobStatus.COMPLETED)
        for number in range(4):
            (documents / f"{number}.pdf").touch()
        store.dead_letters.add(
            "ingest", "papers", job.id, [failure(documents / f"{n}.pdf", n) for n in range(4)]
        )
        yield Failures(state=state, documents=documents, store=store, job_id=job.id)


def failure(document: Path, number: int) -> NewFailure:
    passes = number == 3
    return NewFailure(
        subject=Subject.DOCUMENT,
        subject_id=f"{number:032x}",
        source=str(document),
        origin=document.as_uri(),
        category=FailureCategory.TRANSIENT if passes else FailureCategory.INVALID_INPUT,
        code="parser_timeout" if passes else "corrupt",
        error="it took longer than 120 s" if passes else f"it ends at byte {number}",
    )


def items(result: Result) -> list[dict[str, object]]:
    assert result.code == 0, result.stderr
    return cast("list[dict[str, object]]", result.object["items"])


def test_broken_files_are_dead_letters_until_they_are_mended_and_retried(
    tmp_path: Path, state: Path
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    for number in range(GOOD):
        (documents / f"good-{number}.txt").write_text(f"{number}. {PAGES[number % len(PAGES)]}\n")
    broken = [documents / f"broken-{number}.pdf" for number in range(BROKEN)]
    for number, path in enumerate(broken):
        path.write_bytes(pdf()[: 400 + number])

    ingested = run_cli("ingest", documents, "-c", "harbour", state=state)
    letters = items(run_cli("dlq", "list", "-c", "harbour", "--json", state=state))
    groups = items(run_cli("dlq", "groups", "--json", state=state))

    assert ingested.code == 3, ingested.stderr
    assert "see failures with: " in ingested.stderr
    assert f"dlq list --collection harbour --state {state}" in ingested.stderr
    assert {str(letter["source"]) for letter in letters} == {str(path) for path in broken}
    for letter in letters:
        assert set(letter) >= LETTER_FIELDS
        assert (letter["category"], letter["code"]) == ("invalid_input", "corrupt")
        assert letter["error"]
        assert (letter["status"], letter["max_retries"]) == ("open", 0)
    assert sum(cast("int", group["count"]) for group in groups) == BROKEN

    for path in broken:
        path.write_bytes(pdf())
    retried = run_cli("dlq", "retry", "--all", state=state)
    retrying = items(run_cli("dlq", "list", "--json", state=state))
    [job_id] = retried.stdout.split()
    run_job(load_config(state_dir=state), job_id, stop=threading.Event(), actor="test")
    left = run_cli("dlq", "list", state=state)
    collection = run_cli("collections", "show", "harbour", "--json", state=state).object

    assert retried.code == 0, retried.stderr
    assert " up --state " in retried.stderr
    assert {(letter["status"], letter["retry_job_id"]) for letter in retrying} == {
        ("retrying", job_id)
    }
    assert (left.code, left.stdout) == (0, "")
    assert "no dead letter is open" in left.stderr
    assert collection["documents"] == GOOD + BROKEN
    closed = items(run_cli("dlq", "list", "--status", "addressed", "--json", state=state))
    assert [letter["resolution"] for letter in closed] == ["succeeded"] * BROKEN


def test_a_file_that_is_mended_and_simply_ingested_again_closes_its_letter(
    tmp_path: Path, state: Path
) -> None:
    document = tmp_path / "report.pdf"
    document.write_bytes(pdf()[:400])
    failed = run_cli("ingest", document, "-c", "reports", "--json", state=state)
    [letter] = items(run_cli("dlq", "list", "--json", state=state))
    document.write_bytes(pdf())
    mended = run_cli("ingest", document, "-c", "reports", "--json", state=state)
    shown = run_cli("dlq", "show", str(letter["id"]), state=state)

    assert (failed.code, mended.code) == (1, 0), mended.stderr
    assert items(run_cli("dlq", "list", "--json", state=state)) == []
    assert shown.stdout.startswith("addressed: a document of collection reports\n")
    assert "it has succeeded since" in shown.stdout


def test_letters_are_filtered_paged_and_shown_with_what_to_do(failures: Failures) -> None:
    one = items(failures.dlq("list", "--category", "transient", "--json"))
    page = failures.dlq("list", "--code", "corrupt", "--limit", "2")
    old = failures.dlq("list", "--older-than", "1h")
    of_job = items(failures.dlq("list", "--job", failures.job_id[:18], "--json"))
    shown = failures.dlq("show", str(one[0]["id"]))

    assert [letter["code"] for letter in one] == ["parser_timeout"]
    assert len(page.stdout.splitlines()) == 3
    label, _, line = page.stderr.splitlines()[0].partition(": ")
    assert label == "more with"
    cursor = line.split("--cursor ")[1].split()[0]
    rest = items(failures.dlq("list", "--code", "corrupt", "--cursor", cursor, "--json"))
    assert len(rest) == 1
    assert (old.code, old.stdout) == (0, "")
    assert "no dead letter is like that" in old.stderr
    assert len(of_job) == 4
    assert f"dlq retry {one[0]['id']} --state" in shown.stderr


def test_causes_are_counted_with_the_line_that_retries_each(failures: Failures) -> None:
    groups = failures.dlq("groups")
    lines = [line for line in groups.stdout.splitlines() if "retry with: " in line]
    fingerprint = lines[0].split("--fingerprint ")[1].split()[0]
    planned = failures.dlq("retry", "--fingerprint", fingerprint, "--dry-run", "--json")

    assert groups.stdout.startswith("3  corrupt (invalid_input) in papers")
    assert len(lines) == 2
    assert (planned.object["eligible"], planned.object["refused"]) == (3, [])


def test_a_dry_run_says_what_cannot_be_retried_and_why_and_changes_nothing(
    failures: Failures,
) -> None:
    (failures.documents / "0.pdf").unlink()
    (failures.documents / "1.pdf").unlink()
    planned = failures.dlq("retry", "--all", "--dry-run", "--json").object
    said = failures.dlq("retry", "--all", "--dry-run")

    assert planned["eligible"] == 2
    [refused] = cast("list[dict[str, object]]", planned["refused"])
    assert (refused["reason"], refused["count"]) == ("its file is gone", 2)
    assert len(cast("list[str]", refused["ids"])) == 2
    assert said.stdout == "2 dead letters would be retried, by 1 job\n"
    assert "left out: 2, because its file is gone (" in said.stderr
    assert {letter["status"] for letter in items(failures.dlq("list", "--json"))} == {"open"}


def test_a_retry_marks_its_letters_and_a_second_one_makes_no_second_job(
    failures: Failures,
) -> None:
    [letter] = failures.ids(FailureCategory.TRANSIENT)
    first = failures.dlq("retry", letter[:23], "--json")
    again = failures.dlq("retry", letter)
    archived = failures.dlq("archive", letter)
    deleted = failures.dlq("delete", "--all", "--yes", "--json")

    [job] = cast("list[dict[str, object]]", first.object["jobs"])
    assert (first.code, first.object["retried"], first.object["refused"]) == (0, 1, [])
    assert (job["status"], job["retry_of"]) == ("pending", failures.job_id)
    assert (again.code, again.stdout) == (1, "")
    assert "left out: 1, because a job tries it again already" in again.stderr
    assert archived.code == 1
    assert deleted.object["deleted"] == 3
    assert failures.ids() == [letter]


def test_a_rate_gives_letters_their_times_and_says_who_keeps_them(failures: Failures) -> None:
    planned = failures.dlq("retry", "--all", "--rate", "2")
    times = [str(letter["next_retry_at"]) for letter in items(failures.dlq("list", "--json"))]

    assert (planned.code, planned.stdout) == (0, ""), planned.stderr
    assert "planned: 4 dead letters, 2 a minute: the last in 1 min 30 s" in planned.stderr
    assert "nothing works on retries at their times yet" in planned.stderr
    assert len(set(times)) == 4


def test_archived_letters_are_kept_apart_and_what_is_named_twice_counts_once(
    failures: Failures,
) -> None:
    first, second, *_ = failures.ids(FailureCategory.INVALID_INPUT)
    archived = failures.dlq("archive", first, first, second, "--json")
    again = failures.dlq("archive", first, *failures.ids(FailureCategory.TRANSIENT))
    listed = items(failures.dlq("list", "--status", "archived", "--json"))

    assert (archived.code, archived.object) == (0, {"archived": 2, "refused": []})
    assert (again.code, again.stdout) == (3, "archived 1 dead letter\n")
    assert "left out: 1, because it is closed already" in again.stderr
    assert len(listed) == 3


def test_deleting_what_is_being_retried_deletes_nothing_else_either(failures: Failures) -> None:
    before = items(failures.dlq("list", "--status", "all", "--json"))

    for options in ((), ("--yes",), ("--dry-run",)):
        result = failures.dlq("delete", "--status", "retrying", *options)
        assert (result.code, "0 dead letters" in result.stdout) == (0, True), result.stderr

    assert items(failures.dlq("list", "--status", "all", "--json")) == before


def test_deleting_says_how_many_and_asks(failures: Failures) -> None:
    unasked = failures.dlq("delete", "--category", "invalid_input")
    planned = failures.dlq("delete", "--category", "invalid_input", "--dry-run", "--json")
    left = len(failures.ids())
    terminal = Terminal(["dlq", "delete", "-c", "papers"], state=failures.state)
    try:
        terminal.read_until("delete 4 dead letters?")
        terminal.type("y\n")
        screen = terminal.read_to_end()
    finally:
        terminal.close()

    assert unasked.code == 2
    assert "3 dead letters would be deleted, and there is no terminal to ask" in unasked.stderr
    assert unasked.stderr.splitlines()[-1].startswith("try: the same command with --yes")
    assert planned.object == {"dry_run": True, "eligible": 3, "refused": []}
    assert left == 4
    assert "deleted 4 dead letters" in screen
    assert failures.ids() == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["retry"], "it was not said which dead letters to retry"),
        (["delete", "--yes"], "it was not said which dead letters to delete"),
        (["archive", "0193579e", "--all"], "ids and --all were given"),
        (["list", "--older-than", "soon"], "--older-than 'soon' is no age"),
        (["retry", "--all", "--rate", "0"], "a rate of 0 letters a minute is out of range"),
        (["show", "0193579e"], "no dead letter '0193579e'"),
        (["list", "--job", "0193579e"], "no job '0193579e'"),
    ],
)
def test_wrong_use_is_told_with_a_way_out_and_changes_nothing(
    failures: Failures, arguments: list[str], reason: str
) -> None:
    result = failures.dlq(*arguments)

    assert (result.code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert result.stderr.splitlines()[-1].startswith("try: ")
    assert len(failures.ids()) == 4


def test_where_there_is_no_store_yet_nothing_has_failed_and_none_is_made(tmp_path: Path) -> None:
    state = tmp_path / "state"
    listed = run_cli("dlq", "list", "--json", state=state)
    retried = run_cli("dlq", "retry", "--all", "--json", state=state)
    deleted = run_cli("dlq", "delete", "--all", state=state)
    shown = run_cli("dlq", "show", "0193579e", state=state)

    assert listed.object == {"items": [], "next": None}
    assert retried.object == {"retried": 0, "scheduled": 0, "jobs": [], "refused": []}
    assert (deleted.code, deleted.stdout) == (0, "deleted 0 dead letters\n")
    assert shown.code == 2
    assert not state.exists()
