"""From the configuration to the things that executing needs. Nothing here loads a model."""

from __future__ import annotations

from dataclasses import dataclass

from lexigram_ray.core.config import ParserSettings, WorkersConfig
from lexigram_ray.core.protocols import RateLimit
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.server_model import ServerModel
from lexigram_ray.embedding.tokenizing import load_tokenizer
from lexigram_ray.ingestion.chunker import Chunker, resolve_chunker
from lexigram_ray.ingestion.parsed_store import ParsedStore, parser_fingerprint
from lexigram_ray.ingestion.sandbox import SandboxedParser
from lexigram_ray.ingestion.sources import Scan
from lexigram_ray.jobs.executor import Embedder, Tools
from lexigram_ray.jobs.recipes import (
    GivenModel,
    Recipe,
    cached_spec,
    find_model,
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


def read_recipe(config: WorkersConfig) -> Recipe:
    """Find the model and settle the chunker.

    Raises:
        ModelNotFoundError: The model is not on this machine and cannot be had.
        ConfigError: The chunker does not fit the model.
    """
    model = find_model(config)
    chunking = config.chunking
    if not isinstance(model, LocalModel):
        # A server's tokens cannot be counted here.
        chunking = chunking.model_copy(update={"strategy": "characters"})
    chunker = resolve_chunker(
        chunking,
        max_tokens=model.spec.max_tokens,
        special_tokens=_tokens_beside_the_text(model) if isinstance(model, LocalModel) else 0,
    )
    return Recipe(model, chunker)


def _tokens_beside_the_text(model: LocalModel) -> int:
    tokenizer = load_tokenizer(model)
    prompt = tokenizer.encode(model.spec.document_prompt, add_special_tokens=False)
    return tokenizer.num_special_tokens_to_add(is_pair=False) + len(prompt.ids)


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that can be carried out: every part of it was looked at before any work."""

    scan: Scan
    recipe: Recipe
    collections: Collections


def check_request(config: WorkersConfig, request: IngestRequest) -> Checked:
    """Check the name, the paths, the model and the collection's settings.

    Raises:
        UsageError: One of them does not fit.
    """
    validate_name(request.collection)
    scan = Scan(request.paths, allowed_roots=config.allowed_roots)
    recipe = read_recipe(config)
    collections = Collections(config.paths.lancedb)
    if collections.exists(request.collection):
        collections.open(request.collection).check_settings(recipe.settings)
    return Checked(scan, recipe, collections)


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


def make_tools(config: WorkersConfig, recipe: Recipe, embedder: Embedder, job_id: str) -> Tools:
    """Return the tools of one worker, with a parser process of its own."""
    return Tools(
        parser=SandboxedParser(config.parser, ParsedStore(config.paths.parsed)),
        chunker=Chunker(recipe.chunker, tokenizer_of(recipe.model)),
        embedder=embedder,
        dimension=recipe.model.spec.dimension,
        job_id=job_id,
        scratch=config.paths.scratch / job_id,
    )
