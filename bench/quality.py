"""The audit of a branch by `Gate`, beside Great Expectations on pandas with the same rules in the same run.

5M rows x 12 columns. Each part is a process of its own: its time begins when Great Expectations is imported, and its
peak holds neither another part nor the making of the data. For pandas, decimals are read as doubles and dates as
datetime64, which favours pandas: exact decimals would be Python objects there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bench.quality_pandas import judge
from bench.report import peak_mb, report
from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Rule, Table, TableRule

_ROWS = """
select i as event_id, (hash(i) % 100000)::bigint as customer_id, date '2026-01-01' + (i % 300)::integer as event_day,
    date '2026-01-01' + (i % 300 + (hash(i) % 30)::bigint)::integer as due_day,
    timestamptz '2026-01-01 00:00:00+00' + interval (i) second as occurred_at,
    case when i % 1000003 = 7 then 'lost' else ['placed', 'paid', 'shipped', 'delivered'][1 + i % 4] end as status,
    ['web', 'shop', 'phone'][1 + (hash(i) % 3)::bigint] as channel,
    case when i % 500000 = 11 then 0 else 1 + i % 20 end::integer as quantity,
    ((hash(i) % 50000) / 100)::decimal(12, 2) as price, (hash(i) % 1000000) / 1000000.0::double as score,
    substr(md5(i::varchar), 1, 12) || '@example.com' as email,
    case when i % 2 = 0 then 'note ' || i % 10007 end as note
from range({first}, {last}) t(i)
"""
_CHUNK = 500_000
_SMALL_ROWS = 5_000
_LARGE, _SMALL = "run/large", "run/small"
_SHORT = frozenset(
    {
        "event_id_not_null",
        "event_id_unique",
        "customer_id_not_null",
        "status_accepted_values",
        "quantity_minimum",
        "price_maximum",
        "email_pattern",
        "channel_max_length",
        "score_mean",
        "row_count",
    }
)
"""The ten rules of the short audit: two of them broken by a few rows, so that samples are read too."""
_ALL = 30
_WARMED = 7


def declared() -> Declarations:
    """The one table, from its contract."""
    return read_tables([Path(__file__).parent / "contracts"])


def rules_of(table: Table, count: int) -> list[Rule | TableRule]:
    """The 10 or all 30 rules of the table, in the contract's order."""
    found = [rule for rule in (*table.rules, *table.table_rules) if count == _ALL or rule.name in _SHORT]
    if len(found) != count:
        sys.exit(f"the contract has {len(found)} of {count} rules")
    return found


def settings_in(folder: Path) -> Settings:
    """A lake on SQLite and a folder."""
    return load_settings(
        Path.cwd(),
        state=str(folder),
        catalog={"uri": f"sqlite:///{folder}/catalog.db", "name": "bench"},
        warehouse=f"file://{folder}/warehouse",
    )


def build(folder: Path, count: int) -> None:
    """The table with a large and a small branch; main has nothing yet, as before a first publication."""
    [table] = declared().values()
    made = Lake.open(settings_in(folder)).create(table)
    schema = made.schema()
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        for branch, rows in ((_LARGE, count), (_SMALL, _SMALL_ROWS)):
            chunks = (
                batch
                for first in range(0, rows, _CHUNK)
                for batch in connection.execute(_ROWS.format(first=first, last=min(rows, first + _CHUNK)))
                .to_arrow_table()
                .cast(schema)
                .to_batches()
            )
            made.create_branch(branch)
            made.append(pa.RecordBatchReader.from_batches(schema, chunks), run_key=branch, branch=branch)


def imported() -> float:
    """Seconds that importing Great Expectations takes."""
    start = time.perf_counter()
    import great_expectations as gx  # noqa: F401, PLC0415  (its import is what is measured)

    return time.perf_counter() - start


