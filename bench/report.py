"""What every benchmark prints and writes: figures, units in their keys, and ratios, above 1 where ours is better."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

_MB = 2**20


def peak_mb() -> float:
    """The most memory that this process has held so far, in MiB."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB
    # On Linux `ru_maxrss` begins with the peak of the process which started this one; this does not.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def report(
    name: str,
    figures: Mapping[str, float],
    ratios: Mapping[str, float],
    file: Path | None,
    series: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> None:
    """Print a table; write JSON where a file is named, with values over time (`series`) where there are any."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = {"cores": os.cpu_count(), "memory_gib": round(memory, 1), "python": platform.python_version()}
    print(f"{name}  ({machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']})")
    for key, value in {**figures, **ratios}.items():
        print(f"  {key:<32} {value:>12,.3f}")
    if file is not None:
        content: dict[str, object] = {
            "name": name,
            "machine": machine,
            "figures": dict(figures),
            "ratios": dict(ratios),
        }
        content |= {"series": dict(series)} if series else {}
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")
