"""Jobs of a cluster through Ray's job API; its errors become ours here and nowhere else."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from lexigram_ray.core.errors import ClusterUnreachableError, ConflictError, UsageError
from lexigram_ray.runtime.submission_address import CONNECT_SECONDS, VARIABLES, first_sentence
from lexigram_ray.runtime.token_auth import TOKEN, TOKEN_PATH

READ_SECONDS = 60.0
"""A cluster takes a job, or a package of 512 MiB, in less."""

STOP_SECONDS = 15.0
POLL_SECONDS = 0.3
SIGNALLED = 128
_TALKATIVE = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray that tell on stderr of every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A command line for a cluster.

    Attributes:
        id: Of the job; a cluster takes each once.
        entrypoint: Quoted for a shell.
        runtime_env: As Ray knows it; a `working_dir` on this machine is uploaded.
        metadata: Shown in the dashboard.
    """

    id: str
    entrypoint: str
    runtime_env: Mapping[str, Any]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob:
    """A job of a cluster, as it stands.

    Attributes:
        status: Ray's, such as `RUNNING`.
        exit_code: As a shell gives it; None unless its process has come to an end by itself.
        message: Ray's words for how it stands.
    """

    id: str
    status: str
    is_final: bool
    exit_code: int | None
    message: str

    @property
    def was_stopped(self) -> bool:
        """Whether somebody has stopped it."""
        return self.status == JobStatus.STOPPED.value


class ClusterJobs:
    """The jobs of the cluster whose dashboard is at a URL."""

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            ClusterUnreachableError: Nothing answers, or refuses us, or is no dashboard.
        """
        self.url = url
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        with _translated(url), _only_address(url):
            self._client = _Client(url)

    def submit(self, submission: Submission) -> None:
        """Hand a job to the cluster.

        Raises:
            ConflictError: It has one of that id.
            UsageError: It does not take such a job.
            ClusterUnreachableError: It does not answer.
        """
        # Asked before, because a package may have to be uploaded for it.
        self._refuse_known(submission)
        try:
            with _translated(self.url):
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=submission.id,
                    runtime_env=dict(submission.runtime_env),
                    metadata=dict(submission.metadata),
                )
        except (UsageError, ClusterUnreachableError):
            # Another's may have come first, or this one's answer be lost.
            self._refuse_known(submission)
            raise
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"Ray does not take this runtime environment: {first_sentence(error)}",
                hint="check --runtime-env-json and --working-dir",
            ) from error

    def find(self, job_id: str) -> SubmittedJob | None:
        """Return how a job stands; None where the cluster has none of that id.

        Raises:
            ClusterUnreachableError: It does not answer.
        """
        with _translated(self.url):
            try:
                info = self._client.get_job_info(job_id)
            except _RefusedError as refused:
                if refused.status == HTTPStatus.NOT_FOUND:
                    return None
                raise
        return SubmittedJob(
            id=job_id,
            status=info.status.value,
            is_final=info.status.is_terminal(),
            exit_code=_as_a_shell_gives_it(info.driver_exit_code),
            message=info.message or "",
        )

    def get(self, job_id: str) -> SubmittedJob:
        """Return how a job stands.

        Raises:
            UsageError: The cluster has none of that id.
            ClusterUnreachableError: It does not answer.
        """
        if (found := self.find(job_id)) is None:
            raise UsageError(
                f"the cluster at {self.url} knows no job {job_id}",
                hint=f"ray job list --address {self.url}",
            )
        return found

    def stop(self, job_id: str) -> SubmittedJob:
        """Ask a job to stop, and return how it stands once it has, or after a while.

        Raises:
            UsageError: The cluster has none of that id.
            ClusterUnreachableError: It does not answer.
        """
        deadline = time.monotonic() + STOP_SECONDS
        is_asked = False
        while not (found := self.get(job_id)).is_final and time.monotonic() < deadline:
            # One that is only about to be started cannot be asked yet.
            if not is_asked:
                with _translated(self.url):
                    is_asked = self._client.stop_job(job_id)
            time.sleep(POLL_SECONDS)
        return found

    def log(self, job_id: str) -> str:
        """Return all that a job has printed.

        Raises:
            ClusterUnreachableError: The cluster does not answer.
        """
        with _translated(self.url):
            return self._client.get_job_logs(job_id)

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """Return what a job prints, from its first line, while it does; Ray's errors are Ray's."""
        return self._client.tail_job_logs(job_id)

    def _refuse_known(self, submission: Submission) -> None:
        if (known := self.find(submission.id)) is not None:
            raise ConflictError(
                f"the cluster at {self.url} has a job {submission.id} already "
                f"({known.status.lower()})",
                hint=f"lexigram-ray submit --attach {submission.id} --address {self.url} follows "
                "it; or choose another --submission-id",
            )


class _RefusedError(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.reason = _last_line(text)
        super().__init__(f"{status}: {self.reason}")


class _Client(JobSubmissionClient):
    """Ray's client, which by itself waits for an answer without end."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        return super()._do_request(method, endpoint, **options)

    def _raise_error(self, r: requests.Response) -> NoReturn:
        raise _RefusedError(r.status_code, r.text)


@contextmanager
def _only_address(url: str) -> Generator[None]:
    """Have Ray's client take this address: its variables would come before it."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ[VARIABLES[0]] = url
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _translated(url: str) -> Generator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise ClusterUnreachableError(
            f"the cluster at {url} does not let us in: {first_sentence(error)}",
            hint=f"RAY_AUTH_MODE=token, and the cluster's token in {TOKEN}, in the file that "
            f"{TOKEN_PATH} names, or in ~/.ray/auth_token",
        ) from error
    except _RefusedError as error:
        if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UsageError(
                f"the cluster at {url} does not take this: {error.reason}",
                hint="check --runtime-env-json and --working-dir",
            ) from error
        raise ClusterUnreachableError(
            f"the cluster at {url} failed: {error.reason}",
            hint=f"`ray status`, and dashboard.log of its head; ray job list --address {url}",
        ) from error
    except (ConnectionError, requests.ConnectionError, requests.Timeout) as error:
        raise ClusterUnreachableError(
            f"no Ray dashboard answers at {url}",
            hint="check the address in a browser; on the head, `ray start` has printed it",
        ) from error
    except (requests.RequestException, KeyError, RuntimeError) as error:
        raise ClusterUnreachableError(
            f"what answers at {url} is no Ray dashboard that takes jobs: {first_sentence(error)}",
            hint="check the address in a browser; on the head, `ray start` has printed it",
        ) from error


def _as_a_shell_gives_it(code: int | None) -> int | None:
    return SIGNALLED - code if code is not None and code < 0 else code


def _last_line(text: str) -> str:
    # Ray answers with tracebacks.
    return text.strip().splitlines()[-1] if text.strip() else "it does not say why"
