"""What requests submit, recorded for the workers: checked first, durable before it is answered."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from fastapi import Request
from fastapi.responses import Response

from lexigram_ray.core.errors import PathNotAllowedError, UsageError
from lexigram_ray.core.ids import document_id
from lexigram_ray.ingestion.sources import check_allowed
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.jobs.given_document import GivenDocument, given_document
from lexigram_ray.jobs.recipes import Recipe, read_text_recipe
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import IngestRequest
from lexigram_ray.jobs.staged_files import staged_rows
from lexigram_ray.jobs.submitting import (
    SubmitOptions,
    check_embed,
    record_embed,
    record_ingest,
)
from lexigram_ray.jobs.toolbox import check_request, read_recipe
from lexigram_ray.jobs.uploaded_files import (
    ReceivedFile,
    place_of,
    put_in_place,
    sweep_incoming,
)
from lexigram_ray.service.context import ServiceContext
from lexigram_ray.service.given_texts import GivenTexts
from lexigram_ray.service.idempotency import Sender, answer_once
from lexigram_ray.service.models.documents import DocumentFields, DocumentsFields
from lexigram_ray.service.models.embedding_jobs import EmbeddingJobRequest
from lexigram_ray.service.models.submissions import SubmissionRequest
from lexigram_ray.service.problems import Refusal, not_ready

RECIPE_SECONDS = 10.0
"""So long a model that was found is not looked for again; its files may be replaced."""


class Submissions:
    """Records submissions in a replica's store. Everything here blocks, and is safe for threads.

    Args:
        context: Of the replica.
    """

    def __init__(self, context: ServiceContext) -> None:
        self._config = context.config
        self._store = context.store
        self._recipes = {
            "ingest": _Kept(lambda: read_recipe(context.config)),
            "embed": _Kept(lambda: read_text_recipe(context.config, None)),
        }
        self._swept = False

    def submit_file(
        self, request: DocumentFields, file: ReceivedFile, sender: Sender, *, url: str = ""
    ) -> Response:
        """Record the ingestion of one file that is here.

        Args:
            url: Where it was fetched from, without what may be secret of it.

        Raises:
            UsageError, Refusal: It cannot be recorded; nothing was.
            DiskFullError: No space is left.
        """
        _refuse_empty([file])
        path = place_of(self._config, request.collection, file)
        metadata = ({"url": url} if url else {}) | request.metadata
        document = _document(request, path, metadata)
        recipe = self._checked(request, document=document)
        put_in_place(self._config, request.collection, file)
        return self._submit_one(request, path, document, recipe, sender)

    def submit_path(self, request: DocumentFields, path: str, sender: Sender) -> Response:
        """Record the ingestion of one file by its path.

        Raises:
            PathNotAllowedError: It lies outside of what may be read over HTTP.
            UsageError, Refusal: It cannot be recorded; nothing was.
        """
        allowed = self.allowed(path)
        document = _document(request, allowed, request.metadata)
        recipe = self._checked(request, paths=[allowed], document=document)
        return self._submit_one(request, allowed, document, recipe, sender)

    def submit_many(
        self,
        request: DocumentsFields,
        sender: Sender,
        *,
        paths: Sequence[str] = (),
        files: Sequence[ReceivedFile] = (),
        prune: bool = False,
    ) -> Response:
        """Record one job for files that are here, and for files and folders by their paths.

        Raises:
            PathNotAllowedError: A path lies outside of what may be read over HTTP.
            UsageError, Refusal: It cannot be recorded; nothing was.
            DiskFullError: No space is left.
        """
        if files and not paths:
            _refuse_empty(files)
        named = [self.allowed(path) for path in paths]
        recipe = self._checked(request, paths=named)
        placed = [put_in_place(self._config, request.collection, file) for file in files]
        return self._submit_ingest(
            IngestRequest(
                paths=tuple(dict.fromkeys((*named, *placed))),
                collection=request.collection,
                prune=prune,
                retry_failed=request.retry_failed,
            ),
            recipe,
            request,
            sender,
        )

    def submit_texts(self, request: EmbeddingJobRequest, sender: Sender) -> Response:
        """Record an embedding job, its texts staged.

        Raises:
            UsageError, Refusal: It cannot be recorded; nothing was.
            DiskFullError: No space is left.
        """
        texts = GivenTexts(texts=request.rows)
        asked = EmbedRequest(table=texts, collection=request.collection)
        recipe = check_embed(self._config, asked, recipe=self._recipes["embed"].value())
        stop = threading.Event()
        staged = staged_rows(self._config, texts, _tell_nobody, stop, store_id=self._store.store_id)

        def record(options: SubmitOptions) -> tuple[Job, bool]:
            return record_embed(
                self._store,
                self._config,
                asked,
                recipe,
                staged,
                on_read=_tell_nobody,
                stop=stop,
                options=options,
            )

        return answer_once(self._store, record, request, sender)

    def allowed(self, path: str) -> Path:
        """Return a path that may be read over HTTP; whether there is one outside is not told.

        Raises:
            Refusal: 403, it lies outside of the allowed roots, or there are none.
        """
        # Where none are set, the command line may read all: its user could do so anyway.
        roots = self._config.allowed_roots or ()
        try:
            check_allowed(os.path.realpath(path), roots)
        except PathNotAllowedError as error:
            raise _outside(path, has_roots=bool(roots)) from error
        return Path(path)

    def _submit_one(
        self,
        request: DocumentFields,
        path: Path,
        document: GivenDocument,
        recipe: Recipe,
        sender: Sender,
    ) -> Response:
        asked = IngestRequest(
            paths=(path,),
            collection=request.collection,
            retry_failed=request.retry_failed,
            document=document,
        )
        return self._submit_ingest(asked, recipe, request, sender)

    def _checked(
        self,
        request: SubmissionRequest,
        *,
        paths: Sequence[Path] = (),
        document: GivenDocument | None = None,
    ) -> Recipe:
        """Refuse what does not fit, before files are put where they stay; return the recipe.

        Args:
            paths: Those that the request names; files that are received fit wherever they are put.
        """
        asked = IngestRequest(paths=tuple(paths), collection=request.collection, document=document)
        checked = check_request(self._config, asked, recipe=self._recipes["ingest"].value())
        if not self._swept:
            self._swept = True
            sweep_incoming(self._config)
        return checked.recipe

    def _submit_ingest(
        self, asked: IngestRequest, recipe: Recipe, request: SubmissionRequest, sender: Sender
    ) -> Response:
        def record(options: SubmitOptions) -> tuple[Job, bool]:
            return record_ingest(self._store, self._config, asked, recipe, options)

        return answer_once(self._store, record, request, sender)


def submissions_of(request: Request) -> Submissions:
    """Return the submissions of the replica that a request came to."""
    state = request.app.state
    if not hasattr(state, "submissions"):
        # Two at once make two, of which one stays: nothing in them is the only copy.
        state.submissions = Submissions(state.context)
    return cast("Submissions", state.submissions)


class _Kept:
    """A recipe that is read at most every so often: it takes a look at the model's files."""

    def __init__(self, read: Callable[[], Recipe]) -> None:
        self._read = read
        self._reading = threading.Lock()
        self._kept: tuple[float, Recipe] | None = None

    def value(self) -> Recipe:
        """Return the recipe as it was a moment ago.

        Raises:
            WorkerError: There is no such model (503), or its server does not answer.
        """
        kept = self._kept
        if kept is None or time.monotonic() > kept[0]:
            with self._reading:
                kept = self._kept
                if kept is None or time.monotonic() > kept[0]:
                    kept = (time.monotonic() + RECIPE_SECONDS, self._found())
                    self._kept = kept
        return kept[1]

    def _found(self) -> Recipe:
        try:
            return self._read()
        except UsageError as error:
            raise not_ready(error) from error


def _document(request: DocumentFields, path: Path, metadata: Mapping[str, object]) -> GivenDocument:
    """Return what is said of a document, under the id that a run would give it, or its own."""
    usual = document_id(Path(os.path.realpath(path)))
    return given_document(request.document_id or usual, metadata=metadata)


def _refuse_empty(files: Sequence[ReceivedFile]) -> None:
    """Refuse files of which no run would make anything; among others, an empty one is skipped."""
    if all(file.size == 0 for file in files):
        raise Refusal(
            422,
            f"{files[0].name[:200]!r}: the file is empty",
            code="empty",
            hint="send a file with something in it",
        )


def _outside(path: str, *, has_roots: bool) -> Refusal:
    return Refusal(
        403,
        f"{path[:500]} lies outside of what may be read over HTTP"
        if has_roots
        else "no path may be read over HTTP: allowed_roots is not set",
        code="path_not_allowed",
        hint="upload the file, or have its folder added to allowed_roots",
        param="path",
    )


def _tell_nobody(_: int) -> None:
    """Nobody waits to see how many rows were read."""
