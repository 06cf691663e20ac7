"""Dead letters over real HTTP: seen, done again, set aside and deleted, as on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus, NewFailure, Subject
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.models import dead_letters as models
from tests.job_data import ended, ingest_spec, submitted
from tests.service_answers import NO_ID, on_command_line, problem, shown
from tests.service_site import Site, running_service

PATH = "/v1/dead-letters"


@dataclass(frozen=True, kw_only=True)
class Failures:
    """A service and letters of one job: three of the input's fault, one that may pass."""

    site: Site
    store: Store
    state: Path
    documents: Path
    job_id: str

    def ids(self, category: FailureCategory | None = None) -> list[str]:
        which = LetterFilter(category=category)
        return [letter.id for letter in self.store.dead_letters.each(which)]

    def status_of(self, letter_id: str) -> LetterStatus | None:
        letter = self.store.dead_letters.get(letter_id)
        return None if letter is None else letter.status


@pytest.fixture
def failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failures]:
    monkeypatch.chdir(tmp_path)
    state, documents = tmp_path / "state", tmp_path / "documents"
    documents.mkdir()
    with running_service(load_config(state_dir=state)) as site:
        store = site.context.store
        job = ended(store, submitted(store, ingest_spec(documents)))
        paths = [documents / f"{number}.pdf" for number in range(4)]
        for path in paths:
            path.touch()
        found = [failure(path, number) for number, path in enumerate(paths)]
        store.dead_letters.add("ingest", "papers", job.id, found)
        yield Failures(site=site, store=store, state=state, documents=documents, job_id=job.id)


def failure(document: Path, number: int) -> NewFailure:
    passes = number == 3
    return NewFailure(
        subject=Subject.DOCUMENT,
        subject_id=f"{number:032x}",
        source=str(document),
        origin=document.as_uri(),
        category=FailureCategory.TRANSIENT if passes else FailureCategory.INVALID_INPUT,
        code="unreachable" if passes else "corrupt",
        error="the server is away" if passes else f"it is truncated at byte {number}",
    )


def test_letters_are_listed_and_shown_as_on_the_command_line(
    failures: Failures, capsys: pytest.CaptureFixture[str]
) -> None:
    client, state = failures.site.client, failures.state

    page = shown(client.get(PATH), models.LetterPage)
    one = shown(client.get(f"{PATH}/{page['items'][0]['id']}"), models.DeadLetter)

    assert page == on_command_line(capsys, state, "dlq", "list")
    assert one == on_command_line(capsys, state, "dlq", "show", one["id"])
    assert len(page["items"]) == 4


def test_filters_and_pages_find_each_letter_once(failures: Failures) -> None:
    client = failures.site.client
    asked: dict[str, str] = {"category": "invalid_input", "limit": "2", "job": failures.job_id}
    first = shown(client.get(PATH, params=asked), models.LetterPage)
    second = shown(client.get(PATH, params=asked | {"cursor": first["next"]}), models.LetterPage)
    cause = first["items"][0]["fingerprint"]

    found = [each["id"] for each in (*first["items"], *second["items"])]
    assert sorted(found) == sorted(failures.ids(FailureCategory.INVALID_INPUT))
    assert second["next"] is None
    for none in (
        {"older_than": "1h"},
        {"collection": "others"},
        {"code": "odd"},
        {"status": "archived"},
        {"fingerprint": "odd"},
        {"job": NO_ID},
    ):
        assert client.get(PATH, params=none).json()["items"] == []
    alike = client.get(PATH, params={"fingerprint": cause, "status": "all"}).json()["items"]
    assert {each["fingerprint"] for each in alike} == {cause}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"category": "odd"}, "invalid_request"),
        ({"older_than": "soon"}, "invalid_request"),
        ({"older_than": "2999-01-01"}, "invalid_age"),
        ({"older_than": "x" * 50}, "invalid_request"),
        ({"job": "0193579e"}, "invalid_request"),
        ({"cursor": "1"}, "invalid_request"),
        ({"catgory": "transient"}, "invalid_request"),
    ],
)
def test_a_filter_that_is_none_is_refused(
    failures: Failures, asked: dict[str, str], code: str
) -> None:
    problem(failures.site.client.get(PATH, params=asked), 422, code)


def test_one_letter_is_done_again_by_a_job_of_its_own(failures: Failures) -> None:
    client, (letter_id, *_) = failures.site.client, failures.ids()

    answer = client.post(f"{PATH}/{letter_id}/retry")
    done = shown(answer, models.Retried, 202)
    again = client.post(f"{PATH}/{letter_id}/retry")
    (job,) = done["jobs"]

    assert (done["retried"], done["scheduled"], done["refused"]) == (1, 0, [])
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert client.get(f"{PATH}/{letter_id}").json()["retry_job_id"] == job["id"]
    assert "tries it again already" in problem(again, 409, "dead_letter_unfit")["detail"]


