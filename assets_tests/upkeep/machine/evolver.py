"""Another program that changes the table's columns and partitions, by itself and in the middle of others' steps.

No row, no file and no ref moves by that. What our own contracts lead to is the commit protocol's own machine.
"""

from __future__ import annotations

from hypothesis.stateful import rule
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import LongType, StringType

from assets_tests.iceberg.machine.drawn import EVOLVE
from assets_tests.upkeep.machine.world import World

_ENDS = ("until", "ended")


class Evolver(World):
    @rule(what=EVOLVE)
    def evolve(self, what: str) -> None:
        """A column more, a wider id (each is done once), another name of the end, or other partitions of a day."""
        table = self.stock()
        if what == "partitions":
            with table.update_spec() as spec:
                if any(field.name == "bucket" for field in table.spec().fields):
                    spec.remove_field("bucket")
                else:
                    spec.add_field("id", BucketTransform(1), "bucket")
        else:
            names = table.schema().column_names[2:]
            with table.update_schema() as schema:
                if what == "promote":
                    schema.update_column("id", LongType())
                elif what == "rename":
                    schema.rename_column(names[0], _ENDS[names[0] == _ENDS[0]])
                elif not names[1:]:
                    schema.add_column("note", StringType())
        World.done[f"evolve: {what}"] += 1
