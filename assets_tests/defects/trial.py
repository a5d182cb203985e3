"""One defect tried: done to a world, loaded and built, and what came of it compared with what it must not do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from assets_tests.defects import page
from assets_tests.defects.defect import Defect
from assets_tests.defects.verdict import How, Verdict, noticed, quarantined
from assets_tests.defects.world import Run, World

KEPT_OUT = {How.STOPPED, How.REFUSED, How.QUARANTINED}


def everyday(world: World, days: int) -> Mapping[str, How]:
    """What is noticed in so many days when nothing goes wrong: the slips in the provider's files, and nothing else."""
    run, found = _judged(_lived(world, days))
    assert (run.held, run.refused, run.built) == ({}, {}, True)
    assert set(found.values()) <= {How.QUARANTINED}, found
    return found


def tried(world: World, defect: Defect, known: Mapping[str, How]) -> Verdict:
    """What came of a defect, without what is `known` of its days anyway; what was held stays as it was."""
    _lived(world, defect.days)
    heads = world.heads()
    defect.inject(world)

    run, found = _judged(world)

    verdict = Verdict({rule: how for rule, how in found.items() if rule not in known}, world.count(defect.shows) > 0)
    if verdict.how in KEPT_OUT:
        assert not verdict.shown, f"{verdict.how}, and yet it is shown: {verdict.noticed}"
    # What is held of some days only has others to show; that these are right says the query of the defect.
    held = {str(name) for name in {*run.held} - run.published} & set(heads) if run.built else set(heads)
    after = world.heads()
    assert {name: after[name] for name in held} == {name: heads[name] for name in held}
    return verdict


def compare_with_page(part: str, defects: Sequence[Defect], verdicts: Mapping[str, Verdict]) -> None:
    """Fail when docs/quality.md says something else than what was found, and write the page anew."""
    if len(verdicts) < len(defects):
        pytest.skip("only some of the defects were tried")
    found = page.table([(defect, verdicts[defect.name]) for defect in defects])
    if page.written(part) != found:
        page.write(part, found)
        pytest.fail(f"{page.PAGE.name} said something else; the table is written anew: read it, and commit it")


def _lived(world: World, days: int) -> World:
    world.restore()
    world.shop.advance(days)
    return world


def _judged(world: World) -> tuple[Run, dict[str, How]]:
    before = quarantined(world)
    run = world.run()
    return run, noticed(run, before, quarantined(world))
