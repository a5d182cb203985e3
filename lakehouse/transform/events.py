"""What a build reports while it runs, as values, and as the JSON lines that cross from dbt's process to ours.

No process handling (that is `run.py`) and no decision about what the events mean for publication (`publish.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lakehouse import errors
from lakehouse.errors import LakehouseError, TransformError
from lakehouse.quality.finding import Finding
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.iceberg import Commit


class Status(StrEnum):
    """How a node ended. Models succeed, err or are skipped; tests pass, warn, fail, err or are skipped."""

    SUCCESS = "success"
    PASS = "pass"  # noqa: S105  (a test's outcome, as dbt calls it)
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def good(self) -> bool:
        """Whether it stands in the way of nothing."""
        return self in {Status.SUCCESS, Status.PASS, Status.WARN}


@dataclass(frozen=True)
class ModelFinished:
    """A model was written, failed, or was skipped because something before it failed.

    `name` is `schema.model` as people write it; `table` is None for a view. `commit` is what a table's write did.
    """

    unique_id: str
    name: str
    table: TableName | None
    status: Status
    seconds: float
    message: str = ""
    commit: Commit | None = None
    error: LakehouseError | None = None


@dataclass(frozen=True)
class TestFinished:
    """A data test, unit test or audit ended. `models` are the unique ids it reads, `owner` the one it is declared on.

    `findings` are those of an audit, one a rule; its `failures` are broken rules that block, those of a test are rows.
    """

    __test__ = False  # pytest would collect it by its name

    unique_id: str
    name: str
    owner: str | None
    models: tuple[str, ...]
    status: Status
    seconds: float
    failures: int = 0
    message: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class BuildFinished:
    """The last event of every build that came to its end, good or bad: nodes by how they ended, and the wall time."""

    counts: Mapping[Status, int]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing failed, erred or was skipped."""
        return all(status.good for status, count in self.counts.items() if count)


Event = ModelFinished | TestFinished | BuildFinished


@dataclass(frozen=True)
class RawNode:
    """A node as dbt's process reports it, before the manifest says what it is."""

    unique_id: str
    status: Status
    seconds: float
    message: str
    failures: int
    commit: Commit | None
    error: LakehouseError | None

    def to_values(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**_plain(self), "commit": _commit_values(self.commit), "error": error_values(self.error)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RawNode:
        """The reverse of `to_values`."""
        built = {
            "status": Status(values["status"]),
            "commit": _commit(values["commit"]),
            "error": error_of(values["error"]),
        }
        return cls(**{**values, **built})


def _plain(node: RawNode) -> dict[str, Any]:
    return {field.name: getattr(node, field.name) for field in fields(node) if field.name not in {"commit", "error"}}


def _commit_values(commit: Commit | None) -> dict[str, Any] | None:
    return None if commit is None else {**asdict(commit), "table": str(commit.table)}


def _commit(values: dict[str, Any] | None) -> Commit | None:
    if values is None:
        return None
    from lakehouse.iceberg import Commit  # noqa: PLC0415  (two seconds, and who compiles models needs no commits)

    return Commit(**{**values, "table": TableName.parse(values["table"])})


def error_values(error: LakehouseError | None) -> dict[str, Any] | None:
    """An error of ours as JSON, so that it is the same error on the other side of the process border."""
    if error is None:
        return None
    parts = {"what": error.what, "expected": error.expected, "found": error.found, "remedy": error.remedy}
    return {"kind": type(error).__name__, **parts}


def error_of(values: dict[str, Any] | None) -> LakehouseError | None:
    """The reverse of `error_values`; a class that is not of the tree becomes a TransformError."""
    if values is None:
        return None
    kind = getattr(errors, values["kind"], TransformError)
    error: LakehouseError = kind(
        values["what"], expected=values["expected"], found=values["found"], remedy=values["remedy"]
    )
    return error
