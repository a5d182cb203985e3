"""Contracts that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.contracts import read_tables
from lakehouse.errors import ContractError


def failure(folder: Path, files: dict[str, str]) -> ContractError:
    """What is said of a folder with these files."""
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    with pytest.raises(ContractError) as caught:
        read_tables([folder])
    return caught.value
