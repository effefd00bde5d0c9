"""Texts and their syntax trees; knows no protocol and no model."""
