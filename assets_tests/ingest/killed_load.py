"""The child that `test_load_killed.py` starts: it loads, and is killed at a named step of each kind of load.

Every case runs in a process forked from this one, over a lake of its own, and dies by SIGKILL at its step. What it
reached until then it has said before. Answers on stdout with one JSON line for each case.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from assets_tests.iceberg.killed import forked
from assets_tests.ingest.payments import paid, write
from lakehouse.contracts import Declarations
from lakehouse.iceberg import Lake, LakeTable, effects
from lakehouse.ingest import Door, load
from lakehouse.ingest.rejects import Rejects
from lakehouse.ingest.seen import Seen
from lakehouse.ledger import loads
from lakehouse.quality.gate import Gate
from lakehouse.quality.library import loading as loading_library
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import (
    Column,
    Layer,
    LoadPolicy,
    Table,
    TableName,
    TableRule,
    TableRuleKind,
    Window,
)

ROOT = Path(__file__).resolve().parents[2]
PLAIN = ("read 1", "read 2", "rejects 1", "files 1", "commit 1", "told 1")
STAGED = ("commit 1", "publish 1", "told 1")
AGAIN = ("read 2", "compare 1", "rejects 1", "files 1", "commit 1", "told 1")
CASES = [(kind, step) for kind, steps in {"plain": PLAIN, "staged": STAGED, "again": AGAIN}.items() for step in steps]
DAYS = Window.of_days(date(2026, 1, 1), date(2026, 1, 2))


def contract(kind: str) -> Table:
    """Payments; staged, with a rule that holds a load back."""
    rule = TableRule("payment_id_unique", TableRuleKind.UNIQUE, ("payment_id",))
    return Table(
        name=TableName(Layer.BRONZE, "payments"),
        domain="shop",
        description="Payments",
        columns=(Column("payment_id", "string", required=True), Column("amount", "decimal(10, 2)")),
        file=Path("payments.yaml"),
        load=LoadPolicy("landing", {"files": "*.jsonl"}, 0.5),
        table_rules=(rule,) if kind == "staged" else (),
    )


def settings_of(folder: Path, kind: str, step: str) -> Settings:
    """The lake of one case."""
    state = folder / f"{kind}-{step.replace(' ', '-')}"
    (state / "landing").mkdir(parents=True, exist_ok=True)
    return load_settings(
        ROOT,
        state=str(state),
        catalog={"uri": f"sqlite:///{state}/catalog.db"},
        loads={"retry_seconds": 0},
        sources={"landing": {"kind": "files", "root": "landing"}},
    )


def loading(settings: Settings, kind: str, **more: Any) -> Any:  # noqa: ANN401  (the words of load, its result)
    """One load of the case's table."""
    lake, table = Lake.open(settings), contract(kind)
    gate = Gate(settings, lake, Declarations([table])) if kind == "staged" else None
    return load(settings, lake, table, run_id="run", gate=gate, **more)


def deliver(settings: Settings) -> None:
    """Two files: four good payments, one that has no id, one line that is none."""
    write(settings, "2026-01-01.jsonl", paid("P1"), paid(None), paid("P2"))
    write(settings, "2026-01-02.jsonl", paid("P3"), "{broken", paid("P4"))


def _case(kind: str, step: str, folder: Path, say: int) -> None:
    settings = settings_of(folder, kind, step)
    deliver(settings)
    window = None
    if kind == "again":
        # One good row was lost, and nothing of the second file was ever loaded.
        (settings.state / "landing" / "2026-01-02.jsonl").rename(settings.state / "later")
        loading(settings, kind)
        (settings.state / "later").rename(settings.state / "landing" / "2026-01-02.jsonl")
        Lake.open(settings).table(contract(kind).name).delete("payment_id = 'P1'", run_key="an accident")
        window = DAYS
    _hook(step, say)
    loading(settings, kind, window=window)


def _hook(die_at: str, say: int) -> None:
    """From now on say each step when it is done, and die at one."""
    seen: dict[str, int] = {}

    def reach(kind: str) -> None:
        seen[kind] = seen.get(kind, 0) + 1
        step = f"{kind} {seen[kind]}"
        os.write(say, f"{step}\n".encode())
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(owner: Any, name: str, kind: str, when: Callable[..., bool] = lambda *_: True) -> None:  # noqa: ANN401
        real = getattr(owner, name)

        def told(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            answer = real(*given, **named)
            if when(*given):
                reach(kind)
            return answer

        setattr(owner, name, told)

    after(Door, "split", "read")
    after(Seen, "_compare_all", "compare")
    after(Rejects, "store", "rejects")
    after(effects, "write_files", "files", lambda table, _rows: table.name()[0] == "bronze")
    after(LakeTable, "append", "commit", lambda table, _rows: table.name.layer is Layer.BRONZE)
    after(LakeTable, "publish", "publish")
    after(loads, "record", "told")


def main(folder: str) -> None:
    """Run every case; the gate's libraries are imported once for all of them."""
    loading_library().result()
    for kind, step in CASES:
        sys.stdout.write(json.dumps(forked(kind, step, partial(_case, kind, step, Path(folder)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
