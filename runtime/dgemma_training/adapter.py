"""The trainable part: low-rank factors on every matrix of the canvas pass, and a few rows.

Owns the parameters, their file format and its quantisation. Knows nothing of batches or losses.
The file is the one ``dgemma_runtime.models.causal_canvas`` reads.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dgemma_runtime.models.canvas_weights import DRAFT_ROW, LINEARS, Dims, Trunk, rank_of, whole
from dgemma_wire.errors import ModelError

ROWS = ("input.mask", "input.fill", DRAFT_ROW, "output.fill")
"""Rows of the embedding and of the output head that the canvas pass has for itself.

``input.mask``: an undecided position; ``input.fill``: a slot behind the span's end;
``input.draft``: added to the expected embedding of an undecided position once there is a draft;
``output.fill``: predicts the end of the span.
"""


def shapes(dims: Dims, inner: int) -> dict[str, tuple[int, int]]:
    """Return (in, out) of each adapted matrix, by its name in the file."""
    heads = dims.heads * dims.head_dim
    return {
        "qkv": (dims.hidden, heads + 2 * dims.kv_heads * dims.head_dim),
        "out": (heads, dims.hidden),
        "gate_up": (dims.hidden, 2 * inner),
        "down": (inner, dims.hidden),
    }


class CanvasLora(nn.Module):
    """Low-rank factors in float32; the matrices they change stay frozen elsewhere.

    Attributes:
        first: (rank, in) of every matrix, keyed ``{layer}_{name}``.
        second: (out, rank), zero at the start, so that training begins at the untouched model.
        rows: The rows of ``ROWS``, each (hidden,).
    """

    def __init__(self, trunk: Trunk, *, rank: int, end_like: int, generator: torch.Generator):
        super().__init__()
        dims = trunk.dims
        sizes = shapes(dims, trunk.layers[0].down.shape[1])
        self.rank = rank
        self.layers = dims.layers
        self.first = nn.ParameterDict()
        self.second = nn.ParameterDict()
        for layer in range(dims.layers):
            for name, (inputs, outputs) in sizes.items():
                start = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
                self.first[f"{layer}_{name}"] = nn.Parameter(start)
                self.second[f"{layer}_{name}"] = nn.Parameter(torch.zeros(outputs, rank))
        embedding = trunk.embedding.float().cpu()
        mean = embedding.mean(0)
        like_newline = embedding[end_like]
        self.rows = nn.ParameterDict(
            {
                _key("input.mask"): nn.Parameter(mean.clone()),
                _key("input.fill"): nn.Parameter(like_newline.clone()),
                _key(DRAFT_ROW): nn.Parameter(mean.clone()),
                # A span often ends where a line does, which the base can already tell.
                _key("output.fill"): nn.Parameter(like_newline.clone()),
            }
        )

    def row(self, name: str) -> Tensor:
        """Return a row of ``ROWS`` (hidden,)."""
        return self.rows[_key(name)]

    def factors(self, dtype: torch.dtype) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """Return per layer and matrix the two factors, cast for a forward pass."""
        return [
            {
                name: (
                    self.first[f"{layer}_{name}"].to(dtype),
                    self.second[f"{layer}_{name}"].to(dtype),
                )
                for name in LINEARS
            }
            for layer in range(self.layers)
        ]

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters under the names of the file, in float32."""
        return file_tensors(dict(self.named_parameters()))

    @torch.no_grad()
    def start_from(self, tensors: dict[str, Tensor]) -> None:
        """Take over an adapter of the same or a smaller rank.

        A smaller one fills the first ``rank`` factors; the others start as they were made, which
        changes nothing at first since their second factors are zero.

        Raises:
            ModelError: A tensor is missing, of a higher rank, or of another base's shape.
        """
        for layer in range(self.layers):
            for name in LINEARS:
                first, second = self.first[f"{layer}_{name}"], self.second[f"{layer}_{name}"]
                key = f"layers.{layer}.{name}"
                rank = rank_of(tensors, key)
                if rank > self.rank:
                    raise ModelError(
                        f"The adapter to start from has the rank {rank}, which does not fit into "
                        f"{self.rank}: give that rank or a higher one."
                    )
                first[:rank].copy_(whole(tensors, f"{key}.lora_a", (rank, first.shape[1])))
                second[:, :rank].copy_(whole(tensors, f"{key}.lora_b", (second.shape[0], rank)))
        for name in ROWS:
            # Adapters without self-conditioning lack the draft row; a draft is masked text.
            source = "input.mask" if name == DRAFT_ROW and name not in tensors else name
            row = self.row(name)
            row.copy_(whole(tensors, source, tuple(row.shape)))


def file_tensors(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters of a ``CanvasLora`` under the names of the file, in float32."""
    rows = {f"rows.{_key(name)}": name for name in ROWS}
    found = {}
    for name, tensor in parameters.items():
        if name in rows:
            key = rows[name]
        else:
            which, place = name.split(".")
            layer, _, matrix = place.partition("_")
            key = f"layers.{layer}.{matrix}.lora_{'a' if which == 'first' else 'b'}"
        found[key] = tensor.detach().float().cpu().contiguous()
    return found


def _key(name: str) -> str:
    return name.replace(".", "_")  # a parameter's name may not hold a dot


def quantise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the factors as int8 with one float16 scale per row; the single rows as bfloat16.

    Symmetric round-to-nearest. The scale is rounded to float16 before it divides, so that the
    stored pair is the best one for the scale that is really used.
    """
    small: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            small[name] = tensor.to(torch.bfloat16)
            continue
        scale = (tensor.abs().amax(1) / 127).clamp_min(1e-7).half()
        small[name] = (tensor / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
        small[f"{name}.scale"] = scale
    return small


def balance(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same products with every rank's two factors of equal length.

    A rank whose one factor is long and the other short loses more to int8 rows than it must.
    """
    even = dict(tensors)
    for name in [name for name in tensors if name.endswith(".lora_a")]:
        first, second = tensors[name], tensors[f"{name[:-1]}b"]
        ratio = second.norm(dim=0).clamp_min(1e-8) / first.norm(dim=1).clamp_min(1e-8)
        even[name] = first * ratio.sqrt()[:, None]
        even[f"{name[:-1]}b"] = second / ratio.sqrt()[None, :]
    return even


def save_adapter(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write an adapter file in one go."""
    scratch = path.with_suffix(".part")
    save_file({name: t.contiguous() for name, t in tensors.items()}, str(scratch), metadata)
    scratch.replace(path)
