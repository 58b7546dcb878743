"""The rows of raw files as a relation ``raw_rows`` in DuckDB.

`open_source` finds a file's columns; `Source.attach` makes ``raw_rows``: line, content, problem, and what the
columns' expressions name. Attaching again starts at the first row again.
"""
# ruff: noqa: S608 (SQL is composed here; names of a file are escaped literals, never identifiers)

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import InputError, UnreadableFileError
from warehouse.ingest.mapping.fields import show_names
from warehouse.ingest.mapping.values import RawColumn
from warehouse.ingest.reading.csv_records import make_csv_scan
from warehouse.ingest.reading.names import Compression, RawFormat
from warehouse.ingest.reading.streams import BOM, WHITESPACE, RawFile, open_stream, translate_errors
from warehouse.ingest.reading.text_records import RECORD_SCHEMA, Scan, read_records, scan_lines
from warehouse.quarantine import Problem
from warehouse.sql_text import literal

_MAX_COLUMNS: Final = 2_000
_MAX_JSON_OBJECT_BYTES: Final = 64 << 20
_RECORD: Final = "rtrim(content, e'\\r\\n')"
_DUCKDB_NAMES: Final = {
    Compression.NONE: "uncompressed",
    Compression.GZIP: "gzip",
    Compression.ZSTD: "zstd",
}
_DELIMITERS: Final = ",;\t|"


@dataclass(frozen=True)
class Source:
    """A file whose columns are known.

    Parameters
    ----------
    columns : Mapping of str to RawColumn
        In the file's order.
    content : str
        SQL that gives a row's content, to be shown in quarantine.
    attach : callable
        Makes the relation ``raw_rows`` on a connection, from the first row on.
    """

    columns: Mapping[str, RawColumn]
    content: str
    attach: Callable[[duckdb.DuckDBPyConnection], None]


def open_source(
    file: RawFile, connection: duckdb.DuckDBPyConnection, *, delimiter: str | None = None
) -> Source:
    """Find a file's columns.

    Parameters
    ----------
    file : RawFile
        Read through before.
    connection : duckdb.DuckDBPyConnection
        To look into the file with.
    delimiter : str, optional
        Between the columns of a CSV; by default found in the header.

    Raises
    ------
    InputError
        When the header or the columns are not such.
    UnreadableFileError
        When DuckDB can't read the file.
    """
    if file.name.format is RawFormat.CSV:
        return _open_csv(file, delimiter)
    with translate_errors(file.path):
        if file.name.format is RawFormat.NDJSON:
            return _open_ndjson(file, connection)
        if file.name.format is RawFormat.JSON:
            return _open_json(file, connection)
        return _open_parquet(file, connection)


def _open_csv(file: RawFile, delimiter: str | None) -> Source:
    header, length, lines = _read_header(file)
    delimiter = delimiter or _guess_delimiter(header)
    names = _parse_header(file, header, delimiter)
    plain = f"string_split(replace({_RECORD}, '\"', ''), {literal(delimiter)})"
    quoted = _split_quoted(delimiter)
    split = f"case when needs_quotes then {quoted} else {plain} end"
    fields = f"case when problem is null then {split} end"
    columns = {name: RawColumn(name, f"fields[{place}]") for place, name in enumerate(names, start=1)}
    scan = make_csv_scan(delimiter, columns=len(names))
    return Source(
        columns, _RECORD, _attach_records(file, scan, fields=fields, skip=length, first_line=lines + 1)
    )


def _read_header(file: RawFile) -> tuple[str, int, int]:
    """Return the first line that is not blank, the bytes up to its end, and how many lines they are."""
    length = len(BOM) if file.head.startswith(BOM) else 0
    for lines, line in enumerate(file.head[length:].split(b"\n"), start=1):
        length += len(line) + 1
        if not line.strip(WHITESPACE):
            continue
        try:
            header = line.rstrip(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise UnreadableFileError(
                f"{file.path.name}: the header is not UTF-8 text: save the file as UTF-8"
            ) from None
        if "\r" in header:
            raise InputError(f"{file.path.name}: lines must end with LF or CRLF, not CR alone: convert them")
        return header, length, lines
    raise InputError(f"{file.path.name} holds blank lines only: expected a header")


def _guess_delimiter(header: str) -> str:
    outside_quotes = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside_quotes.count)


def _parse_header(file: RawFile, header: str, delimiter: str) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter, strict=True))]
    except csv.Error as error:
        raise InputError(
            f"{file.path.name}: the header can't be read ({error}): expected names on one line"
        ) from error
    return _check_names(names)


def _check_names(names: list[str]) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"the columns {show_names(repeated)} stand twice: give each a name of its own")
    if len(names) > _MAX_COLUMNS:
        raise InputError(f"expected at most {_MAX_COLUMNS:,} columns, got {len(names):,}")
    return names


def _split_quoted(delimiter: str) -> str:
    """Split a well-formed record into fields and take off their quotes.

    A delimiter is put in front, so that each field is matched behind one and no match is empty.
    """
    escaped = re.escape(delimiter)
    pattern = literal(f'{escaped}("(?:[^"]|"")*"|[^{escaped}]*)')
    pieces = f"regexp_extract_all({literal(delimiter)} || {_RECORD}, {pattern}, 1)"
    bare = "replace(substr(piece, 2, length(piece) - 2), '\"\"', '\"')"
    unquoted = f"case when starts_with(piece, '\"') then {bare} else piece end"
    return f"list_transform({pieces}, lambda piece: {unquoted})"


