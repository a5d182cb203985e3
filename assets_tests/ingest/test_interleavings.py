"""Random turns of writers and loads, some of them killed: nothing is lost or doubled. See `interleaved.py`."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from assets_tests.ingest.interleaved import ENDS, KEYS, LOADS, WAYS, WRITERS, WRITES, Step, World
from lakehouse.services.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
INTERLEAVINGS = 10_000
STAGES = {"xmin": 28, "full": 28, "updated_at": 10, "lag": 10, "parts": 10, "xmin parts": 10}
"""How many stages share a world. By a watermark column everybody waits for the oldest transaction in flight, so that
many writers would leave little to load before the end; parts are a commit each, and many rows are many parts."""
WORLDS = (*("xmin", "full") * 3, "updated_at", "lag", "parts", "xmin parts")

KINDS = (*WRITES, *ENDS)
STEPS = st.tuples(
    st.sampled_from((*KINDS, *LOADS)),
    st.integers(0, WRITERS - 1),
    st.integers(0, KEYS - 1),
    st.sampled_from([0, 0, 1, 1800]),
)
LATE: list[Step] = [
    ("insert", 0, 0, 0),
    ("load", 0, 0, 0),
    ("begin", 0, 0, 0),
    ("savepoint", 0, 0, 0),
    ("begin", 1, 0, 0),
    ("insert", 1, 1, 1800),
    ("insert", 2, 2, 0),
    ("load", 0, 0, 0),
    ("commit", 1, 0, 0),
    ("load", 0, 0, 0),
    ("delete", 2, 2, 0),
    ("read", 0, 0, 0),
    ("commit", 0, 0, 0),
]


@contextmanager
def crowd(url: str, stages: int) -> Iterator[Sequence[psycopg.Connection]]:
    with ExitStack() as stack:
        yield [stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(stages * WRITERS)]


@given(
    way=st.sampled_from(WAYS),
    stages=st.lists(st.lists(STEPS, min_size=4, max_size=14), min_size=1, max_size=2),
    mixed=st.integers(0, 99),
)
@example(way="updated_at", stages=[LATE], mixed=0)
@example(way="lag", stages=[LATE], mixed=0)
@example(way="xmin", stages=[LATE], mixed=0)
@example(way="full", stages=[LATE], mixed=0)
@hypothesis_settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_bronze_has_each_version_that_a_load_could_see_once(
    database: SecretStr, tmp_path: Path, way: str, stages: list[list[Step]], mixed: int
) -> None:
    url = database.get_secret_value()
    with crowd(url, len(stages)) as writers:
        world = World(url, tmp_path / uuid.uuid4().hex[:8], ROOT, way, writers)
        world.play(stages, random.Random(mixed))  # noqa: S311  (not a secret)


def some_stages(chance: random.Random, way: str) -> list[list[Step]]:
    """Steps of all stages of a world; one of them has the loads, which are everybody's."""

    def some(kinds: Sequence[str]) -> Step:
        return chance.choice(kinds), chance.randrange(WRITERS), chance.randrange(KEYS), chance.choice([0, 0, 1, 1800])

    stages = [[some(KINDS) for _ in range(chance.randrange(6, 16))] for _ in range(STAGES[way])]
    for _ in range(chance.randrange(2, 6)):
        stages[0].insert(chance.randrange(len(stages[0])), some(LOADS))
    return stages


@pytest.mark.services
def test_so_it_is_in_ten_thousand_interleavings(
    postgres: EmbeddedPostgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Counted are distinct ones: what a stage's writers did, in what order, between which loads, in which way."""
    seed, began, done = random.SystemRandom().randrange(2**32), time.process_time(), Counter[str]()
    lived = set[tuple[object, ...]]()
    url = postgres.uri(f"test_{uuid.uuid4().hex[:12]}").get_secret_value()
    with crowd(url, max(STAGES.values())) as writers:
        while len(lived) < INTERLEAVINGS:
            world_seed = f"{seed}-{done['worlds']}"
            chance = random.Random(world_seed)  # noqa: S311  (not a secret)
            way = WORLDS[done["worlds"] % len(WORLDS)]
            world = World(url, tmp_path / uuid.uuid4().hex[:8], ROOT, way, writers)
            stages = some_stages(chance, way)
            try:
                world.play(stages, chance)
            except BaseException:
                sys.stderr.write(f"\nseed {world_seed}, {way}: {stages}\n")
                raise
            told = world.interleavings()
            done[way] += len(told - lived)
            lived |= told
            done["worlds"] += 1
            done["loads"] += world.loads
    with capfd.disabled():
        seconds = time.process_time() - began
        sys.stderr.write(f"\n{len(lived)} interleavings, {seconds:.0f} CPU-s (seed {seed}): {dict(done)}\n")
    assert all(done[way] >= INTERLEAVINGS / 50 for way in WAYS), done
