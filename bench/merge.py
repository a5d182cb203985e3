"""Merge: changed keys into 5M rows x 12 columns in 11 files, beside PyIceberg's `upsert` and Spark's MERGE, warm.

Nine of ten changed keys are there already, spread over all files. Every merge is a process and a branch of its own,
measured from rows that are ready in memory (`_s`) and as a process from start to end (`_process_s`); all of them must
leave the rows that plain SQL makes. `merge_1m_vs_spark_warm` compares our whole process, start and imports too, with
Spark's statement alone; the other ratios compare statements. PyIceberg's 1M is too slow to be repeated: 263 s were
recorded with these rows on this kind of machine. Keys are those of 5M rows; with `--rows` all sizes shrink alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import merge_steps as steps
from bench import spark
from bench.merge_rows import named, settings_of
from bench.merge_spark import merges
from bench.report import report
from lakehouse.iceberg.merge.rules import Way

_FULL = 5_000_000
_RECORDED_1M_S = 263.0
_PYICEBERG = "pyiceberg"

Found = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A merge that is measured in every round. `way`: forced; None for the one that ours chooses."""

    source: str
    key: Sequence[str] = steps.KEY
    way: Way | None = None
    sequence: str | None = None
    table: str = steps.ORDERS

    def words(self) -> dict[str, str | Sequence[str]]:
        """What the step is told."""
        found: dict[str, str | Sequence[str]] = {"table": self.table, "source": self.source, "key": self.key}
        found |= {"way": self.way.value} if self.way else {}
        return found | ({"sequence": self.sequence} if self.sequence else {})


CASES: Mapping[str, Case] = {
    "merge_100k": Case(steps.SMALL, way=Way.MERGE_ON_READ),
    "merge_1m": Case(steps.LARGE, way=Way.MERGE_ON_READ),
    "merge_composite_1m": Case(steps.LARGE, key=steps.COMPOSITE, way=Way.MERGE_ON_READ),
    "merge_sequence_1m": Case(steps.LARGE, way=Way.MERGE_ON_READ, sequence="updated_at"),
    "merge_cow_100k": Case(steps.SMALL, way=Way.COPY_ON_WRITE),
    "merge_cow_1m": Case(steps.LARGE, way=Way.COPY_ON_WRITE),
    "merge_recent_1m": Case(steps.RECENT_FEW, table=steps.FEW),
    "merge_recent_5m": Case(steps.RECENT),
}


@dataclass
class Rounds:
    """What was measured: of each case a figure a round; and whose branches are to be compared, by table and rows."""

    ours: dict[str, list[Found]] = field(default_factory=dict)
    branches: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def run(self, folder: Path, number: int) -> None:
        """One round of every case."""
        for name, case in CASES.items():
            branch = f"{name}_{number}"
            self.ours.setdefault(name, []).append(steps.apart("ours", folder, branch=branch, **case.words()))
            self.branches.setdefault((case.table, case.source), []).append(branch)

    def figures(self) -> Found:
        """Medians of each case; the highest peaks."""
        found = {}
        for name, rounds in self.ours.items():
            for key in ("s", "cpu_s", "process_s", "process_cpu_s"):
                found[f"{name}_{key}"] = statistics.median(of[key] for of in rounds)
            found[f"{name}_peak_mb"] = max(of["peak_mb"] for of in rounds)
        return found

    def ratio(self, name: str, to: str) -> float:
        """Of seconds, one round's with one another."""
        return statistics.median(of["s"] / other["s"] for of, other in zip(self.ours[name], self.ours[to], strict=True))


def with_spark(folder: Path, rounds: Rounds, runs: int) -> Found:
    """Median seconds of Spark's warm statements."""
    rows = steps.file_of(folder, steps.LARGE)
    table = str(named(steps.ORDERS))
    took = merges(settings_of(folder), table, rows, (Way.MERGE_ON_READ, Way.COPY_ON_WRITE), runs=runs)
    found = {}
    for way, name in ((Way.MERGE_ON_READ, "spark_mor_1m"), (Way.COPY_ON_WRITE, "spark_cow_1m")):
        rounds.branches[steps.ORDERS, steps.LARGE] += took[way]
        warm = list(took[way].values())[1:]
        found[f"{name}_s"] = statistics.median(warm)
        found[f"{name}_cpu_s"] = statistics.median(of.cpu_s or 0.0 for of in warm)
        found[f"{name}_peak_mb"] = max(of.peak_mb or 0.0 for of in warm)
    return found


def measured(folder: Path, words: argparse.Namespace) -> tuple[Found, Found]:
    """Figures and ratios."""
    steps.apart("make", folder, rows=words.rows)
    rounds, peers = Rounds(), Found()
    for number in range(words.rounds):
        rounds.run(folder, number)
        if number == (words.rounds - 1) // 2:
            # Between rounds of ours, for a machine may be slower at the end than at the beginning.
            theirs = steps.apart("upsert", folder, source=steps.SMALL, branch=_PYICEBERG)
            rounds.branches[steps.ORDERS, steps.SMALL].append(_PYICEBERG)
            peers |= {f"pyiceberg_100k_{key}": theirs[key] for key in ("s", "cpu_s", "process_s", "peak_mb")}
            peers |= with_spark(folder, rounds, words.spark_runs) if words.spark else {}
    for (table, source), branches in rounds.branches.items():
        steps.apart("compare", folder, table=table, source=source, branches=branches)
    figures = rounds.figures() | peers
    figures["merge_composite_ratio"] = rounds.ratio("merge_composite_1m", "merge_1m")
    figures["merge_recent_5m_vs_1m"] = rounds.ratio("merge_recent_5m", "merge_recent_1m")
    reading = steps.apart("ten", folder, rows=words.rows)
    figures |= {key: value for key, value in reading.items() if not key.startswith(("process", "peak"))}
    figures["merge_rows"] = float(words.rows)
    ratios = {"merge_100k_vs_pyiceberg": figures["pyiceberg_100k_s"] / figures["merge_100k_s"]}
    if words.rows == _FULL:
        ratios["merge_1m_vs_pyiceberg_recorded"] = _RECORDED_1M_S / figures["merge_1m_s"]
    if words.spark:
        ratios["merge_1m_vs_spark_warm"] = figures["spark_mor_1m_s"] / figures["merge_1m_process_s"]
        ratios["merge_cow_vs_spark_warm"] = figures["spark_cow_1m_s"] / figures["merge_cow_1m_s"]
    return figures, ratios


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_FULL)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spark", action="store_true", help="its MERGE too, in both modes (`python -m bench.spark`)")
    parser.add_argument("--spark-runs", type=int, default=3, help="of each mode, at least 2: the first is cold")
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    if words.spark and not spark.available():
        sys.exit("Spark is not installed: `python -m bench.spark install`")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        figures, ratios = measured(Path(folder), words)
    report("merge", figures, ratios, words.json)


if __name__ == "__main__":
    main()