def _open_ndjson(file: RawFile, connection: duckdb.DuckDBPyConnection) -> Source:
    attach_lines = _attach_records(file, scan_lines, fields="cast(null as varchar[])")
    attach_lines(connection)
    names = _list_keys(connection)
    if not names:
        raise InputError(
            f"{file.path.name}: no line is a JSON object: expected one object a line, or one array"
        )
    attach = _attach_records(file, scan_lines, fields=_extract_values(names), problem=_find_json_problem())
    return Source(_name_json_columns(names), _RECORD, attach)


def _open_json(file: RawFile, connection: duckdb.DuckDBPyConnection) -> Source:
    path = literal(str(file.path))
    compression = _DUCKDB_NAMES[file.name.compression]
    objects = (
        "select row_number() over () as line, cast(json as varchar) as content, null::varchar as problem"
        f" from read_json_objects({path}, format = 'array', compression = '{compression}',"
        f" maximum_object_size = {_MAX_JSON_OBJECT_BYTES})"
    )
    connection.execute(f"create or replace temp view raw_rows as {objects}")
    names = _list_keys(connection)
    if not names:
        raise InputError(f"{file.path.name}: the array holds no JSON object: expected an array of objects")

    def attach(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "create or replace temp view raw_rows as "
            f"select line, content, {_find_json_problem()} as problem, {_extract_values(names)} as fields"
            f" from ({objects})"
        )

    return Source(_name_json_columns(names), "content", attach)


def _list_keys(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """List the keys of all objects in ``raw_rows``, in order of first appearance."""
    rows = connection.execute(
        "select key from (select unnest(case when json_valid(content) then json_keys(content) end) as key,"
        " line from raw_rows where problem is null) group by key order by min(line), key"
        f" limit {_MAX_COLUMNS + 1}"
    ).fetchall()
    return _check_names([str(key) for (key,) in rows if key])


def _find_json_problem() -> str:
    # Only CASE keeps the look at the type from texts that are no JSON: DuckDB evaluates both sides of AND.
    is_object = "case when json_valid(content) then json_type(content) = 'OBJECT' else false end"
    return (
        f"case when problem is not null then problem::varchar when not {is_object}"
        f" then {literal(Problem.NOT_A_JSON_OBJECT)} end"
    )


def _extract_values(names: list[str]) -> str:
    pointers = ", ".join(literal(_point_to(name)) for name in names)
    values = f"json_extract_string(content, [{pointers}])"
    return f"case when problem is null and json_valid(content) then {values} end"


def _name_json_columns(names: list[str]) -> dict[str, RawColumn]:
    return {
        name: RawColumn(
            name,
            f"fields[{place}]",
            is_nested=f"json_type(content, {literal(_point_to(name))}) in ('ARRAY', 'OBJECT')",
        )
        for place, name in enumerate(names, start=1)
    }


def _point_to(name: str) -> str:
    """Write a key as a JSON pointer (RFC 6901, section 3)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _attach_records(
    file: RawFile,
    scan: Scan,
    *,
    fields: str,
    problem: str = "problem::varchar",
    skip: int = 0,
    first_line: int = 1,
) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """Return what makes ``raw_rows`` of a text's records, behind `skip` bytes."""
    skipped = skip or (len(BOM) if file.head.startswith(BOM) else 0)

    def read() -> Iterator[pa.RecordBatch]:
        with open_stream(file.path, file.name.compression) as stream:
            stream.read(skipped)
            yield from read_records(stream, scan, first_line=first_line)

    def attach(connection: duckdb.DuckDBPyConnection) -> None:
        connection.register("raw_records", pa.RecordBatchReader.from_batches(RECORD_SCHEMA, read()))
        connection.execute(
            "create or replace temp view raw_rows as "
            f"select line, content, {problem} as problem, {fields} as fields from raw_records"
        )

    return attach


def _open_parquet(file: RawFile, connection: duckdb.DuckDBPyConnection) -> Source:
    with pq.ParquetFile(file.path) as opened:
        names = _check_names(list(opened.schema_arrow.names))
    path = literal(str(file.path))
    described = connection.execute(f"describe select * from read_parquet({path})").fetchall()
    types = [str(row[1]) for row in described]
    # The file's own names could collide with ours, or with each other but for their case.
    columns = {name: RawColumn(name, f"value_{place}", types[place]) for place, name in enumerate(names)}
    aliases = ", ".join(f"value_{place}" for place in range(len(names)))
    # Row numbers that the reader gives keep it parallel; a column of that name must not be shadowed.
    has_own = any(name.lower() == "file_row_number" for name in names)
    option, place = ("", "") if has_own else (", file_row_number = true", ", place")
    raw = f"(select * from read_parquet({path}{option})) as raw({aliases}{place})"
    line = "row_number() over ()" if has_own else "place + 1"
    pairs = ", ".join(f"{literal(name)}, {column.expression}" for name, column in columns.items())

    def attach(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            f"create or replace temp view raw_rows as select {line} as line,"
            f" cast(null as varchar) as content, cast(null as varchar) as problem, {aliases} from {raw}"
        )

    return Source(columns, f"cast(json_object({pairs}) as varchar)", attach)
