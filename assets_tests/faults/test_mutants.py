"""The mutants fit the code: a guard that moved takes its mutant along. That each is noticed is `make mutants`."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

RUNNER: Mapping[str, Any] = runpy.run_path(str(Path(__file__).parent / "mutate.py"))
MUTANTS = list(RUNNER["read_mutants"]())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mutant_has_its_guard_and_its_test(mutant: Any) -> None:  # noqa: ANN401  (the runner is no module)
    assert mutant.fits
    assert mutant.old != mutant.new
    file, _, test = mutant.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (RUNNER["ROOT"] / file).read_text(encoding="utf-8")


def test_there_are_mutants_with_names_of_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 0
