"""The published copy has the tables that people read and no others, however the build file was left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from warehouse.build.publishing import count_published, publish_warehouse
from warehouse.errors import BuildError
from warehouse.published import open_published
from warehouse.settings import Settings

BUILD = """
    create schema staging; create schema marts; create schema features;
    create view staging.raw as select 1 as id;
    create table staging.kept as from range(9);
    create table main.state as from range(3);
    create table marts.payments as select i as id, 'é' || i as name from range(5) t(i);
    create view marts.looking_back as from staging.raw;
    create table features."odd name" as from range(2);
"""

KILLED = """
import os, signal, sys
import duckdb

connection = duckdb.connect(sys.argv[1], config={"checkpoint_threshold": "1GB"})
connection.execute("insert into marts.payments values (5, 'late')")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(tmp_path)})
    settings.create_folders()
    with duckdb.connect(str(settings.build_file)) as connection:
        connection.execute(BUILD)
    return settings


def test_tables_of_marts_and_features_are_published_and_nothing_else(settings: Settings) -> None:
    rows = publish_warehouse(settings)
    assert rows == count_published(settings) == {"features.odd name": 2, "marts.payments": 5}
    with open_published(settings) as connection:
        assert connection.execute("select * from marts.payments where id = 4").fetchall() == [(4, "é4")]
        everything = "select table_schema || '.' || table_name from information_schema.tables order by all"
        assert connection.execute(everything).fetchall() == [("features.odd name",), ("marts.payments",)]
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        assert connection.execute("select count(*) from staging.kept").fetchall() == [(9,)]


def test_what_a_killed_process_left_beside_the_build_file_is_published(settings: Settings) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(settings.build_file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert settings.build_file.with_suffix(".duckdb.wal").exists()
    assert publish_warehouse(settings)["marts.payments"] == 6


def test_readers_keep_the_former_copy_and_a_build_that_cannot_be_read_leaves_it(settings: Settings) -> None:
    publish_warehouse(settings)
    with open_published(settings) as reader:
        with duckdb.connect(str(settings.build_file)) as connection:
            connection.execute("delete from marts.payments where id > 0")
        assert publish_warehouse(settings)["marts.payments"] == 1
        assert reader.execute("select count(*) from marts.payments").fetchall() == [(5,)]
    settings.build_file.write_bytes(b"no database at all" * 1_000)
    with pytest.raises(BuildError, match="the former copy stays"):
        publish_warehouse(settings)
    assert count_published(settings)["marts.payments"] == 1
