"""Encoders of random weights, two layers each, with tokenizers of their own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.embedding_models import real_texts

QUERY_PROMPT, DOCUMENT_PROMPT = "find: ", "read: "
VOCABULARY = 600
WIDTH = 32


def save_small_model(folder: Path, kind: str, *, pooling: str, seed: int = 0) -> Path:
    """Save a model of transformers' `kind` in the layout of sentence-transformers."""
    import torch
    import transformers

    torch.manual_seed(seed)
    tokenizer = _tokenizer(kind)
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "distilbert":
        sizes = {"dim": WIDTH, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    if kind == "t5":
        sizes = {"d_model": WIDTH, "num_layers": 2, "num_heads": 4, "d_kv": 8, "d_ff": 64}
    config = transformers.AutoConfig.for_model(
        kind,
        **sizes,
        vocab_size=len(tokenizer),
        intermediate_size=64,
        max_position_embeddings=130,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        # Larger than usual: with tiny weights all texts would have nearly the same vector.
        initializer_range=0.3,
    )
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    files: dict[str, object] = {
        "modules.json": [
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        ],
        "1_Pooling/config.json": {"pooling_mode": pooling},
        "config_sentence_transformers.json": {
            "prompts": {"query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def _tokenizer(kind: str):
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if kind in ("roberta", "xlm-roberta", "mpnet"):
        special = ["<s>", "<pad>", "</s>", "<unk>"]
    pad, unknown, start, end = (
        next(token for token in special if word in token)
        for word in (
            ("PAD", "UNK", "CLS", "SEP") if "[" in special[0] else ("pad", "unk", "<s>", "</s>")
        )
    )
    if kind == "xlm-roberta":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=VOCABULARY, special_tokens=special, unk_token=unknown
        )
    elif kind in ("roberta", "modernbert"):
        tokenizer = Tokenizer(models.BPE(unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special)
    tokenizer.train_from_iterator(real_texts(60), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=start,
        sep_token=end,
        bos_token=start,
        eos_token=end,
        model_max_length=128,
    )
