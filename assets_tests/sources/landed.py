"""Files in a landing folder, and what is read from them."""

from __future__ import annotations

from pathlib import Path

from lakehouse.sources import Broken, Chunk, Extract

PAYMENT = {"payment_id": "string", "amount": "decimal(10, 2)"}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def chunks_of(extract: Extract | None) -> list[Chunk]:
    assert extract is not None
    return list(extract.chunks)


def rows_of(chunks: list[Chunk]) -> list[tuple[str, dict[str, object]]]:
    """Each row with its coordinates."""
    return [(chunk.coordinate(place), row) for chunk in chunks for place, row in enumerate(chunk.rows.to_pylist())]


def broken_of(chunks: list[Chunk]) -> list[Broken]:
    return [record for chunk in chunks for record in chunk.broken]
