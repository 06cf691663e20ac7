"""From the configuration to the things that executing needs. Nothing here loads a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lexigram_ray.core.config import ChunkingSettings, ParserSettings, WorkersConfig
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.protocols import RateLimit
from lexigram_ray.core.types import ChunkerSpec, CollectionSettings
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.server_model import ServerModel
from lexigram_ray.embedding.tokenizing import load_tokenizer
from lexigram_ray.ingestion.chunker import CHARACTERS, TOKENS, Chunker, resolve_chunker
from lexigram_ray.ingestion.parsed_store import ParsedStore, parser_fingerprint
from lexigram_ray.ingestion.sandbox import SandboxedParser
from lexigram_ray.ingestion.sources import Scan
from lexigram_ray.jobs.executor import Embedder, Tools
from lexigram_ray.jobs.recipes import (
    GivenModel,
    Model,
    Recipe,
    cached_spec,
    find_model,
    given_model,
    keeps_vectors,
    load_model,
    tokenizer_of,
)
from lexigram_ray.jobs.report import IngestRequest
from lexigram_ray.vectors.collections import Collections, validate_name


def parser_key(settings: ParserSettings) -> str:
    """Return what a remembered failure is held against: another parser, or looser limits, may do.

    Unlike the parser's fingerprint it has the limits, which decide whether there is a text.
    """
    limits = (
        settings.timeout_seconds,
        settings.memory_mb,
        settings.max_decoded_mb,
        settings.max_output_mb,
    )
    return f"{parser_fingerprint(settings)} {':'.join(f'{limit:g}' for limit in limits)}"


def fingerprint_in(key: str) -> str:
    """Return the parser's fingerprint that `parser_key` has put into a key."""
    return key.rpartition(" ")[0] or key


def read_recipe(config: WorkersConfig, request: IngestRequest | None = None) -> Recipe:
    """Find the model and settle the chunker.

    Args:
        request: May have a provider and a chunking of its own.

    Raises:
        ModelNotFoundError: The model is not on this machine and cannot be had.
        ConfigError: The chunker does not fit the model.
    """
    provider = request.provider if request is not None else None
    model = find_model(config) if provider is None else given_model(provider)
    own = _own_chunking(request)
    if own is not None and own.strategy == TOKENS and not isinstance(model, LocalModel):
        raise ConfigError(
            f"the tokens of {model.spec.name} cannot be counted here",
            hint="give the chunk_size in characters: strategy characters",
        )
    return Recipe(model, _chunker_for(model, own or config.chunking))


def _chunker_for(model: Model, chunking: ChunkingSettings) -> ChunkerSpec:
    if not isinstance(model, LocalModel):
        # The tokens of a server, or of an object, cannot be counted here.
        chunking = chunking.model_copy(update={"strategy": CHARACTERS})
    return resolve_chunker(
        chunking,
        max_tokens=model.spec.max_tokens,
        special_tokens=_tokens_beside_the_text(model) if isinstance(model, LocalModel) else 0,
    )


def _own_chunking(request: IngestRequest | None) -> ChunkingSettings | None:
    if request is None or request.document is None:
        return None
    return request.document.chunking


def _tokens_beside_the_text(model: LocalModel) -> int:
    tokenizer = load_tokenizer(model)
    prompt = tokenizer.encode(model.spec.document_prompt, add_special_tokens=False)
    return tokenizer.num_special_tokens_to_add(is_pair=False) + len(prompt.ids)


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that can be carried out: every part of it was looked at before any work.

    Attributes:
        settings: Of the collection, if it is to be made: its chunker is the configuration's, also
            where a document is cut otherwise.
    """

    scan: Scan
    recipe: Recipe
    collections: Collections
    settings: CollectionSettings


def check_request(
    config: WorkersConfig, request: IngestRequest, *, recipe: Recipe | None = None
) -> Checked:
    """Check the name, the paths, the model and the collection's settings.

    Args:
        recipe: Of this request, where it has been read already; else it is read here.

    Raises:
        UsageError: One of them does not fit.
    """
    validate_name(request.collection)
    named = request.document
    scan = Scan(
        request.paths,
        allowed_roots=config.readable_roots,
        document_id=None if named is None else named.document_id,
    )
    recipe = recipe or read_recipe(config, request)
    settings = recipe.settings
    if named is not None and named.chunking is not None:
        usual = _chunker_for(recipe.model, config.chunking)
        settings = replace(settings, chunker=usual.name)
    collections = Collections(config.paths.lancedb)
    if collections.exists(request.collection):
        collection = collections.open(request.collection)
        collection.check_settings(settings, any_chunker=named is not None)
    return Checked(scan, recipe, collections, settings)


def make_embedder(config: WorkersConfig, recipe: Recipe, threads: int | None) -> CachedEmbedder:
    """Return cache and model as one; the model is loaded at the first text not in the cache."""
    spec = recipe.model.spec
    cache = None
    if keeps_vectors(config, recipe):
        cache = EmbeddingCache(config.paths.cache, cached_spec(config, recipe))
    return CachedEmbedder(
        lambda: load_model(config, recipe, threads, limit=_shared_limit(config, recipe)),
        cache,
        spec,
        owns_provider=not isinstance(recipe.model, GivenModel),
        # A server's requests have a limit of their own.
        most_texts=None if isinstance(recipe.model, ServerModel) else config.embedding.batch_texts,
    )


def _shared_limit(config: WorkersConfig, recipe: Recipe) -> RateLimit | None:
    """Return the budget that all embedders of all jobs of this store share, where one is set.

    A query's embedder has none: whoever searches does not stand in line behind a bulk job.
    """
    model = recipe.model
    if not isinstance(model, ServerModel) or model.options.tokens_per_minute is None:
        return None
    from lexigram_ray.jobs.rate_limits import StoreRateLimit

    return StoreRateLimit(
        config.paths.store_url,
        model.options.budget_name(model.spec.name),
        model.options.tokens_per_minute,
    )


def make_tools(
    config: WorkersConfig,
    recipe: Recipe,
    embedder: Embedder,
    job_id: str,
    *,
    request: IngestRequest | None = None,
) -> Tools:
    """Return the tools of one worker, with a parser process of its own.

    Args:
        request: Of a job whose one document the caller has named: it may have been parsed and cut.
    """
    named = request.document if request is not None else None
    text = named.text if named is not None else None
    if text is None or text.passages is None:
        chunker = Chunker(recipe.chunker, tokenizer_of(recipe.model))
    else:
        chunker = text
    return Tools(
        parser=text or SandboxedParser(config.parser, ParsedStore(config.paths.parsed)),
        chunker=chunker,
        embedder=embedder,
        dimension=recipe.model.spec.dimension,
        job_id=job_id,
        scratch=config.paths.scratch / job_id,
        batch_chunks=named.batch_chunks if named is not None else None,
        stages=request.stages if request is not None else None,
    )
