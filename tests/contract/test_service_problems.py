"""Errors of any route, over real HTTP: with the way out, and with no more than that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lexigram_ray.core.config import load_config
from tests.service_answers import problem
from tests.service_site import Site, running_service


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state = tmp_path_factory.mktemp("problems") / "state"
    with running_service(load_config(state_dir=state)) as running:
        yield running


def test_a_route_that_there_is_not_is_told_with_where_all_are_named(site: Site) -> None:
    told = problem(site.client.get("/v1/harbours"), 404, "not_found")

    assert "/v1/harbours" in told["detail"]
    assert "openapi.json" in told["hint"]
    assert site.client.get("/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/jobs/"), ("POST", "/v1/embedding-jobs/"), ("GET", "/livez/")]
)
def test_nobody_is_sent_elsewhere_with_a_token(site: Site, method: str, path: str) -> None:
    answer = site.client.request(method, path, headers={"Authorization": "Bearer secret"})

    problem(answer, 404, "not_found")
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/dead-letters/retry", "/v1/embedding-jobs"])
def test_a_key_of_a_hundred_thousand_characters_is_not_sent_back(site: Site, path: str) -> None:
    answer = site.client.post(path, json={"k" * 100_000: 1})

    problem(answer, 422, "invalid_request")
    assert len(answer.content) < 5_000
