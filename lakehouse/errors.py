"""The one exception tree. Every error names the thing, what was expected and found, and what to do.

LakehouseError
├── SettingsError              a setting is missing, unknown or contradicts another
├── ContractError              a table's declaration cannot be used; carries file and line
├── StateError                 the state folder or warehouse is full, read-only, or was moved
├── ServiceError               an embedded or local service does not start, or its port is taken
├── SourceError                rows cannot be read from where they come from
│   ├── SourceUnreachable      no answer from the server, or no such folder
│   ├── SourceRefused          it answered, and denied access
│   └── SourceChanged          a table, column or field that the contract names is not there
├── LoadRejected               a load publishes nothing: too many of its rows break the contract, or it lost some
├── AuditFailed                rows break a blocking rule of their contract, so they stay on their branch
├── CatalogError               the catalog does not answer, or answers what it must not
│   └── TableMissing           no such Iceberg table
├── CommitError                nothing became visible on the ref that was written to
│   ├── CommitConflict         another writer changed what this commit relies on
│   ├── Fenced                 the scope's progress is not what this writer expected
│   ├── RunKeyTooOld           the run key is older than what the table remembers of its runs
│   ├── BranchMissing          the branch is not there (any more)
│   └── PublishConflict        main moved since the branch was made
├── SchemaMismatch             rows do not have the columns or types the contract declares
├── TransformError             a model does not compile, or its SQL fails
└── QueryError                 a query over the lake is wrong or not read-only
    └── SnapshotMissing        the state asked for is not kept any more, or never was on the ref that is read

What does not belong here: how an error is shown (`cli/`), and exceptions of libraries, which are turned into
these at the border of the layer that calls the library.
"""

from __future__ import annotations


class LakehouseError(Exception):
    """Root of the tree.

    `what` names the thing and what happened to it; `expected` and `found` are stated where they help; `remedy` says
    what to do, as an imperative sentence.
    """

    def __init__(self, what: str, *, expected: str | None = None, found: str | None = None, remedy: str) -> None:
        self.what = what
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(what, expected, found, remedy)

    def __str__(self) -> str:
        """One paragraph: what, expected, found, remedy."""
        parts = [self.what.rstrip(".")]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        return f"{'; '.join(parts)}. {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword-only arguments survive pickling between Dagster's processes."""
        return _rebuild, (type(self), self.what, self.__dict__)


def _rebuild(kind: type[LakehouseError], what: str, state: dict[str, object]) -> LakehouseError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (what,)
    return error


class SettingsError(LakehouseError):
    """A setting is missing, unknown or contradicts another."""


class ContractError(LakehouseError):
    """A table's declaration cannot be used. `what` begins with `file:line`."""


class StateError(LakehouseError):
    """The state folder or the warehouse is full, read-only, or was moved."""


class ServiceError(LakehouseError):
    """An embedded or local service does not start, or its port is taken."""


class SourceError(LakehouseError):
    """Rows cannot be read from where they come from."""


class SourceUnreachable(SourceError):
    """No answer from the server, or no such folder."""


class SourceRefused(SourceError):
    """The source answered and denied access."""


class SourceChanged(SourceError):
    """A table, column or field that the contract names is not there."""


class LoadRejected(LakehouseError):
    """A load publishes nothing: more of its rows break the contract than it allows, or their numbers do not add up."""


class AuditFailed(LakehouseError):
    """Rows break a blocking rule of their contract, so they stay on their branch."""


class CatalogError(LakehouseError):
    """The catalog does not answer, or answers what it must not."""


class TableMissing(CatalogError):
    """No such Iceberg table."""


class CommitError(LakehouseError):
    """Nothing became visible on the ref that was written to."""


class CommitConflict(CommitError):
    """Another writer changed what this commit relies on."""


class Fenced(CommitError):
    """The scope's progress is not what this writer expected: another writer has been here."""


class RunKeyTooOld(CommitError):
    """The run key is older than what the table remembers of its runs: whether it has written is not known."""


class BranchMissing(CommitError):
    """The branch is not there (any more)."""


class PublishConflict(CommitError):
    """Main moved since the branch was made."""


class SchemaMismatch(LakehouseError):
    """Rows do not have the columns or types the contract declares."""


class TransformError(LakehouseError):
    """A model does not compile, or its SQL fails."""


class QueryError(LakehouseError):
    """A query over the lake is wrong or not read-only."""


class SnapshotMissing(QueryError):
    """The state asked for is not kept any more, or never was on the ref that is read."""
