"""What torch's libraries read is set before torch is loaded, and what the user has set stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dgemma_runtime import environment


def test_values_of_the_user_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.prepare()
    found = {name: os.environ[name] for name in environment.ENVIRONMENT}
    assert found == environment.ENVIRONMENT | {"OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.parametrize(
    "module", ["dgemma_training", "dgemma_training.spans", "dgemma_training.evaluation.items"]
)
def test_any_module_of_the_training_comes_with_it(module: str) -> None:
    code = (
        f"import json, os, sys, {module};"
        "print(json.dumps([dict(os.environ), 'torch' in sys.modules]))"
    )
    before = {k: v for k, v in os.environ.items() if k not in environment.ENVIRONMENT}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=before)
    assert ran.returncode == 0, ran.stderr
    variables, torch_loaded = json.loads(ran.stdout)
    assert environment.ENVIRONMENT.items() <= variables.items()
    assert not torch_loaded
