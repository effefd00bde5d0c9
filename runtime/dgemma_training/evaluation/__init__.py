"""Measures models on holes in source code: the product as it is, its rivals, and how sure one is."""
