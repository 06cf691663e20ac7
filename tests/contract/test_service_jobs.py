"""Jobs over real HTTP: listed, shown, waited for, cancelled, done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.models import jobs as models
from tests.job_data import claimed, ended, ingest_spec, ingest_summary, submitted
from tests.service_answers import NO_ID, on_command_line, problem, shown
from tests.service_site import Site, running_service

LONG = 30.0
"""Seconds that a wait may take on a busy machine; none is meant to."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    service = {"max_ongoing_requests": 6}
    with running_service(load_config(state_dir=tmp_path / "state", service=service)) as running:
        yield running


@pytest.fixture
def store(site: Site) -> Store:
    return site.context.store


@pytest.fixture
def job(store: Store, tmp_path: Path) -> Job:
    return submitted(store, ingest_spec(tmp_path))


def failed_documents(store: Store, folder: Path) -> Job:
    bad = folder / "bad.pdf"
    bad.touch()
    job = submitted(store, ingest_spec(folder))
    return ended(store, job, summary=ingest_summary(ingested=2, failed=[bad]))


def test_a_job_is_shown_and_listed_as_the_command_line_does(
    site: Site, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = failed_documents(store, tmp_path)

    one = shown(site.client.get(f"/v1/jobs/{job.id}"), models.ShownJob)
    page = shown(site.client.get("/v1/jobs"), models.JobPage)

    assert one == on_command_line(capsys, site.state, "jobs", "show", job.id)
    assert page == on_command_line(capsys, site.state, "jobs", "list")
    assert [each["id"] for each in page["items"]] == [job.id]


def test_pages_of_jobs_have_each_of_them_once(site: Site, store: Store) -> None:
    specs = [ingest_spec(Path(f"/papers/{number}")) for number in range(5)]
    made = [submitted(store, spec, collection=f"c{n}") for n, spec in enumerate(specs)]
    made[2:3] = [ended(store, made[2])]
    seen, cursor = [], None
    while True:
        asked = {"limit": 2, "status": "pending"} | ({"cursor": cursor} if cursor else {})
        page = shown(site.client.get("/v1/jobs", params=asked), models.JobPage)
        seen += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert sorted(seen) == sorted(each.id for each in made if each is not made[2])
    of_one = site.client.get("/v1/jobs", params={"collection": "c2", "kind": "ingest"}).json()
    assert [each["id"] for each in of_one["items"]] == [made[2].id]


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"status": "odd"},
        {"cursor": "x"},
        {"cursor": "1.\x00"},
        {"stauts": "failed"},
        {"collection": "c" * 300},
    ],
)
def test_what_a_list_is_not_asked_for_is_refused(site: Site, asked: dict[str, str]) -> None:
    problem(site.client.get("/v1/jobs", params=asked), 422, "invalid_request")


def test_only_whole_ids_name_jobs(site: Site, job: Job) -> None:
    assert problem(site.client.get(f"/v1/jobs/{NO_ID}"), 404, "job_not_found")["hint"]
    assert site.client.get(f"/v1/jobs/{job.id[:13]}").status_code == 404
    assert site.client.get(f"/v1/jobs/{job.id.upper()}").status_code == 404
    for action in ("cancel", "retry"):
        problem(site.client.post(f"/v1/jobs/{NO_ID}/{action}"), 404, "job_not_found")


