"""This repository's own modules as a corpus: real code that is always there."""

from __future__ import annotations

from pathlib import Path

from dgemma_training.documents import Document, Split, write_documents

ROOT = Path(__file__).parent.parent.parent


def documents() -> list[Document]:
    """The modules of the language server, every eighth kept for validation."""
    return [
        Document(
            path.read_text(encoding="utf-8"),
            "python",
            "dgemma",
            "0",
            "Apache-2.0",
            path.name,
            Split.VALIDATION if number % 8 == 0 else Split.TRAIN,
        )
        for number, path in enumerate(sorted((ROOT / "dgemma_lsp").rglob("*.py")))
        if path.stat().st_size > 2000
    ]


def corpus(folder: Path) -> Path:
    """Write the documents as a corpus."""
    write_documents(folder, documents())
    return folder
