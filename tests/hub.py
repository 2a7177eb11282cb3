"""Fixture `hub`: a stand-in Hugging Face Hub of its own for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.hub import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A running stand-in Hub; real clients reach it through `hub.environment()`."""
    with Hub(tmp_path / "hub") as running:
        yield running
