"""How a model is to be used, as its own configuration files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.embedding.model_files import ModelFiles, read_json

SUPPORTED_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
SUPPORTED_POOLING = ("mean", "cls")
DEFAULT_MAX_TOKENS = 512
SENTENCE_TRANSFORMERS_CONFIG = "config_sentence_transformers.json"
# These count positions from the padding token's id on, so their tables hold that many too many.
OFFSET_POSITIONS = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "lilt",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# Their layers reach across the mask, or change for good at a short batch: a text's vector changes
# with the texts beside it, or before it.
PADDING_CHANGES_VECTORS = frozenset(
    {"convbert", "funnel", "nystromformer", "yoso", "big_bird", "bigbird_pegasus"}
)
OTHER_MODEL_HINT = "use another model, such as sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What the configuration files say.

    Attributes:
        dimension: Length of a vector.
        kept_dimension: How many of its numbers are kept, from the first on.
        max_tokens: The limit of a text, special tokens included.
        pooling: `mean` or `cls`.
        normalize: Whether a normalising module follows.
        query_prompt: Put before a query.
        document_prompt: Put before a document.
        lower_case: Whether texts are lower-cased, whatever the tokenizer does.
    """

    dimension: int
    kept_dimension: int
    max_tokens: int
    pooling: str
    normalize: bool
    query_prompt: str
    document_prompt: str
    lower_case: bool


def read_settings(files: ModelFiles, name: str) -> ModelSettings:
    """Read how the model is to be used.

    Raises:
        ConfigError: It has a module, a pooling or an architecture that this engine does not
            compute, or keeps more numbers than there are.
    """
    unsupported = [kind for kind in files.modules if kind not in SUPPORTED_MODULES]
    if unsupported:
        raise ConfigError(
            f"model {name} has a {unsupported[0]} module, which is not supported",
            hint=OTHER_MODEL_HINT,
        )
    config = read_json(files.transformer / "config.json")
    if config.get("model_type") in PADDING_CHANGES_VECTORS:
        raise ConfigError(
            f"model {name} is a {config['model_type']}, whose vectors change with other texts",
            hint=OTHER_MODEL_HINT,
        )
    sentence = _sentence_config(files)
    query, document = _prompts(files)
    dimension = _dimension(config, name)
    return ModelSettings(
        dimension=dimension,
        kept_dimension=_kept_dimension(files, dimension, name),
        max_tokens=_max_tokens(files, config, sentence),
        pooling=_pooling(files, name),
        normalize="Normalize" in files.modules,
        query_prompt=query,
        document_prompt=document,
        lower_case=sentence.get("do_lower_case") is True,
    )


def _sentence_config(files: ModelFiles) -> dict[str, object]:
    found = sorted(files.transformer.glob("sentence_*_config.json"))
    return read_json(found[0]) if found else {}


def _dimension(config: dict[str, object], name: str) -> int:
    # DistilBERT says `dim`, T5 `d_model`, XLM `emb_dim`; the others `hidden_size`.
    for key in ("hidden_size", "dim", "d_model", "n_embd", "emb_dim"):
        value = config.get(key)
        if isinstance(value, int):
            return value
    raise ConfigError(f"model {name}: config.json names no hidden size", hint=OTHER_MODEL_HINT)


def _kept_dimension(files: ModelFiles, dimension: int, name: str) -> int:
    # sentence-transformers takes it as an argument of its class; models note it here for others.
    kept = read_json(files.root / SENTENCE_TRANSFORMERS_CONFIG).get("truncate_dim")
    if kept is None:
        return dimension
    if not isinstance(kept, int) or not 1 <= kept <= dimension:
        raise ConfigError(
            f"model {name}: {SENTENCE_TRANSFORMERS_CONFIG} says truncate_dim {kept!r}, and its "
            f"vectors have {dimension} numbers",
            hint="correct it there",
        )
    return kept


def _max_tokens(files: ModelFiles, config: dict[str, object], sentence: dict[str, object]) -> int:
    tokenizer = read_json(files.transformer / "tokenizer_config.json")
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in OFFSET_POSITIONS:
        pad = config.get("pad_token_id")
        positions -= (pad if isinstance(pad, int) else 1) + 1
    said = sentence.get("max_seq_length") or tokenizer.get("model_max_length")
    limits = [limit for limit in (said, positions) if isinstance(limit, int) and limit > 0]
    # Without limits of its own, a tokenizer says 10**30.
    return min([*limits, 1 << 20]) if limits else DEFAULT_MAX_TOKENS


def _pooling(files: ModelFiles, name: str) -> str:
    config = read_json(files.pooling) if files.pooling is not None else {}
    mode = config.get("pooling_mode") or _old_pooling(config)
    modes = cast("list[object]", mode) if isinstance(mode, list) else [mode]
    if modes == [None]:
        return "mean"
    if (
        len(modes) != 1
        or modes[0] not in SUPPORTED_POOLING
        or not config.get("include_prompt", True)
    ):
        what = (
            "prompts left out" if modes[0] in SUPPORTED_POOLING else " and ".join(map(str, modes))
        )
        raise ConfigError(
            f"model {name} pools by {what}; only {' and '.join(SUPPORTED_POOLING)} are supported",
            hint=OTHER_MODEL_HINT,
        )
    return str(modes[0])


def _old_pooling(config: dict[str, object]) -> list[object] | None:
    names = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
    prefix = "pooling_mode_"
    said = [
        names.get(key.removeprefix(prefix), key.removeprefix(prefix))
        for key, value in config.items()
        if key.startswith(prefix) and value is True
    ]
    return list[object](said) or None


def _prompts(files: ModelFiles) -> tuple[str, str]:
    config = read_json(files.root / SENTENCE_TRANSFORMERS_CONFIG)
    prompts = config.get("prompts")
    if not isinstance(prompts, dict):
        return "", ""
    named = cast("dict[str, object]", prompts)
    fallback = named.get(str(config.get("default_prompt_name")), "")
    query = named.get("query", fallback)
    document = next(
        (named[key] for key in ("document", "passage", "corpus") if key in named), fallback
    )
    return str(query or ""), str(document or "")
