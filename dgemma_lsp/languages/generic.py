"""Any language we have no rules for: brackets, quotes and indentation only."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language

GENERIC = Language(
    name="generic",
    ids=(),
    extensions=(),
    grammar=None,
    block=BlockRule.INDENT,
    opener=r"[:{]\s*$",
)
