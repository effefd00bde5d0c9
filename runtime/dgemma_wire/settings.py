"""What a runtime is started with; the ``runtime`` part of the one settings schema.

Names are camelCase in editors and JSON, and kebab-case as flags of ``dgemma-runtime``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class RuntimeSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """Settings of the runtime process."""

    model: Annotated[
        str,
        Meta(
            description="The model to run: `embedded` for the small one that ships with dgemma, "
            "another name of `dgemma models list`, or the folder of a DiffusionGemma checkpoint."
        ),
    ] = "embedded"
    device: Annotated[
        str,
        Meta(
            description="Where to run the model: `auto` (CUDA when there is a device, else the "
            "CPU), `cpu`, `cuda` or `cuda:1`.",
            pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        ),
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "bfloat16", "float32", "fp8", "int4"],
        Meta(
            description="Number format of the weights: `auto` is bfloat16 on GPUs and on CPUs "
            "that compute in it, float32 elsewhere. `fp8` and `int4` pack the large weights of "
            "DiffusionGemma; on a GPU `auto` takes the widest of the three that fits its free "
            "memory."
        ),
    ] = "auto"
    threads: Annotated[
        int,
        Meta(description="CPU threads of the model; 0 takes one per physical core.", ge=0, le=256),
    ] = 0
    offline: Annotated[
        bool,
        Meta(description="Never fetch model files; fail with a message when they are missing."),
    ] = False
    mirror: Annotated[
        str,
        Meta(
            description="Address of a mirror of the model hub that models are pulled from, as "
            "`https://host`; empty takes DGEMMA_MIRROR or HF_ENDPOINT of the environment, or the "
            "hub itself."
        ),
    ] = ""
    vllm_files: Annotated[
        str,
        Meta(
            description="For a model on a vLLM server (`vllm:https://HOST:PORT` as `model`): "
            "folder with the `config.json` and `tokenizer.json` of the model it serves."
        ),
    ] = ""
    vllm_ca_file: Annotated[
        str,
        Meta(
            description="For a model on a vLLM server: file with the certificates of the authority "
            "that signed its own. Empty: those that the system trusts."
        ),
    ] = ""
    vllm_timeout_s: Annotated[
        int,
        Meta(
            description="For a model on a vLLM server: seconds that one answer may take.",
            ge=1,
            le=600,
        ),
    ] = 30
    vllm_allow_http: Annotated[
        bool,
        Meta(
            description="For a model on a vLLM server: let addresses of other machines be "
            "unencrypted, for networks that nobody else can read."
        ),
    ] = False
    idle_unload_s: Annotated[
        int,
        Meta(
            description="Seconds without a request after which the model leaves memory; "
            "0 keeps it.",
            ge=0,
        ),
    ] = 900
    idle_exit_s: Annotated[
        int,
        Meta(
            description="Seconds without an editor connected after which the process ends; "
            "0 keeps it.",
            ge=0,
        ),
    ] = 1800
