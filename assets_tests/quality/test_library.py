"""What importing Great Expectations costs: what hardly an expectation asks for comes when it is asked for."""

from __future__ import annotations

import subprocess
import sys

_IMPORTED = """
import sys
from lakehouse.quality.library import engine
engine()
print(sorted({"scipy.special", "altair.vegalite"} & set(sys.modules)))
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as divergence
print(round(divergence.stats.entropy([0.5, 0.5], [0.25, 0.75]), 4), divergence.alt.Chart.__name__)
print(sorted({"scipy.special", "altair.vegalite"} & set(sys.modules)))
"""


def test_statistics_and_charts_are_imported_when_an_expectation_needs_them() -> None:
    told = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True)

    assert told.stdout.splitlines() == ["[]", "0.1438 Chart", "['altair.vegalite', 'scipy.special']"]
