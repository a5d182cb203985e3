"""A table that a source offers, before anything is decided about it: what the source itself says, and a sample of rows.

How a source is asked belongs in `postgres.py` and `files.py`; what is made of the answer in `proposal.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

SAMPLE_ROWS = 500_000
"""The most rows of one table that are looked at."""
SAMPLE_BYTES = 512 * 1024 * 1024
"""About the most memory, as Arrow, that the rows of one table may take."""

_ODD = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class CandidateColumn:
    """A column as its source describes it. `type` (Iceberg's) and `nullable` are None where only the data can tell."""

    name: str
    type: str | None = None
    nullable: bool | None = None
    description: str = ""


@dataclass(frozen=True)
class Sample:
    """Rows of a table. `complete`: they are all of its rows. `broken`: records among them that did not parse."""

    rows: pa.Table
    complete: bool
    broken: int = 0


@dataclass(frozen=True)
class Candidate:
    """A table to propose a contract for. `label` is the source's name for it, `options` those of its load policy.

    `why` says, for the contract, why they are so where that is not plain to see; it may have several lines.
    """

    label: str
    table: str
    columns: tuple[CandidateColumn, ...]
    options: Mapping[str, object]
    sample: Sample
    description: str = ""
    primary_key: tuple[str, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Refusal:
    """A table that is left out: why, and what would help."""

    label: str
    reason: str
    remedy: str


def table_word(text: str) -> str:
    """A table's or connection's name made of any text: `Order Items (2024)` becomes `order_items_2024`."""
    word = _ODD.sub("_", _HUMP.sub("_", text).lower()).strip("_")
    return word if word[:1].isalpha() else f"t_{word}".rstrip("_")
