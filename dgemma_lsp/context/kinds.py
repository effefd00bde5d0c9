"""Which nodes of which grammar define something: a table, one entry per grammar.

Grammars agree on the fields ``name`` and ``body`` almost everywhere; what they do not agree on is
what they call their nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Kinds:
    """The node types of one grammar that define something.

    Attributes:
        functions: What has a signature and a body.
        types: What has a head and members.
        shapes: What is all signature, such as an interface or a struct.
        values: Constants and other values, of which the first line is shown.
        through: What may hold a definition and is none itself.
        fields: Members of a type that are shown with its head.
        constructors: Names of methods that are shown with its head.
        ended: What ends a signature whose body is left out.
    """

    functions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    shapes: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    through: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    constructors: frozenset[str] = frozenset()
    ended: str = ""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SCRIPT = Kinds(
    functions=_set(
        "function_declaration generator_function_declaration function_signature method_definition "
        "method_signature abstract_method_signature"
    ),
    types=_set("class_declaration abstract_class_declaration class"),
    shapes=_set("interface_declaration type_alias_declaration enum_declaration"),
    values=_set("variable_declarator"),
    through=_set(
        "export_statement ambient_declaration lexical_declaration variable_declaration "
        "expression_statement internal_module module statement_block class_body"
    ),
    fields=_set("public_field_definition field_definition"),
    constructors=_set("constructor"),
    ended=";",
)

_C = Kinds(
    functions=_set("function_definition"),
    shapes=_set("struct_specifier union_specifier enum_specifier type_definition"),
    values=_set("declaration preproc_def preproc_function_def"),
    through=_set("preproc_ifdef preproc_if preproc_else linkage_specification declaration_list"),
    ended=";",
)

KINDS: Mapping[str, Kinds] = MappingProxyType(
    {
        "python": Kinds(
            functions=_set("function_definition"),
            types=_set("class_definition"),
            values=_set("assignment type_alias_statement"),
            through=_set(
                "decorated_definition expression_statement block if_statement try_statement "
                "else_clause except_clause"
            ),
            fields=_set("assignment"),
            constructors=_set("__init__"),
        ),
        "javascript": _SCRIPT,
        "typescript": _SCRIPT,
        "tsx": _SCRIPT,
        "go": Kinds(
            functions=_set("function_declaration method_declaration"),
            shapes=_set("type_declaration"),
            values=_set("const_spec var_spec"),
            through=_set("const_declaration var_declaration var_spec_list"),
        ),
        "rust": Kinds(
            functions=_set("function_item function_signature_item"),
            types=_set("impl_item trait_item"),
            shapes=_set("struct_item enum_item union_item type_item"),
            values=_set("const_item static_item"),
            through=_set("mod_item declaration_list"),
            constructors=_set("new"),
            ended=";",
        ),
        "java": Kinds(
            functions=_set("method_declaration constructor_declaration"),
            types=_set("class_declaration interface_declaration record_declaration"),
            shapes=_set("enum_declaration annotation_type_declaration"),
            through=_set("class_body interface_body"),
            fields=_set("field_declaration constant_declaration"),
            ended=";",
        ),
        "c-sharp": Kinds(
            functions=_set("method_declaration constructor_declaration"),
            types=_set(
                "class_declaration interface_declaration record_declaration struct_declaration"
            ),
            shapes=_set("enum_declaration delegate_declaration"),
            through=_set(
                "namespace_declaration file_scoped_namespace_declaration declaration_list"
            ),
            fields=_set("property_declaration field_declaration"),
            ended=";",
        ),
        "c": _C,
        "cpp": Kinds(
            functions=_C.functions,
            types=_set("class_specifier"),
            shapes=_C.shapes,
            values=_C.values | {"alias_declaration"},
            through=_C.through
            | _set("field_declaration_list template_declaration namespace_definition"),
            fields=_set("field_declaration"),
            ended=";",
        ),
        "php": Kinds(
            functions=_set("function_definition method_declaration"),
            types=_set("class_declaration interface_declaration trait_declaration"),
            shapes=_set("enum_declaration"),
            values=_set("const_declaration"),
            through=_set("namespace_definition compound_statement declaration_list"),
            fields=_set("property_declaration"),
            constructors=_set("__construct"),
            ended=";",
        ),
        "ruby": Kinds(
            functions=_set("method singleton_method"),
            types=_set("class"),
            values=_set("assignment"),
            through=_set("module body_statement"),
            fields=_set("assignment"),
            constructors=_set("initialize"),
        ),
        "lua": Kinds(
            functions=_set("function_declaration"),
            values=_set("assignment_statement"),
            through=_set("variable_declaration"),
        ),
    }
)
"""Grammar name to its table; what is not here has no definitions to show."""
