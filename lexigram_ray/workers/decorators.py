"""Kept for its name: the workers have no decorators."""
