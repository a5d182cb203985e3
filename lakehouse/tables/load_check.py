"""What every load of a bronze table is asked, whatever its contract says; answered by `ingest/findings.py`."""

from __future__ import annotations

from enum import StrEnum


class LoadCheck(StrEnum):
    """The checks beside the contract's rules, by name."""

    BALANCE = "every_row_accounted_for"
    QUARANTINE = "no_row_quarantined"
    TYPES = "types_fit"
    DRIFT = "source_matches_contract"

    @property
    def description(self) -> str:
        """What it demands."""
        return _DEMANDS[self]


_DEMANDS = {
    LoadCheck.BALANCE: "Rows read = rows published + rows quarantined + rows seen before, each counted elsewhere.",
    LoadCheck.QUARANTINE: "No row waits in the quarantine: none of this load, and none of the loads before.",
    LoadCheck.DRIFT: "The source has the columns that the contract names, of types that fit, and no others.",
    LoadCheck.TYPES: "Every record parses, and every value has its column's type.",
}
