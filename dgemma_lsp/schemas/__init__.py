"""Structured documents as values, and whether they keep to a JSON Schema on this machine.

``values`` and ``from_*`` read JSON, YAML and TOML; ``check`` compares with a schema; ``store``
finds schemas and keeps those it has read. Nothing here opens a connection.
"""
