"""The tree of errors: each says what, expected, found and remedy, also on the other side of a process border."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import errors
from lakehouse.errors import LakehouseError, TableMissing

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LakehouseError)]
TEXTS = st.text(min_size=1)


@given(st.sampled_from(KINDS), TEXTS, st.none() | TEXTS, st.none() | TEXTS, TEXTS)
def test_an_error_survives_pickling(
    kind: type[LakehouseError], what: str, expected: str | None, found: str | None, remedy: str
) -> None:
    error = kind(what, expected=expected, found=found, remedy=remedy)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert type(again) is kind
    assert (again.what, again.expected, again.found, again.remedy) == (what, expected, found, remedy)
    assert str(again) == str(error)


def test_a_cause_does_not_keep_an_error_from_crossing() -> None:
    with pytest.raises(TableMissing) as raised:
        raise TableMissing("no table", remedy="Load it.") from KeyError("x")
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert str(again) == "no table. Load it."


@pytest.mark.parametrize(
    ("expected", "found", "text"),
    [
        (None, None, "it broke. Mend it."),
        ("glue", None, "it broke; expected glue. Mend it."),
        (None, "dust", "it broke; found dust. Mend it."),
        ("glue", "dust", "it broke; expected glue; found dust. Mend it."),
    ],
)
def test_an_error_reads_as_one_paragraph(expected: str | None, found: str | None, text: str) -> None:
    for what in ("it broke", "it broke."):
        assert str(LakehouseError(what, expected=expected, found=found, remedy="Mend it.")) == text


def test_no_error_without_a_remedy() -> None:
    with pytest.raises(TypeError, match="remedy"):
        LakehouseError("it broke")  # type: ignore[call-arg]  # what is to be shown


def test_the_page_names_every_error_under_its_parent() -> None:
    page = (errors.__doc__ or "").splitlines()
    named = [(match[1], match.start(1)) for line in page if (match := re.search(r"^[│├└─ ]*([A-Z]\w+)\b", line))]
    listed = {name: depth for name, depth in named if hasattr(errors, name)}
    assert set(listed) == {kind.__name__ for kind in KINDS}
    for kind in KINDS:
        depth = len(kind.__mro__) - len(LakehouseError.__mro__)
        assert listed[kind.__name__] == 4 * depth, kind
