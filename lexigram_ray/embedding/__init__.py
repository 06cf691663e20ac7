"""Texts into vectors: find a model, tokenise, run it, keep every vector by its text's hash."""
