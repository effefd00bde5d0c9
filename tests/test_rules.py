"""The project's rules as tests: who imports whom, what is generated, what is formatted."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE_LSP = ("infill", "context", "languages", "syntax", "documents", "ignored")
TORCH = {"torch", "transformers", "safetensors", "gguf", "numpy"}
OURS = {"dgemma_lsp", "dgemma_wire", "dgemma_runtime", "dgemma_training"}

MAY_NEVER: dict[str, set[str]] = {
    "dgemma_lsp": {"dgemma_runtime", "dgemma_training"} | TORCH,
    "runtime/dgemma_wire": {"asyncio", "socket", "pygls", "lsprotocol", "dgemma_lsp"}
    | {"dgemma_runtime", "dgemma_training"}
    | TORCH,
    "runtime/dgemma_runtime": {"pygls", "lsprotocol", "tree_sitter", "dgemma_lsp"}
    | {"dgemma_training"},
    "runtime/dgemma_training": {"pygls", "lsprotocol"},
}
WITHOUT_TORCH = ["server", "scheduler", "worker", "job", "process", "memory", "cli", "canvas"]
WITHOUT_TORCH += ["text", "encoding", "__main__", "engine/base", "engine/__init__", "models/base"]
WITHOUT_TORCH += ["environment", "prompt/__init__", "prompt/base", "prompt/raw", "prompt/gemma"]
WITHOUT_TORCH += ["engine/starts", "engine/asked", "models/masked_spec"]
WITHOUT_TORCH += ["engine/reading", "remote/__init__", "remote/engine", "remote/servers"]
WITHOUT_TORCH += ["remote/contract", "remote/pool", "remote/greeting"]
WITHOUT_TORCH += ["models/checkpoint_files", "models/loading"]
WITHOUT_TORCH += [
    f"catalog/{name}"
    for name in (
        *("__init__", "command", "counts", "device_memory", "folders", "hub", "memory_plan"),
        *("packed", "planned", "pull", "show", "transfer", "verify"),
    )
]


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, *, top: bool = False) -> Iterator[tuple[str, int]]:
    """Yield every imported module; only those of the module's own level when ``top``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module, node.lineno


@pytest.mark.parametrize("folder", MAY_NEVER)
def test_import_directions(folder: str) -> None:
    for path in python_files(folder):
        for module, line in imports(path):
            root = module.split(".")[0]
            assert root not in MAY_NEVER[folder], f"{path}:{line} imports {module}"
            assert root != "runtime", f"{path}:{line} imports the folder, not a package"


def test_the_infill_core_does_no_io() -> None:
    banned = {"pygls", "lsprotocol", "asyncio", "socket", "dgemma_wire"}
    for name in PURE_LSP:
        path = ROOT / "dgemma_lsp" / name
        for file in (
            python_files(f"dgemma_lsp/{name}") if path.is_dir() else [path.with_suffix(".py")]
        ):
            for module, line in imports(file):
                assert module.split(".")[0] not in banned, f"{file}:{line} imports {module}"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_sockets_and_queue_know_no_torch(name: str) -> None:
    path = ROOT / "runtime/dgemma_runtime" / f"{name}.py"
    for module, line in imports(path, top=True):
        assert module.split(".")[0] not in TORCH, f"{path}:{line} imports {module}"


def test_engine_and_models_know_no_sockets() -> None:
    for folder in ("engine", "models"):
        for path in python_files(f"runtime/dgemma_runtime/{folder}"):
            for module, line in imports(path):
                banned = module.split(".")[0] in ("asyncio", "socket")
                banned |= module == "dgemma_wire.connection"
                assert not banned, f"{path}:{line} imports {module}"


def test_the_server_process_has_no_torch() -> None:
    code = (
        "import sys, dgemma_lsp.server, dgemma_lsp.cli.main, dgemma_lsp.cli.fill;"
        "dgemma_lsp.server.create_server('0');"
        "sys.exit(','.join(m for m in ('torch', 'transformers', 'numpy') if m in sys.modules) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_runtime_starts_without_torch_too() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import importlib.util;"
        "find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda n, *a: None if n == 'torch' else find(n, *a);"
        "from dgemma_runtime.cli import main; sys.exit(main([]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "pip install 'dgemma[runtime]'" in ran.stderr


def test_generated_files_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.generated().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run `make generate`"


def test_the_wire_version_belongs_to_the_wire() -> None:
    """Who changes a message's shape must look at PROTOCOL_VERSION, then write the pair here."""
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    found = re.search(r"Protocol version \*\*(\d+)\*\*, shape `(\w+)`", text)
    assert found is not None
    assert found.groups() == ("4", "eb73039605fb")


def test_version_is_the_changelogs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == project["version"]


def test_every_module_says_what_it_owns_and_stays_short() -> None:
    for folder in MAY_NEVER:
        for path in python_files(folder):
            text = path.read_text(encoding="utf-8")
            assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
            assert text.count("\n") <= 420, f"{path} is long: split it"


def test_no_urls_to_files_and_no_pickle() -> None:
    for folder in MAY_NEVER:
        for path in python_files(folder):
            for module, line in imports(path):
                assert module.split(".")[0] not in ("pickle", "marshal", "shelve"), f"{path}:{line}"
    pins = (ROOT / "constraints.txt").read_text()
    assert "://" not in pins
    assert "@" not in pins


def run_tool(*command: str) -> None:
    ran = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]


def test_format() -> None:
    run_tool("ruff", "format", "--check", ".")


def test_lint() -> None:
    run_tool("ruff", "check", ".")


def test_types() -> None:
    run_tool("basedpyright", "--pythonpath", sys.executable)


def test_links_in_the_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/*.md")]:
        if ".venv" in path.parts:
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
