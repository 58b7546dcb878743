"""The build's connection, made by dbt-duckdb from profiles.yml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.environments import Environment, create
from jinja2 import Template

from warehouse.settings import PROJECT_ROOT


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """Open a new home's build file as dbt does, with little memory."""
    variables = {"CBP_HOME": str(tmp_path / "home"), "CBP_MEMORY_LIMIT": "100MB"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = (PROJECT_ROOT / "profiles.yml").read_text(encoding="utf-8")
    rendered = Template(text).render(env_var=lambda name, default: variables.get(name, default))
    output: dict[str, Any] = yaml.safe_load(rendered)["customer_behavior_profiling"]["outputs"]["duckdb"]
    opened = create(DuckDBCredentials.from_dict(output | {"schema": "main"}))
    yield opened
    opened.close()


def test_a_build_that_has_spilled_goes_on(environment: Environment, tmp_path: Path) -> None:
    """DuckDB takes no other spill folder once it has spilled: no later cursor may set it again."""
    first = environment.handle().cursor()
    first.execute(
        "create table spilled as "
        "select hash(number) as id, 'x' || number as name from range(3000000) as numbers (number)"
    )
    spilled = first.execute(
        "from (select *, row_number() over (order by id) as place from spilled) where place = 3000000"
    )
    assert len(spilled.fetchall()) == 1
    assert (tmp_path / "home" / "warehouse" / "spill").is_dir(), (
        "nothing was spilled: the test would say nothing"
    )
    second = environment.handle().cursor()
    found = second.execute("select current_setting('memory_limit'), current_setting('TimeZone')").fetchall()
    assert found == [("95.3 MiB", "UTC")]
