"""Texts that everything is warmed up with: they are in no corpus, so that no cache holds more."""

WARM_UP = [f"words to warm up with, {number} of them" for number in range(32)]