def audit(folder: Path, count: int) -> dict[str, object]:
    """One audit of the large branch by the gate, the first in its process."""
    [table], importing = declared().values(), imported()
    names = [rule.name for rule in rules_of(table, count)]
    wall, cpu = time.perf_counter(), time.process_time()
    settings = settings_in(folder)
    gate = Gate(settings, Lake.open(settings), declared())
    findings = gate.audit(table.name, at=_LARGE, rules=names)
    took = {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return {
        **took,
        "import_s": importing,
        "peak_mb": peak_mb(),
        "outcomes": {f.rule: f.outcome.value for f in findings},
    }


def pandas(folder: Path, count: int) -> dict[str, object]:
    """The same rules by Great Expectations on pandas; reading the branch into memory is part of its time."""
    [table], importing = declared().values(), imported()
    wall, cpu = time.perf_counter(), time.process_time()
    stored = Lake.open(settings_in(folder)).table(table.name)
    passed = judge(stored.scan(at=_LARGE).read_all(), rules_of(table, count))
    took = {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    outcomes = {name: "passed" if good else "failed" for name, good in passed.items()}
    return {**took, "import_s": importing, "peak_mb": peak_mb(), "outcomes": outcomes}


def small(folder: Path, count: int) -> dict[str, object]:
    """Audits of 5,000 rows after a first one, each with a gate of its own, as each run has: the median."""
    [table], settings = declared().values(), settings_in(folder)
    lake = Lake.open(settings)
    names = [rule.name for rule in rules_of(table, count)]
    spent = []
    for _ in range(_WARMED + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        Gate(settings, lake, declared()).audit(table.name, at=_SMALL, rules=names)
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    seconds, cpu_seconds = (statistics.median(values) for values in zip(*spent[1:], strict=True))
    return {"s": seconds, "cpu_s": cpu_seconds}


_PARTS = {"audit": audit, "pandas": pandas, "small": small}


def in_child(part: str, folder: Path, count: int) -> dict[str, Any]:
    """What a part says, from a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.quality", "--part", part, str(folder), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  (our own command)
    return dict(json.loads(done.stdout.splitlines()[-1])) if part in _PARTS else {}


def compare(folder: Path, counts: Sequence[int]) -> tuple[dict[str, float], dict[str, float]]:
    """Figures and ratios of each number of rules, ours and pandas' in turn."""
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    peaks, imports = Counter[str](), []
    for count in counts:
        ours, theirs = in_child("audit", folder, count), in_child("pandas", folder, count)
        if ours["outcomes"] != theirs["outcomes"]:
            sys.exit(f"{count} rules: not judged alike\n{ours['outcomes']}\n{theirs['outcomes']}")
        figures |= {f"gx{count}_s": ours["s"], f"gx{count}_cpu_s": ours["cpu_s"]}
        figures |= {f"gx{count}_pandas_s": theirs["s"], f"gx{count}_pandas_cpu_s": theirs["cpu_s"]}
        ratios[f"gx{count}_vs_pandas"] = theirs["s"] / ours["s"]
        imports += [ours["import_s"], theirs["import_s"]]
        for key, answer in (("gx_peak_mb", ours), ("gx_peak_pandas_mb", theirs)):
            peaks[key] = max(peaks[key], answer["peak_mb"])
    ratios["gx_peak_vs_pandas"] = peaks["gx_peak_pandas_mb"] / peaks["gx_peak_mb"]
    return {**figures, **peaks, "gx_import_s": statistics.median(imports)}, ratios


def options() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and report."""
    words = options()
    if words.part:
        part, place, count = words.part
        if part == "build":
            build(Path(place), int(count))
        else:
            print(json.dumps(_PARTS[part](Path(place), int(count))))
        return
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_child("build", folder, words.rows)
        figures, ratios = compare(folder, (len(_SHORT), _ALL))
        warmed = in_child("small", folder, len(_SHORT))
    figures |= {"gate_small_s": warmed["s"], "gate_small_cpu_s": warmed["cpu_s"], "gx_rows": float(words.rows)}
    report("quality", figures, ratios, words.json)


if __name__ == "__main__":
    main()
