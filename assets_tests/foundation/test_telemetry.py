"""Progress reaches whoever listens; log lines carry what was bound."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.telemetry import Meter, Progress, bound, configure_logs, listening, report, run_logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs(json=True, stream=stream)
    yield stream
    structlog.reset_defaults()


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@given(st.lists(st.integers(0, 10_000)))
def test_a_meter_counts_what_it_is_told_and_says_when_it_ends(counts: list[int]) -> None:
    heard: list[Progress] = []
    with listening(heard.append):
        meter = Meter("loading", total=sum(counts), every=0)
        for count in counts:
            meter.add(count)
        meter.finish()
    assert [step.finished for step in heard] == [False] * len(counts) + [True]
    assert heard[-1].done == meter.done == sum(counts)
    assert [step.done for step in heard] == sorted(step.done for step in heard)


def test_a_meter_does_not_speak_for_every_row() -> None:
    heard: list[Progress] = []
    with listening(heard.append):
        meter = Meter("loading", every=3600)
        for _ in range(1000):
            meter.add(1)
        meter.finish()
    assert [(step.done, step.total, step.finished) for step in heard] == [(1000, None, True)]


@pytest.mark.parametrize(
    ("progress", "eta"),
    [
        (Progress("x", 5, 10, seconds=2.0), 2.0),
        (Progress("x", 0, 10, seconds=2.0), None),
        (Progress("x", 5, None, seconds=2.0), None),
        (Progress("x", 12, 10, seconds=2.0), 0.0),
        (Progress("x", 10, 10, seconds=2.0, finished=True), None),
    ],
)
def test_the_time_left_follows_from_the_pace(progress: Progress, eta: float | None) -> None:
    assert progress.eta_seconds == eta


def test_everybody_who_listens_hears_and_only_while_listening() -> None:
    first: list[Progress] = []
    second: list[Progress] = []
    step = Progress("x", 1)
    with listening(first.append):
        with listening(second.append):
            worker = threading.Thread(target=report, args=[step])
            worker.start()
            worker.join()
        report(step)
    report(step)
    assert (len(first), len(second)) == (2, 1)


def test_a_listener_goes_when_its_block_fails() -> None:
    heard: list[Progress] = []
    with pytest.raises(ZeroDivisionError), listening(heard.append):
        raise ZeroDivisionError
    report(Progress("x", 1))
    assert heard == []


def test_lines_are_json_and_carry_what_is_bound(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")
    with bound(run_id="r1", asset="silver.orders"):
        log.info("loaded", rows=3)
        with bound(run_key="k1", asset="gold.orders"):
            log.warning("slow")
        log.info("again")
    log.info("after")

    first, second, third, last = logged(lines)
    assert {key: first[key] for key in ("event", "level", "rows", "run_id", "asset")} == {
        "event": "loaded",
        "level": "info",
        "rows": 3,
        "run_id": "r1",
        "asset": "silver.orders",
    }
    assert (second["run_id"], second["run_key"], second["asset"]) == ("r1", "k1", "gold.orders")
    assert (third["asset"], "run_key" in third) == ("silver.orders", False)
    assert not {"run_id", "asset", "run_key"} & set(last)
    assert str(first["timestamp"]).endswith("Z")


def test_an_exception_is_told_as_data(lines: io.StringIO) -> None:
    try:
        int("no")
    except ValueError:
        structlog.get_logger("test").exception("it broke")
    (line,) = logged(lines)
    assert line["exception"][0]["exc_type"] == "ValueError"  # type: ignore[index]  # a list of frames, by structlog


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure_logs(json=False, level=logging.WARNING, stream=stream)
    structlog.get_logger("test").info("quiet")
    structlog.get_logger("test").warning("loud", rows=1)
    structlog.reset_defaults()
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert "rows" in stream.getvalue()
    assert "\x1b" not in stream.getvalue(), "colours are for terminals"


def test_a_run_chooses_a_format_only_where_the_process_has_none(
    lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_logs(json=False, run_id="r1"):
        structlog.get_logger("test").info("loaded")
    (line,) = logged(lines)
    assert (line["event"], line["run_id"]) == ("loaded", "r1"), "the process's own format stays"

    structlog.reset_defaults()
    with run_logs(json=True, run_id="r2"):
        structlog.get_logger("test").info("loaded")
    structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["run_id"]) == ("loaded", "r2")
