"""One finished study, made once; a test gets its own copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.analysis.make_study import make_study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory) -> Path:
    """Read it, do not write to it."""
    return make_study(tmp_path_factory.mktemp("finished") / "study")


@pytest.fixture
def study(finished_study, tmp_path) -> Path:
    """The study below the test's own directory."""
    return Path(shutil.copytree(finished_study, tmp_path / "study"))
