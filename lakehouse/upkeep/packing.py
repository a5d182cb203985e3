"""Which files shall become one: bins of small files, and files that are worth a rewrite for what lies on them. Pure.

What else a plan holds is `plan.py`; how files are rewritten, `iceberg/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lakehouse.iceberg import LiveFile
from lakehouse.upkeep.policy import Policy


class Reason(StrEnum):
    """Why a group of files is rewritten."""

    SMALL = "small files"
    DELETES = "deleted rows"
    SPEC = "an older partitioning"


@dataclass(frozen=True)
class Group:
    """Files of one partition that become one, in the order of their sequence numbers. `bytes` and `rows` before."""

    files: tuple[str, ...]
    partition: str
    bytes: int
    rows: int
    reason: Reason


def plan_compaction(files: Sequence[LiveFile], policy: Policy) -> tuple[Group, ...]:
    """Bins of at most the target size, filled by partition in the order of sequence numbers.

    In that order, for a rewritten file counts as changed when the newest of its rows did. Files under equality deletes
    are left out: only the program that wrote those can apply them.
    """
    partitions: dict[str, list[LiveFile]] = {}
    for file in files:
        if not file.equality_deletes and (file.bytes < policy.small_below or _must(file, policy) is not None):
            partitions.setdefault(file.partition, []).append(file)
    return tuple(group for _, found in sorted(partitions.items()) for group in _groups(found, policy))


def _groups(files: Sequence[LiveFile], policy: Policy) -> Iterator[Group]:
    ordered = sorted(files, key=lambda file: (file.sequence, file.path))
    for together in _bins(_in_company(ordered, policy), policy.target_bytes):
        # Bins part files that were company to each other.
        chosen = _in_company(together, policy)
        reason = _worth(chosen, policy)
        if reason is not None:
            yield Group(
                files=tuple(file.path for file in chosen),
                partition=chosen[0].partition,
                bytes=sum(file.bytes for file in chosen),
                rows=sum(file.rows for file in chosen),
                reason=reason,
            )


def _must(file: LiveFile, policy: Policy) -> Reason | None:
    """Why a file is worth a rewrite all by itself."""
    if not file.current_spec:
        return Reason.SPEC
    many = file.delete_files >= policy.most_delete_files
    hidden = file.deleted_rows > 0 and file.deleted_rows >= policy.deleted_share * file.rows
    return Reason.DELETES if many or hidden else None


def _fresh(file: LiveFile, policy: Policy) -> bool:
    return not file.packed or _must(file, policy) is not None


def _in_company(files: Sequence[LiveFile], policy: Policy) -> list[LiveFile]:
    """The files, but those that a rewrite made and for which there is too little new beside them."""
    company = sum(file.bytes for file in files if _fresh(file, policy))
    packed = sorted((file for file in files if not _fresh(file, policy)), key=lambda file: file.bytes)
    left_out: set[str] = set()
    for file in packed:
        if company > 0 and company >= policy.growth * file.bytes:
            company += file.bytes
        else:
            left_out.add(file.path)
    return [file for file in files if file.path not in left_out]


def _bins(files: Sequence[LiveFile], target: int) -> Iterator[list[LiveFile]]:
    """The files one after the other, a new bin where the next would not fit; the newest first.

    So what is new meets what was packed last: filled from the oldest on, packed files would stay in bins by themselves.
    """
    filled, together = 0, list[LiveFile]()
    for file in reversed(files):
        if together and filled + file.bytes > target:
            yield together[::-1]
            filled, together = 0, []
        filled += file.bytes
        together.append(file)
    if together:
        yield together[::-1]


def _worth(files: Sequence[LiveFile], policy: Policy) -> Reason | None:
    """Why a bin is rewritten; None if it is not. What rewrites made is never rewritten for itself alone."""
    musts = {_must(file, policy) for file in files}
    for reason in (Reason.SPEC, Reason.DELETES):
        if reason in musts:
            return reason
    enough = len(files) >= policy.min_files or sum(file.bytes for file in files) >= policy.small_below
    return Reason.SMALL if len(files) > 1 and enough and any(not file.packed for file in files) else None
