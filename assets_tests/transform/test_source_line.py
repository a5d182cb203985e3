"""Lines of compiled SQL found again in the file that people edit."""

from __future__ import annotations

import pytest

from lakehouse.transform.source_line import source_line

RAW = """-- a model
{% set wide = true %}
select
    a,
    {{ columns() }},
    b
from {{ ref('x') }}
where c
"""
COMPILED = """-- a model

select
    a,
    one,
    two,
    three,
    b
from "memory"."silver"."x"
where c
"""


@pytest.mark.parametrize(
    ("compiled", "raw"),
    [
        (1, 1),
        (4, 4),  # untouched, after a line that was emptied
        (5, 5),  # first of three that a macro made of one
        (7, 5),  # last of them
        (8, 6),  # untouched, after them
        (9, 7),  # changed in place
        (10, 8),
    ],
)
def test_a_line_leads_back_to_where_it_was_written(compiled: int, raw: int) -> None:
    assert source_line(RAW, COMPILED, compiled) == raw


def test_a_line_beyond_the_end_is_the_last_one() -> None:
    assert source_line("select 1\n", "select 1\n", 9) == 1
