"""Measures models on holes in source code: the product as it is, and what it has to beat."""