def test_the_tag_of_a_job_changes_with_the_job(site: Site, store: Store, job: Job) -> None:
    path = f"/v1/jobs/{job.id}"
    first = site.client.get(path)
    again = site.client.get(path, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    claim = claimed(store, job)
    running = site.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    time.sleep(2.1)
    store.save_progress(claim, {"total": 10, "done": 5, "failed": 0})
    halfway = site.client.get(path, headers={"If-None-Match": running.headers["etag"]})
    weak = site.client.get(path, headers={"If-None-Match": halfway.headers["etag"]})

    assert first.headers["etag"].startswith('"')
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert [running.status_code, halfway.status_code, weak.status_code] == [200, 200, 304]
    # How long it still takes changes with the clock, without the job.
    assert halfway.json()["seconds_remaining"] > 0
    assert halfway.headers["etag"].startswith('W/"')


def test_a_wait_ends_when_the_job_has_ended(site: Site, store: Store, job: Job) -> None:
    claim = claimed(store, job)
    timer = threading.Timer(0.8, store.finish, (claim, JobStatus.COMPLETED), {"summary": {}})
    timer.start()
    answer = site.client.get(f"/v1/jobs/{job.id}", params={"wait": LONG}, timeout=2 * LONG)
    timer.join()

    assert answer.json()["status"] == "completed"
    assert answer.elapsed.total_seconds() < LONG


def test_a_wait_ends_when_the_job_is_another_than_the_client_knows(
    site: Site, store: Store, job: Job
) -> None:
    path = f"/v1/jobs/{job.id}"
    known = {"If-None-Match": site.client.get(path).headers["etag"]}
    timer = threading.Timer(0.8, claimed, (store, job))
    timer.start()
    answer = site.client.get(path, params={"wait": LONG}, headers=known, timeout=2 * LONG)
    timer.join()
    later = site.client.get(path, params={"wait": LONG}, headers=known, timeout=2 * LONG)

    assert (answer.status_code, answer.json()["status"]) == (200, "running")
    assert later.json()["status"] == "running"
    assert answer.elapsed.total_seconds() + later.elapsed.total_seconds() < LONG


def test_a_wait_in_which_nothing_happens_ends_with_its_time(site: Site, job: Job) -> None:
    path = f"/v1/jobs/{job.id}"
    first = site.client.get(path, params={"wait": 0.3})
    known = {"If-None-Match": first.headers["etag"]}

    assert first.json()["status"] == "pending"
    assert site.client.get(path, params={"wait": 0.3}, headers=known).status_code == 304
    for wait in ("-1", "61", "nan", "inf", "x"):
        problem(site.client.get(path, params={"wait": wait}), 422, "invalid_request")


def test_many_can_wait_but_not_all_of_them(site: Site, store: Store, job: Job) -> None:
    path = f"/v1/jobs/{job.id}"
    most = site.context.config.service.max_ongoing_requests // 2
    answers: list[httpx.Response] = []

    def wait() -> None:
        # Whoever looks whether there is room left takes some for a moment.
        with httpx.Client(base_url=site.url, timeout=4 * LONG) as client:
            while (answer := client.get(path, params={"wait": 2 * LONG})).status_code == 503:
                pass
            answers.append(answer)

    waiting = [threading.Thread(target=wait) for _ in range(most)]
    for each in waiting:
        each.start()
    refused = eventually_refused(site, path)
    store.cancel(job.id, Owner.current(), turn_seconds=60)
    for each in waiting:
        each.join()

    assert problem(refused, 503, "too_many_waiting")["hint"]
    assert int(refused.headers["Retry-After"]) > 0
    assert [each.json()["status"] for each in answers] == ["cancelled"] * most
    assert site.client.get(path, params={"wait": 0.1}).status_code == 200


def eventually_refused(site: Site, path: str) -> httpx.Response:
    """Ask until as many wait as may."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        answer = site.client.get(path, params={"wait": 0.05})
        if answer.status_code == 503:
            return answer
    raise AssertionError("nobody was refused")


def test_a_job_is_cancelled_once_and_stays_so(
    site: Site, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/v1/jobs/{job.id}"
    first = shown(site.client.post(f"{path}/cancel"), models.Job)
    again = shown(site.client.post(f"{path}/cancel"), models.Job)

    assert first["status"] == "cancelled"
    assert first == again
    assert first == on_command_line(capsys, site.state, "jobs", "cancel", job.id)


@pytest.mark.parametrize("final", [JobStatus.COMPLETED, JobStatus.FAILED])
def test_a_job_that_has_ended_is_not_cancelled(
    site: Site, store: Store, job: Job, final: JobStatus
) -> None:
    ended(store, job, final, error="broken")

    problem(site.client.post(f"/v1/jobs/{job.id}/cancel"), 409, "job_is_final")

    assert site.client.get(f"/v1/jobs/{job.id}").json()["status"] == final.value


def test_a_job_that_has_ended_is_done_again_as_a_new_one(
    site: Site, store: Store, job: Job
) -> None:
    ended(store, job)

    answer = site.client.post(f"/v1/jobs/{job.id}/retry")
    new = shown(answer, models.Job, 202)
    again = site.client.post(f"/v1/jobs/{job.id}/retry", json={}).json()

    assert (new["retry_of"], new["status"]) == (job.id, "pending")
    assert answer.headers["location"] == f"/v1/jobs/{new['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert again["id"] == new["id"]
    assert site.client.get(answer.headers["location"]).json()["id"] == new["id"]


def test_only_what_failed_is_done_again_where_that_is_asked(
    site: Site, store: Store, tmp_path: Path
) -> None:
    job = failed_documents(store, tmp_path)

    answer = site.client.post(f"/v1/jobs/{job.id}/retry", json={"failed_only": True})
    new = store.get(shown(answer, models.Job, 202)["id"])

    assert new is not None
    request = new.spec["request"]
    assert isinstance(request, dict)
    assert request["paths"] == [str(tmp_path / "bad.pdf")]


def test_what_cannot_be_done_again_is_said(site: Site, store: Store, job: Job) -> None:
    path = f"/v1/jobs/{job.id}/retry"
    problem(site.client.post(path), 409, "job_not_final")
    ended(store, job)
    problem(site.client.post(path, json={"failed_only": True}), 409, "nothing_to_retry")
    problem(site.client.post(path, json={"failed_only": 1}), 422, "invalid_request")
    problem(site.client.post(path, json={"failed": True}), 422, "invalid_request")
    as_json = {"Content-Type": "application/json"}
    problem(site.client.post(path, content=b"{", headers=as_json), 422, "invalid_request")
    problem(site.client.post(path, content=b"{}"), 415, "unsupported_media_type")
