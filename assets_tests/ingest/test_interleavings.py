"""Random turns of writers and loads, some of them killed: nothing is lost or doubled. See `interleaved.py`."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from assets_tests.ingest.interleaved import ENDS, KEYS, LOADS, WAYS, WRITERS, WRITES, Step, World
from lakehouse.services.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
CPU_S = 300

KINDS = (*WRITES, *ENDS, *LOADS)
STEPS = st.tuples(
    st.sampled_from(KINDS), st.integers(0, WRITERS - 1), st.integers(0, KEYS - 1), st.sampled_from([0, 0, 1, 1800])
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
    ("killed", 0, 0, 0),
    ("commit", 0, 0, 0),
]


@given(way=st.sampled_from(WAYS), steps=st.lists(STEPS, min_size=4, max_size=14))
@example(way="updated_at", steps=LATE)
@example(way="lag", steps=LATE)
@example(way="xmin", steps=LATE)
@example(way="full", steps=LATE)
@hypothesis_settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_bronze_has_each_version_that_a_load_could_see_once(
    database: SecretStr, tmp_path: Path, way: str, steps: list[Step]
) -> None:
    World(database.get_secret_value(), tmp_path / uuid.uuid4().hex[:8], ROOT, way).play(steps)


@pytest.mark.services
def test_so_it_is_in_thousands_of_orders(
    postgres: EmbeddedPostgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance, began, done = random.Random(seed), time.process_time(), Counter[str]()  # noqa: S311  (not a secret)
    url = postgres.uri(f"test_{uuid.uuid4().hex[:12]}").get_secret_value()
    while time.process_time() - began < CPU_S:
        way = chance.choice(WAYS)
        steps = [
            (chance.choice(KINDS), chance.randrange(WRITERS), chance.randrange(KEYS), chance.choice([0, 0, 1, 1800]))
            for _ in range(chance.randrange(4, 30))
        ]
        world = World(url, tmp_path / uuid.uuid4().hex[:8], ROOT, way)
        try:
            world.play(steps)
        except BaseException:
            sys.stderr.write(f"\nseed {seed}, {way}: {steps}\n")
            raise
        done["lives"] += 1
        done["loads"] += world.loads
        done["steps"] += len(steps)
    with capfd.disabled():
        sys.stderr.write(f"\ninterleavings (seed {seed}): {dict(done)}\n")
    assert done["lives"] >= 100
