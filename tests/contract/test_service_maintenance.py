"""Maintenance over real HTTP: tasks, runs, a run now, on and off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.maintenance.supervising import supervise
from lexigram_ray.service.models import maintenance as models
from tests.service_answers import on_command_line, problem, shown
from tests.service_site import Site, running_service

TASKS, RUNS = "/v1/maintenance/tasks", "/v1/maintenance/runs"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    with running_service(load_config(state_dir=tmp_path / "state")) as running:
        yield running


def without_times(listed: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    return [each | {"next_run_at": None} for each in listed["items"]]


def test_tasks_are_listed_as_on_the_command_line(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = shown(site.client.get(TASKS), models.TaskList)
    said = on_command_line(capsys, site.state, "maintenance", "list")

    assert without_times(listed) == without_times(said)
    assert "health_check" in [each["name"] for each in listed["items"]]


def test_a_run_is_recorded_done_by_a_worker_and_listed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = site.client.post(f"{TASKS}/metrics_rollup/run", json={"timeout_seconds": 120})
    run = shown(answer, models.Run, 202)
    waiting = site.client.get(answer.headers["location"]).json()
    supervise(site.context.config, run["job_id"], tell=lambda _: None, should_stop=lambda: False)
    page = shown(site.client.get(RUNS, params={"name": "metrics_rollup"}), models.RunPage)

    assert (run["status"], run["trigger"]) == ("pending", "manual")
    assert int(answer.headers["retry-after"]) >= 1
    assert (waiting["kind"], waiting["spec"]["timeout_seconds"]) == ("maintenance", 120)
    assert [(each["id"], each["status"]) for each in page["items"]] == [(run["id"], "completed")]
    assert page == on_command_line(capsys, site.state, "maintenance", "runs")
    jobs = site.client.get("/v1/jobs", params={"kind": "maintenance"}).json()["items"]
    assert [each["id"] for each in jobs] == [run["job_id"]]


def test_options_are_those_of_the_task(site: Site) -> None:
    path = f"{TASKS}/health_check/run"

    asked = {"options": {"dead_letter_growth": 10}, "dry_run": True}
    run = shown(site.client.post(path, json=asked), models.Run, 202)
    unknown = site.client.post(f"{TASKS}/cache_cleanup/run", json={"options": {"odd": 1}})

    job = site.context.store.get(run["job_id"])
    assert job is not None
    options = job.spec["options"]
    assert isinstance(options, dict)
    assert (options["dead_letter_growth"], options["dry_run"]) == (10, True)
    assert unknown.status_code == 422
    assert "odd" in unknown.json()["detail"]


def test_a_task_is_not_run_twice_at_once(site: Site) -> None:
    path = f"{TASKS}/health_check/run"
    first = shown(site.client.post(path), models.Run, 202)

    busy = problem(site.client.post(path, json={}), 409, "run_unfinished")

    assert first["job_id"] in busy["detail"]
    assert site.client.post(f"/v1/jobs/{first['job_id']}/cancel").json()["status"] == "cancelled"
    assert site.client.post(path).status_code == 202


@pytest.mark.parametrize(
    "asked",
    [
        {"timeout_seconds": 0},
        {"timeout_seconds": "10"},
        {"timeout_seconds": 1e99},
        {"options": []},
        {"options": {"x": "y" * 20_000}},
        {"dry_run": 1},
        {"option": {}},
    ],
)
def test_a_run_that_makes_no_sense_is_refused(site: Site, asked: dict[str, object]) -> None:
    answer = site.client.post(f"{TASKS}/health_check/run", json=asked)

    problem(answer, 422, "invalid_request")
    assert site.client.get(RUNS).json()["items"] == []


def test_a_task_is_switched_off_and_on(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    off = shown(site.client.post(f"{TASKS}/document_cleanup/disable"), models.Schedule)
    listed = {each["name"]: each for each in site.client.get(TASKS).json()["items"]}
    on = shown(site.client.post(f"{TASKS}/document_cleanup/enable"), models.Schedule)
    said = on_command_line(capsys, site.state, "maintenance", "enable", "document_cleanup")

    assert (off["enabled"], listed["document_cleanup"]["enabled"]) == (False, False)
    assert listed["document_cleanup"]["next_run_at"] is None
    assert on["enabled"]
    assert on == said


@pytest.mark.parametrize("action", ["run", "enable", "disable"])
def test_a_task_that_there_is_not_names_the_nearest(site: Site, action: str) -> None:
    answer = site.client.post(f"{TASKS}/health_chek/{action}")

    assert "health_check" in problem(answer, 404, "schedule_not_found")["hint"]


def test_runs_of_what_never_was_are_not_found(site: Site) -> None:
    problem(site.client.get(RUNS, params={"name": "odd"}), 404, "schedule_not_found")
    problem(site.client.get(RUNS, params={"status": "odd"}), 422, "invalid_request")
    assert site.client.get(RUNS, params={"name": "health_check"}).json()["items"] == []


def test_pages_of_runs_have_each_of_them_once(site: Site) -> None:
    made: list[str] = []
    for _ in range(3):
        run = site.client.post(f"{TASKS}/health_check/run").json()
        site.client.post(f"/v1/jobs/{run['job_id']}/cancel")
        made.append(run["id"])

    first = shown(site.client.get(RUNS, params={"limit": 2}), models.RunPage)
    rest = site.client.get(RUNS, params={"limit": 2, "cursor": first["next"]}).json()

    seen = [each["id"] for each in (*first["items"], *rest["items"])]
    assert sorted(seen) == sorted(made)
    job = site.context.store.get(first["items"][0]["job_id"])
    assert job is not None
    assert job.status is JobStatus.CANCELLED
