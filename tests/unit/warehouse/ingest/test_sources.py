"""The relation that DuckDB gets of a raw file: every value as it was written, on the line where it was."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from warehouse.ingest.reading.sources import open_source
from warehouse.ingest.reading.streams import read_through

Rows = list[tuple[int, list[str | None]]]


def read_rows(path: Path, delimiter: str | None = None) -> tuple[list[str], Rows]:
    """Read the columns and, per row, its line and values."""
    with duckdb.connect() as connection:
        source = open_source(read_through(path), connection, delimiter=delimiter)
        source.attach(connection)
        values = ", ".join(column.expression for column in source.columns.values())
        rows = connection.execute(f"select line, problem, {values} from raw_rows order by line").fetchall()  # noqa: S608
    assert all(row[1] is None for row in rows)
    return list(source.columns), [(row[0], list(row[2:])) for row in rows]


fields = st.text(alphabet="aZé \"\n,;|\t\\'$^*]-", max_size=8)


@settings(max_examples=examples(200), deadline=None)
@given(
    rows=st.lists(st.lists(fields, min_size=3, max_size=3), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;|\t^$*+?.()[]\\-a :"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
@example(rows=[['""', ",", "\n"]], delimiter=",", quoting=csv.QUOTE_MINIMAL, newline="\r\n")
def test_csv_values_are_those_that_were_written(
    rows: list[list[str]], delimiter: str, quoting: int, newline: str
) -> None:
    rows = [["x", *row] for row in rows]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=newline)  # type: ignore[call-overload]
    writer.writerow(["first column", "b", 'the "c"', "d"])
    expected: Rows = []
    for row in rows:
        expected.append((buffer.getvalue().count("\n") + 1, list(row)))
        writer.writerow(row)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(buffer.getvalue().encode())
        columns, found = read_rows(path, None if delimiter in ",;|\t" else delimiter)
    assert columns == ["first column", "b", 'the "c"', "d"]
    assert found == expected


values = (
    st.none()
    | st.integers(-(2**62), 2**62)
    | st.text(max_size=8).filter(lambda text: "\0" not in text)
    | st.booleans()
)
keys = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6
) | st.sampled_from(["/", "~", "~1", "a/b", "$", "*", "'", '"', "[0]"])


def write_value(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


@settings(max_examples=examples(100), deadline=None)
@given(rows=st.lists(st.dictionaries(keys, values, min_size=1, max_size=4), min_size=1, max_size=6))
@example(rows=[{"": 1, "a": "x"}, {"a/b": "y", "~1": 5}])
def test_json_values_are_those_that_were_written(rows: list[dict[str, object]]) -> None:
    names = list(dict.fromkeys(key for row in rows for key in row if key))
    if not names:
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "a.ndjson"
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        array = Path(folder) / "b.json"
        array.write_text(json.dumps(rows, ensure_ascii=False, indent=2))
        for path in (lines, array):
            columns, found = read_rows(path)
            assert sorted(columns) == sorted(names)
            expected = [
                (place, [write_value(row.get(name)) for name in columns])
                for place, row in enumerate(rows, start=1)
            ]
            assert found == expected
