"""The gate: one run's audits, and what they found. What follows from a finding is decided above.

How rules become expectations is `suite.py`, how those are run `engine.py`, which rows are shown `sample.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType

import duckdb
import structlog

from lakehouse.contracts import Declarations
from lakehouse.errors import CatalogError
from lakehouse.iceberg import MAIN, Lake
from lakehouse.quality.audit import audit
from lakehouse.quality.finding import Finding
from lakehouse.quality.judged import Judged
from lakehouse.quality.library import loading
from lakehouse.quality.masking import without_quotes
from lakehouse.quality.scope import scope_of
from lakehouse.quality.suite import rules_of
from lakehouse.quality.views import Views, first_line
from lakehouse.settings import Settings
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)


class Gate:
    """Judges tables for one run and remembers what it found. Audits are made one at a time, from any thread."""

    def __init__(self, settings: Settings, lake: Lake, declarations: Declarations) -> None:
        self.judged: list[Judged] = []
        self._settings, self._lake, self._declarations = settings, lake, declarations
        self._findings: dict[tuple[TableName, str], Finding] = {}
        self._views: Views | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def findings(self) -> Mapping[tuple[TableName, str], Finding]:
        """The last finding of each rule, by table and rule."""
        return MappingProxyType(self._findings)

    def warm(self) -> None:
        """Begin to import Great Expectations, 5 s that need nobody to wait. Answers at once; once a process."""
        loading()

    def audit(self, name: TableName, *, at: str = MAIN, rules: Collection[str] | None = None) -> tuple[Finding, ...]:
        """Judge these rules of a table (default: all) on its branch `at`; one finding each, in the contract's order.

        Other tables are read at their branch `at`, where they have it, else at main. A rule that fails or cannot be
        judged raises nothing. Raises KeyError for a table without a contract and a rule that it does not have; what the
        catalog raises, such as TableMissing; CatalogError when the table's files cannot be read.
        """
        table = self._declarations[name]
        chosen = [rule for rule in rules_of(table) if rules is None or rule.name in rules]
        if missing := set(rules or ()) - {rule.name for rule in chosen}:
            raise KeyError(", ".join(sorted(missing)))
        if not chosen:
            return ()
        with self._one_at_a_time:
            begun = time.monotonic()
            self._views = self._views or Views(self._settings, self._lake)
            rows = self._settings.quality.sample_rows
            try:
                scope = scope_of(self._settings, self._views, self._declarations, table, at, chosen)
                findings, judged = audit(self._views.connection, scope, self._declarations, sample_rows=rows)
            except duckdb.Error as error:
                raise CatalogError(
                    f"{name} cannot be read for its audit",
                    found=without_quotes(first_line(error)),
                    remedy="Check the storage, and run again.",
                ) from None
            self.judged.append(judged)
            self._findings |= {(name, finding.rule): finding for finding in findings}
        _log.info("audited", table=str(name), branch=at, rules=len(findings), seconds=time.monotonic() - begun)
        return findings
