"""Makes and measures the models of dgemma: data, canvas training, evaluation."""

from __future__ import annotations

from dgemma_runtime.environment import prepare

# Torch's libraries read it when they are loaded, and any module here may be the first to do that.
prepare()
