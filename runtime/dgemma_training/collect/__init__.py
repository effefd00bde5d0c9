"""Collects the source code that models are trained and measured on, from package registries."""

from dgemma_training.collect.pipeline import Summary, collect

__all__ = ["Summary", "collect"]
