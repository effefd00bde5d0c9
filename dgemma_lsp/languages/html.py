"""HTML; what stands in ``<script>`` and ``<style>`` is read by ``infill.injections``."""

from __future__ import annotations

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.grammar import GrammarSource

_INLINE = "a|abbr|b|button|cite|code|em|h[1-6]|i|kbd|label|option|q|small|span|strong|sub|sup"
_VOID = "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"

HTML = Language(
    name="html",
    ids=("html", "xhtml"),
    extensions=(".html", ".htm", ".xhtml"),
    grammar=GrammarSource("html", "tree_sitter_html"),
    block=BlockRule.WORDS,
    # Elements that hold a few words are written on one line.
    opener=rf"<(?!(?:{_VOID}|{_INLINE}|textarea|time|title|u)\b)[A-Za-z][^<>]*(?<!/)>\s*$",
    block_closer="</",
    block_comment=("<!--", "-->"),
    # An apostrophe is a letter in text, and most of a page is text.
    quotes=('"',),
    brackets=(("<", ">"),),
    fillers=("x>", 'x="x"'),
    block_nodes=frozenset({"document", "element", "script_element", "style_element"}),
    opaque_nodes=frozenset({"quoted_attribute_value", "comment"}),
    bracket_nodes=frozenset({"start_tag", "end_tag", "self_closing_tag"}),
    fault_nodes=frozenset({"erroneous_end_tag"}),
)
