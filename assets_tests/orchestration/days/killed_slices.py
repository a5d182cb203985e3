"""The child that `test_slices.py` starts: a build in slices, killed when its second slice has written a table."""

from __future__ import annotations

import os
import signal
import sys
from datetime import date
from pathlib import Path

from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.quality.gate import Gate
from lakehouse.settings import load_settings
from lakehouse.tables import Window
from lakehouse.transform.events import ModelFinished
from lakehouse.transform.slices import Slice, Slices

SELECT = ["gold.takings", "silver.receipts"]
WINDOW = Window.of_days(date(2026, 1, 1), date(2026, 1, 5))
KEY = "killed"


def slices(folder: Path, uri: str, key: str = KEY) -> Slices:
    """Five days, two at once."""
    settings = load_settings(
        folder,
        state=str(folder / ".lakehouse"),
        catalog={"uri": uri},
        sources={"landing": {"kind": "files", "root": "landing", "settle": 0}},
        transform={"days_at_once": 2},
    )
    lake, declarations = Lake.open(settings), read_tables(settings.defs)
    gate = Gate(settings, lake, declarations)
    return Slices(settings, lake, declarations, branch=f"run/{key}", run_key=key, window=WINDOW, gate=gate)


def main(folder: str, uri: str) -> None:
    """Say which slices ended, and die in the second."""
    ended = 0
    for one in slices(Path(folder), uri).run(SELECT):
        if isinstance(one, Slice):
            ended += 1
            os.write(1, f"{one.window}\n".encode())
        elif ended and isinstance(one, ModelFinished):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
