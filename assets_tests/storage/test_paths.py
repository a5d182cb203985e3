"""One spelling for each place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import SettingsError
from lakehouse.storage import child, from_uri, is_s3, local_path, normalise
from lakehouse.storage.paths import is_under


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/x/y", "file:///x/y"),
        ("/x/y/", "file:///x/y"),
        ("//x///y", "file:///x/y"),
        ("/", "file:///"),
        ("file:/x", "file:///x"),
        ("file:///x", "file:///x"),
        ("FILE:///x", "file:///x"),
        ("file://localhost/x", "file:///x"),
        ("/a b/c:d", "file:///a b/c:d"),
        ("/a%20b", "file:///a%20b"),
        ("s3://b", "s3://b"),
        ("s3://b/", "s3://b"),
        ("s3a://b/x/", "s3://b/x"),
        ("s3n://b/x//y", "s3://b/x//y"),
    ],
)
def test_each_spelling_becomes_the_one(written: str, meant: str) -> None:
    assert normalise(written) == meant


@pytest.mark.parametrize("wrong", ["", "x/y", "./x", "file:x", "gs://b/x", "s3://", "s3:/b/x", "http://h/x"])
def test_what_is_no_place_is_refused_by_its_name(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        normalise(wrong)
    assert repr(wrong) in caught.value.what


_PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1).filter(
    lambda part: part not in {".", ".."}
)


@given(parts=st.lists(_PART, min_size=1, max_size=4))
def test_a_uri_made_by_pathlib_comes_back_as_the_path(parts: list[str]) -> None:
    path = Path("/", *parts)
    assert local_path(from_uri(path.as_uri())) == path


@given(parts=st.lists(_PART, min_size=1, max_size=4), scheme=st.sampled_from(["/", "file:///", "s3://b/", "s3a://b/"]))
def test_normalising_twice_changes_nothing(parts: list[str], scheme: str) -> None:
    once = normalise(scheme + "/".join(parts))
    assert normalise(once) == once


def test_under_means_below_and_not_only_the_same_letters() -> None:
    assert is_under("file:/w/t", "/w")
    assert is_under("/w", "/w/")
    assert is_under("/w", "/")
    assert is_under("s3a://b/w/t", "s3://b/w")
    assert not is_under("/ware", "/w")
    assert not is_under("s3://b/w", "/b/w")


def test_children_and_kinds() -> None:
    assert child("/w/", "/t/") == "file:///w/t"
    assert child("s3a://b", "t") == "s3://b/t"
    assert is_s3("s3a://b")
    assert not is_s3("/b")
    with pytest.raises(SettingsError):
        local_path("s3://b/x")
