"""The model that ships with dgemma: package data, and how its base weights are obtained."""
