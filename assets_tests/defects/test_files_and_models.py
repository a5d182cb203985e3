"""Payment files and models go wrong in one way after the other: what is stopped is never shown."""

from __future__ import annotations

import pytest

from assets_tests.defects.defect import Defect
from assets_tests.defects.files import FILES
from assets_tests.defects.models import MODELS
from assets_tests.defects.trial import compare_with_page, everyday, tried
from assets_tests.defects.verdict import How, Verdict
from assets_tests.defects.world import World

pytestmark = pytest.mark.defects

DEFECTS = (*FILES, *MODELS)


@pytest.mark.parametrize("days", sorted({defect.days for defect in DEFECTS}))
def test_nothing_is_noticed_when_nothing_goes_wrong(world: World, known: dict[int, dict[str, How]], days: int) -> None:
    known[days] = dict(everyday(world, days))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect(world: World, verdicts: dict[str, Verdict], known: dict[int, dict[str, How]], defect: Defect) -> None:
    verdicts[defect.name] = tried(world, defect, known.get(defect.days, {}))


def test_the_page_says_what_was_found(verdicts: dict[str, Verdict]) -> None:
    compare_with_page("files", DEFECTS, verdicts)