def test_a_letter_that_cannot_be_done_again_says_why(failures: Failures) -> None:
    letter_id = failures.ids()[0]
    for path in failures.documents.iterdir():
        path.unlink()

    refused = failures.site.client.post(f"{PATH}/{letter_id}/retry")

    assert "its file is gone" in problem(refused, 409, "dead_letter_unfit")["detail"]
    assert failures.status_of(letter_id) is LetterStatus.OPEN


def test_letters_are_set_aside_and_deleted_one_by_one(failures: Failures) -> None:
    client, (first, second, *_) = failures.site.client, failures.ids()

    archived = shown(client.post(f"{PATH}/{first}/archive"), models.Archived)
    again = client.post(f"{PATH}/{first}/archive")
    deleted = shown(client.delete(f"{PATH}/{second}"), models.Deleted)
    gone = client.delete(f"{PATH}/{second}")

    assert archived == {"archived": 1, "refused": []}
    assert "closed already" in problem(again, 409, "dead_letter_unfit")["detail"]
    assert deleted == {"deleted": 1, "refused": []}
    problem(gone, 404, "dead_letter_not_found")
    assert failures.status_of(first) is LetterStatus.ARCHIVED
    assert failures.status_of(second) is None


def test_a_letter_that_is_being_retried_is_not_deleted(failures: Failures) -> None:
    letter_id = failures.ids()[0]
    failures.site.client.post(f"{PATH}/{letter_id}/retry")

    problem(failures.site.client.delete(f"{PATH}/{letter_id}"), 409, "dead_letter_unfit")

    assert failures.status_of(letter_id) is LetterStatus.RETRYING


def test_all_that_match_are_done_again_as_on_the_command_line(
    failures: Failures, capsys: pytest.CaptureFixture[str]
) -> None:
    client = failures.site.client
    asked = {"category": "invalid_input", "limit": 2}

    would = shown(client.post(f"{PATH}/retry", json=asked | {"dry_run": True}), models.WouldRetry)
    said = on_command_line(
        capsys,
        failures.state,
        *("dlq", "retry", "--category", "invalid_input", "--limit", "2", "--dry-run"),
    )
    done = shown(client.post(f"{PATH}/retry", json=asked), models.Retried, 202)

    assert would == said == {"dry_run": True, "eligible": 2, "refused": []}
    assert (done["retried"], len(done["jobs"])) == (2, 1)
    states = [failures.status_of(each) for each in failures.ids(FailureCategory.INVALID_INPUT)]
    assert states.count(LetterStatus.RETRYING) == 2


def test_letters_can_be_done_again_so_many_a_minute(failures: Failures) -> None:
    done = shown(
        failures.site.client.post(f"{PATH}/retry", json={"all": True, "rate": 60}),
        models.Retried,
        202,
    )

    assert (done["retried"], done["scheduled"], done["jobs"]) == (0, 4, [])
    times = [
        letter.next_retry_at
        for letter in failures.store.dead_letters.each(LetterFilter())
        if letter.next_retry_at is not None
    ]
    assert len(set(times)) == 4


def test_those_that_are_named_are_done_again_and_the_others_are_told(failures: Failures) -> None:
    first, second, *_ = failures.ids()
    failures.site.client.post(f"{PATH}/{second}/archive")

    done = shown(
        failures.site.client.post(f"{PATH}/retry", json={"ids": [first, second]}),
        models.Retried,
        202,
    )

    assert done["retried"] == 1
    assert done["refused"] == [{"reason": "it is closed", "count": 1, "ids": [second]}]
    missing = failures.site.client.post(f"{PATH}/retry", json={"ids": [NO_ID]})
    problem(missing, 404, "dead_letter_not_found")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"dry_run": True},
        {"all": 1},
        {"all": True, "rate": "60"},
        {"all": True, "rate": 0},
        {"all": True, "limit": 0},
        {"all": True, "limit": 1.5},
        {"all": True, "ids": [NO_ID]},
        {"ids": []},
        {"ids": ["x"]},
        {"category": "odd"},
        {"everything": True},
    ],
)
def test_what_is_not_clear_does_nothing(failures: Failures, asked: dict[str, object]) -> None:
    problem(failures.site.client.post(f"{PATH}/retry", json=asked), 422, "invalid_request")

    assert {failures.status_of(each) for each in failures.ids()} == {LetterStatus.OPEN}


def test_there_is_nothing_to_do_with_a_letter_that_is_not_there(failures: Failures) -> None:
    client = failures.site.client
    for answer in (
        client.get(f"{PATH}/{NO_ID}"),
        client.post(f"{PATH}/{NO_ID}/retry"),
        client.post(f"{PATH}/{NO_ID}/archive"),
        client.delete(f"{PATH}/{NO_ID}"),
    ):
        problem(answer, 404, "dead_letter_not_found")
