"""Another program writes (stock PyIceberg, which promises nothing), and anybody writes in between."""

from __future__ import annotations

import warnings
from typing import Any

from hypothesis.stateful import rule

from assets_tests.iceberg.machine.drawn import FOREIGN, PICK, ROWS, WHERE
from assets_tests.iceberg.machine.states import BY_KEY, EMPTY, File, Row, State, Where
from assets_tests.iceberg.machine.steps import Steps
from assets_tests.iceberg.machine.world import NAME, World


class Foreign(Steps):
    @rule(effect=FOREIGN, pick=PICK, rows=ROWS, where=WHERE)
    def foreign_write(self, effect: str, pick: int, rows: list[Row], where: Where) -> None:
        ref = self.ref(pick)
        rows = rows if effect == "append" else [row for row in rows if where.means(row)]
        table, data = self.stock.load_table(NAME.key), self.batch(rows)
        with warnings.catch_warnings(action="ignore"):
            if effect == "delete":
                table.delete(where.theirs, branch=ref)
            elif effect == "overwrite":
                table.overwrite(data, where.theirs, branch=ref)
            elif rows:
                table.append(data, branch=ref)
        self.adopt(ref, self.model.foreign(effect, ref, rows, where))
        World.done[f"foreign {effect}"] += 1

    def someone_writes(self, drawn: dict[str, Any], *, foreign: bool) -> None:
        if foreign:
            effect = dict.fromkeys({"replace", *BY_KEY}, "append").get(drawn["effect"], drawn["effect"])
            self.look()
            self.foreign_write(effect, drawn["pick"], drawn["rows"], drawn["where"])
        else:
            self.carry_out(self.new_run(**drawn))
        World.done["overtaken"] += 1
        self.look()

    def adopt(self, ref: str, files: frozenset[File]) -> None:
        """Another program has come to these files; how many snapshots that took is its own affair."""
        head = self.model.head(ref)
        past = [snapshot.operation for snapshot in self.auditor.snapshots(ref)]
        fresh = past[: len(past) - len(head.history) + (head is EMPTY)]
        assert fresh or files == head.files
        for number, operation in enumerate(reversed(fresh), start=1):
            last = number == len(fresh)
            parent = None if head is EMPTY else head
            # A fast append leaves manifests out that list nothing any more.
            sheets = head.sheets_after(()) if operation == "append" else head.sheets
            head = State(parent, operation, files, head.progress, inner=not last, sheets=sheets, tombs=head.tombs)
            self.model.move(ref, head)
