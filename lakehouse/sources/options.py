"""The options of a contract's load policy, checked: what is needed, what is known, and the error for the rest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lakehouse.errors import ContractError
from lakehouse.tables import LoadPolicy, Table


@dataclass(frozen=True)
class Options:
    """The load options of one table. Raises ContractError for an unknown, missing or wrongly typed one."""

    table: Table
    policy: LoadPolicy

    @classmethod
    def of(cls, table: Table, *, known: Collection[str]) -> Options:
        """The table's options, none of which may be unknown. All kinds of source have `ignore` (LoadPolicy.ignored)."""
        if table.load is None:
            raise ContractError(
                f"{table.file}: {table.name} has no load policy",
                expected="a customProperty `load` with a source",
                remedy="Declare where its rows come from.",
            )
        options = cls(table, table.load)
        for name in table.load.options:
            if name not in known and name != "ignore":
                raise options.wrong(name, expected=f"one of {', '.join(sorted(known))}", remedy="Mend its name.")
        return options

    def text(self, name: str, default: str | None = None) -> str:
        """A non-empty text; required unless there is a default."""
        value = self.policy.options.get(name, default)
        if not isinstance(value, str) or not value:
            found = "nothing" if value is None else repr(value)
            raise self.wrong(name, expected="a text", found=found, remedy=f"State `{name}` in the contract's load.")
        return value

    def optional(self, name: str) -> str | None:
        """A non-empty text, or None where the option is not stated."""
        return None if self.policy.options.get(name) is None else self.text(name)

    def number(self, name: str, default: float) -> float:
        """A number that is not negative."""
        value = self.policy.options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise self.wrong(name, expected="a number from 0 on", found=repr(value), remedy="Mend it.")
        return float(value)

    def names(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty where the option is not stated."""
        value = self.policy.options.get(name, [])
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(name, expected="a list of names", found=repr(value), remedy="Write it as [a, b].")
        return tuple(value)

    def choice(self, name: str, default: str, among: Collection[str]) -> str:
        """One of some texts."""
        value = self.text(name, default)
        if value not in among:
            raise self.wrong(name, expected=f"one of {', '.join(among)}", found=value, remedy="Name one of these.")
        return value

    def wrong(self, name: str, *, expected: str, remedy: str, found: str | None = None) -> ContractError:
        """The error for an option, naming the contract, the table and the source."""
        what = f"{self.table.file}: load option {name!r} of {self.table.name} (source {self.policy.source!r})"
        return ContractError(what, expected=expected, found=found, remedy=remedy)
