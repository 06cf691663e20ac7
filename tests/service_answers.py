"""What tests of the HTTP service ask again and again: shapes of answers, and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from lexigram_ray.cli.app import run

PROBLEM_JSON = "application/problem+json"
NO_ID = "00000000-0000-7000-8000-000000000000"


def shown(answer: httpx.Response, model: type[BaseModel], status: int = 200) -> dict[str, Any]:
    """Return an answer's object, which has the fields of its model and no others."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    model.model_validate_json(answer.content)
    return answer.json()


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return an answer's problem, which has this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM_JSON
    body = answer.json()
    assert (body["code"], body["type"]) == (code, f"urn:lexigram-ray:problem:{code}")
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body


def on_command_line(capsys: pytest.CaptureFixture[str], state: Path, *arguments: str) -> Any:
    """Return the object that the command line prints."""
    capsys.readouterr()
    run([*arguments, "--state", str(state), "--json"])
    return json.loads(capsys.readouterr().out)
