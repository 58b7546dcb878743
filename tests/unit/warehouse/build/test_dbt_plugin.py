"""DuckDB gives its buffers up while loops run, and has its memory back afterwards."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from warehouse.build.dbt_plugin import buffers_let_go


def limit_of(connection: duckdb.DuckDBPyConnection) -> str:
    ((limit,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    return str(limit)


def used_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    ((used,),) = connection.execute("select sum(memory_usage_bytes) from duckdb_memory()").fetchall()
    return int(used)


def test_what_was_read_is_let_go_and_the_limit_comes_back(tmp_path: Path) -> None:
    file = str(tmp_path / "build.duckdb")
    with duckdb.connect(file) as connection:
        connection.execute("create table numbers as select random() as number from range(6_000_000)")
    with duckdb.connect(file, config={"memory_limit": "128MiB"}) as connection:
        connection.execute("select sum(number) from numbers").fetchall()
        assert used_bytes(connection) > 32 << 20
        with buffers_let_go(connection):
            assert limit_of(connection) == "32.0 MiB"
            assert used_bytes(connection) <= 32 << 20
        assert limit_of(connection) == "128.0 MiB"


def test_the_limit_comes_back_after_an_error() -> None:
    with duckdb.connect(config={"memory_limit": "128MiB"}) as connection:
        with pytest.raises(duckdb.CatalogException), buffers_let_go(connection):
            connection.execute("select * from nowhere")
        assert limit_of(connection) == "128.0 MiB"


def test_what_can_not_be_let_go_stays() -> None:
    with duckdb.connect(config={"memory_limit": "128MiB", "temp_directory": ""}) as connection:
        connection.execute("create table numbers as select random() as number from range(6_000_000)")
        with buffers_let_go(connection):
            assert limit_of(connection) == "128.0 MiB"
            assert connection.execute("select count(*) from numbers").fetchall() == [(6_000_000,)]
