"""What training reads: attributes of rows, and a warehouse that isn't there or is of an earlier version."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ml.errors import TrainingDataError
from ml.rows.training_data import attribute_matrix
from tests.support.examples import examples
from warehouse.published import open_published
from warehouse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(tmp_path)})
    settings.create_folders()
    return settings


def test_without_a_published_warehouse_one_is_to_be_built(settings: Settings) -> None:
    with (
        pytest.raises(TrainingDataError, match="found none: run `cbp build`"),
        open_published(settings, refused=TrainingDataError),
    ):
        pass


def test_a_warehouse_of_an_earlier_version_is_to_be_built_again(settings: Settings) -> None:
    duckdb.connect(str(settings.published_file)).close()
    with (
        pytest.raises(TrainingDataError, match=r"fct_superseded_labels.*run `cbp build`"),
        open_published(settings, refused=TrainingDataError) as connection,
    ):
        connection.execute("from fct_superseded_labels")


KEYS = st.sampled_from(["V1", "V2", "V10", "é", "", "with 'quotes'"])
NUMBERS = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 1e300, -1e300, 5e-324]), st.floats(allow_nan=False)
)


@hypothesis_settings(max_examples=examples(100), deadline=None)
@given(
    rows=st.lists(st.one_of(st.none(), st.dictionaries(KEYS, NUMBERS, max_size=4)), max_size=12),
    keys=st.lists(KEYS, unique=True),
    data=st.data(),
)
def test_attributes_are_looked_up_row_by_row(
    rows: list[dict[str, float | None] | None], keys: list[str], data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    chosen = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)) if rows else []
    with duckdb.connect() as connection:
        table = pa.table(
            {
                "transaction_id": pa.array([f"t{number}" for number in range(len(rows))], pa.string()),
                "event_us": pa.array(times, pa.int64()),
                "attributes_number": pa.array(
                    [None if row is None else [*row.items()] for row in rows],
                    pa.map_(pa.string(), pa.float64()),
                ),
            }
        )
        connection.register("given", table)
        connection.execute("create schema marts; create table marts.fct_transactions as from given")
        names = [*(f"t{number}" for number in chosen), *(["nowhere"] if keys else [])]
        ids = pa.table({"transaction_id": pa.array(names, pa.string())})
        found = attribute_matrix(connection, ids, keys)
    in_order = sorted(chosen, key=lambda number: (times[number], f"t{number}"))
    values = [[(rows[number] or {}).get(key) for key in keys] for number in in_order]
    largest = float(np.finfo(np.float32).max)
    expected = [
        np.nan if value is None else np.float32(min(max(value, -largest), largest))
        for row in values
        for value in row
    ]
    assert found.shape == (len(chosen), len(keys))
    assert found.tobytes() == np.asarray(expected, dtype=np.float32).tobytes()
