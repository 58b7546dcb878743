"""Ingest on files made by hand: every reason of refusal, every damage, every way to come twice."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.ingest_files import (
    PAYMENT,
    PAYMENT_US,
    ingest_one,
    make_payments,
    read_labels,
    read_landed,
    read_quarantine,
    read_transactions,
    write_bytes,
    write_csv,
    write_ndjson,
    write_parquet,
)
from warehouse.canonical import LANDED_SCHEMAS
from warehouse.errors import InputError, MappingError, UnreadableFileError
from warehouse.ingest.ingest import FilesRefusedError, ingest
from warehouse.ingest.mapping.loading import parse_mapping
from warehouse.landing.batches import list_batches, publish_batch, work_folder
from warehouse.quarantine import Problem
from warehouse.settings import Settings

DAY_US = 86_400_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CBP_HOME": str(tmp_path / "home")})


def test_a_file_lands_with_the_exact_schema(settings: Settings, tmp_path: Path) -> None:
    report = ingest_one(settings, write_csv(tmp_path / "a.csv", make_payments(3, is_fraud="0")))
    assert (report.accepted, report.labels, report.mapping) == (3, 3, "canonical")
    batch = list_batches(settings)[0]
    assert batch.path.name == report.batch
    for file, schema in LANDED_SCHEMAS.items():
        found = pq.read_schema(batch.path / file)
        assert {field.name: field.type for field in found} == {field.name: field.type for field in schema}
    assert read_transactions(settings)[0] == {
        "transaction_id": "t1",
        "customer_id": "c1",
        "merchant_id": "m1",
        "event_us": PAYMENT_US,
        "amount_minor": 1250,
        "currency": "EUR",
        "category": None,
        "channel": None,
        "country": None,
        "latitude": None,
        "longitude": None,
        "attributes_number": None,
        "attributes_text": None,
        "ingested_us": PAYMENT_US,
        "source": "file",
        "source_order": 2,
    }
    assert read_labels(settings)[0] == {
        "transaction_id": "t1",
        "is_fraud": False,
        "known_us": PAYMENT_US + 7 * DAY_US,
        "source": "file",
    }
    assert batch.protocol == {"name": "latest", "test_days": 7}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"transaction_id": " "}, Problem.TRANSACTION_ID_MISSING),
        ({"transaction_id": "x" * 201}, Problem.ID_TOO_LONG),
        ({"customer_id": "x" * 201}, Problem.ID_TOO_LONG),
        ({"event_time": ""}, Problem.EVENT_TIME_MISSING),
        ({"event_time": "2024-03-01T10:00:00"}, Problem.EVENT_TIME_UNREADABLE),
        ({"event_time": "2100-01-01T00:00:00Z"}, Problem.EVENT_TIME_OUT_OF_RANGE),
        ({"event_time": "1969-12-31T23:59:59Z"}, Problem.EVENT_TIME_OUT_OF_RANGE),
        ({"amount_minor": ""}, Problem.AMOUNT_MISSING),
        ({"amount_minor": "12,50"}, Problem.AMOUNT_NOT_A_NUMBER),
        ({"amount_minor": "nan"}, Problem.AMOUNT_NOT_A_NUMBER),
        ({"amount_minor": "-1"}, Problem.AMOUNT_NEGATIVE),
        ({"amount_minor": "1000000000001"}, Problem.AMOUNT_TOO_LARGE),
        ({"amount_minor": "1e300"}, Problem.AMOUNT_TOO_LARGE),
        ({"amount_minor": "12.5"}, Problem.AMOUNT_FRACTION),
        ({"kind": "Refund", "amount_minor": "-5"}, Problem.REFUND),
        ({"kind": "reversal"}, Problem.REFUND),
        ({"kind": "fee"}, Problem.UNKNOWN_KIND),
        ({"latitude": "90.01"}, Problem.PLACE_UNREADABLE),
        ({"longitude": "east"}, Problem.PLACE_UNREADABLE),
        ({"ingested_us": "yesterday"}, Problem.INGESTED_TIME_UNREADABLE),
        ({"is_fraud": "maybe"}, Problem.LABEL_UNREADABLE),
        ({"is_fraud": "1", "label_known_us": ""}, Problem.LABEL_TIME_UNREADABLE),
        ({"is_fraud": "1", "label_known_us": str(PAYMENT_US - 1)}, Problem.LABEL_BEFORE_EVENT),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "ndjson"])
def test_a_bad_row_is_refused_with_its_reason(
    settings: Settings, tmp_path: Path, ending: str, changed: dict[str, str], reason: Problem
) -> None:
    blank = dict.fromkeys(("kind", "latitude", "longitude", "ingested_us", "is_fraud"), "")
    known = {"label_known_us": str(PAYMENT_US)} if "label_known_us" in changed else {}
    rows = make_payments(3, **blank, **known)
    rows[1] |= changed
    write = write_csv if ending == "csv" else write_ndjson
    report = ingest_one(settings, write(tmp_path / f"a.{ending}", rows))
    assert (report.accepted, report.quarantined, report.reasons) == (2, 1, {reason: 1})
    assert read_quarantine(settings) == [(3 if ending == "csv" else 2, reason)]
    assert [row["transaction_id"] for row in read_transactions(settings)] == ["t1", "t3"]


@pytest.mark.parametrize(
    "changed",
    [
        {"amount_minor": "0"}, {"amount_minor": "1000000000000"}, {"amount_minor": "-0"},
        {"amount_minor": "1e3"}, {"amount_minor": "12.0"}, {"event_time": "1970-01-01T00:00:00Z"},
        {"event_time": "2099-12-31T23:59:59Z"},
        {"customer_id": ""}, {"merchant_id": ""}, {"transaction_id": "x" * 200},
        {"event_time": "2024-02-29T12:00:00+02:00"},
    ],
)  # fmt: skip
def test_values_on_the_edge_are_accepted(settings: Settings, tmp_path: Path, changed: dict[str, str]) -> None:
    assert ingest_one(settings, write_csv(tmp_path / "a.csv", [{**PAYMENT, **changed}])).accepted == 1


def test_lines_are_physical_behind_line_breaks_and_malformed_lines(
    settings: Settings, tmp_path: Path
) -> None:
    text = (
        "transaction_id,note,event_time,amount_minor\n"
        't1,"two\nlines",2024-03-01T10:00:00Z,1\n'
        "\n"
        "t2,too,many,columns,2024-03-01T10:00:00Z,1\n"
        't3,"never closed,2024-03-01T10:00:00Z,1\n'
        't4,"said ""hi""",2024-03-01T10:00:00Z,-1\n'
        "t5,,2024-03-01T10:00:00Z,1\n"
        "t6,few\n"
        "t7,last,2024-03-01T10:00:00Z,x"
    )
    report = ingest_one(settings, write_bytes(tmp_path / "a.csv", text.encode()))
    assert (report.accepted, report.unknown_columns) == (2, ("note",))
    assert read_quarantine(settings) == [
        (5, Problem.WRONG_COLUMNS),
        (6, Problem.WRONG_QUOTES),
        (7, Problem.AMOUNT_NEGATIVE),
        (9, Problem.WRONG_COLUMNS),
        (10, Problem.AMOUNT_NOT_A_NUMBER),
    ]
    contents = [row["content"] for row in read_landed(settings, "quarantine.parquet")]
    assert contents == [
        line for number, line in enumerate(text.split("\n"), start=1) if number in (5, 6, 7, 9, 10)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
def test_delimiters_and_byte_order_marks_are_found(
    settings: Settings, tmp_path: Path, delimiter: str, head: bytes
) -> None:
    names = ["transaction_id", '"event_time"', "amount_minor", "customer_id"]
    values = ["t1", "2024-03-01T10:00:00Z", "5", f'"a{delimiter}b"']
    text = delimiter.join(names) + "\r\n" + delimiter.join(values) + "\r\n"
    assert ingest_one(settings, write_bytes(tmp_path / "a.csv", head + text.encode())).accepted == 1
    assert read_transactions(settings)[0]["customer_id"] == f"a{delimiter}b"


def test_json_rows_are_read_as_they_are(settings: Settings, tmp_path: Path) -> None:
    good = {
        "transaction_id": 7,
        "event_us": PAYMENT_US,
        "amount_minor": 5,
        "customer_id": 'ü\n"',
        "is_fraud": True,
    }
    lines = [
        json.dumps(good),
        "{broken",
        "5",
        json.dumps(good | {"transaction_id": ["t"]}),
        "",
        json.dumps(good | {"transaction_id": "[t]", "items": [1, {"a": 2}], "label_known_us": None}),
    ]
    path = write_bytes(tmp_path / "a.json", "\n".join(lines).encode())
    report = ingest_one(settings, path, mapping=KNOWN_AFTER_A_DAY)
    assert report.unknown_columns == ("items", "label_known_us")
    assert read_quarantine(settings) == [
        (2, Problem.NOT_A_JSON_OBJECT),
        (3, Problem.NOT_A_JSON_OBJECT),
        (4, Problem.NESTED_VALUE),
    ]
    assert [row["transaction_id"] for row in read_transactions(settings)] == ["7", "[t]"]
    assert read_transactions(settings)[0]["customer_id"] == 'ü\n"'
    assert read_labels(settings)[0]["known_us"] == PAYMENT_US + DAY_US


KNOWN_AFTER_A_DAY = parse_mapping(
    """
    name: mine
    fields:
      transaction_id: transaction_id
      customer_id: customer_id
      event_us: {column: event_us, unit: us}
      amount_minor: {column: amount_minor, scale: 1}
    label: {column: is_fraud, known: {delay_days: 1}}
    """,
    origin="mine.yml",
)


def test_an_array_counts_its_elements(settings: Settings, tmp_path: Path) -> None:
    rows = [*make_payments(2), 5, {**PAYMENT, "amount_minor": None}]
    ingest_one(settings, write_bytes(tmp_path / "a.json.gz", json.dumps(rows, indent=2).encode()))
    assert read_quarantine(settings) == [(3, Problem.NOT_A_JSON_OBJECT), (4, Problem.AMOUNT_MISSING)]


def handbook_columns() -> dict[str, pa.Array]:
    times = [datetime(2018, 4, 1, 0, 0, 31), datetime(2018, 4, 1, 0, 2, 10), None]  # noqa: DTZ001 (wall clock)
    return {
        "TRANSACTION_ID": pa.array([0, 1, 2], pa.int32()),
        "TX_DATETIME": pa.array(times, pa.timestamp("us")),
        "CUSTOMER_ID": pa.array([596, None, 3], pa.int16()),
        "TERMINAL_ID": pa.array([3156, 3412, 5], pa.int16()),
        "TX_AMOUNT": pa.array([57.16, 81.51, 1.0], pa.float64()),
        "TX_TIME_SECONDS": pa.array([31, 130, 131], pa.int32()),
        "TX_TIME_DAYS": pa.array([0, 0, 0], pa.int16()),
        "TX_FRAUD": pa.array([1, 0, 0], pa.int8()),
        "TX_FRAUD_SCENARIO": pa.array([2, 0, 0], pa.int8()),
    }


def test_the_handbook_is_read(settings: Settings, tmp_path: Path) -> None:
    report = ingest_one(settings, write_parquet(tmp_path / "a.parquet", handbook_columns()))
    assert (report.mapping, report.accepted, report.unknown_columns) == ("handbook", 1, ())
    assert read_quarantine(settings) == [(2, Problem.CUSTOMER_ID_MISSING), (3, Problem.EVENT_TIME_MISSING)]
    row, label = read_transactions(settings)[0], read_labels(settings)[0]
    assert (row["transaction_id"], row["customer_id"], row["merchant_id"]) == ("0", "596", "3156")
    assert (row["event_us"], row["amount_minor"]) == (1_522_540_831_000_000, 5716)
    assert row["attributes_number"] is row["attributes_text"] is None
    assert (label["is_fraud"], label["known_us"]) == (True, 1_522_540_831_000_000 + 7 * DAY_US)
    content = json.loads(read_landed(settings, "quarantine.parquet")[0]["content"])
    assert content["TRANSACTION_ID"] == 1
    assert content["CUSTOMER_ID"] is None


def test_rows_without_ids_are_named_by_file_and_place(settings: Settings, tmp_path: Path) -> None:
    row = {
        "Time": "1.5",
        **{f"V{number}": f"{number / 7}" for number in range(1, 29)},
        "Amount": "149.625",
        "Class": "1",
    }
    path = write_csv(tmp_path / "creditcard.csv", [row, {**row, "V7": ""}, row])
    report = ingest_one(settings, path)
    assert (report.mapping, report.accepted, report.duplicates, report.repeated) == ("ulb", 3, 0, 1)
    landed = read_transactions(settings)
    assert len({row["transaction_id"] for row in landed}) == 3
    assert {row["customer_id"] for row in landed} == {None}
    assert landed[0]["event_us"] == 1_377_993_601_500_000
    assert landed[0]["amount_minor"] == 14_963
    assert dict(landed[0]["attributes_number"]) == {f"V{number}": number / 7 for number in range(1, 29)}
    assert len(landed[1]["attributes_number"]) == 27
    again = ingest_one(settings, write_bytes(tmp_path / "other.csv.gz", path.read_bytes()))
    assert again.already_landed


def test_the_same_file_twice_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", make_payments(5))
    first = ingest_one(settings, path)
    before = {file: file.stat().st_mtime_ns for file in settings.landing_dir.rglob("*") if file.is_file()}
    second = ingest_one(settings, path)
    assert (second.already_landed, second.batch, second.accepted) == (True, first.batch, 0)
    after = {file: file.stat().st_mtime_ns for file in settings.landing_dir.rglob("*") if file.is_file()}
    assert before == after


def test_a_row_is_a_duplicate_or_a_contradiction_within_a_file(settings: Settings, tmp_path: Path) -> None:
    rows = [
        {**PAYMENT, "amount_minor": "-1"},
        PAYMENT,
        {**PAYMENT, "amount_minor": "01250.0"},
        {**PAYMENT, "amount_minor": "1251"},
        {**PAYMENT, "customer_id": ""},
        {**PAYMENT, "event_time": "2024-03-01T11:00:00+01:00"},
    ]
    report = ingest_one(settings, write_csv(tmp_path / "a.csv", rows))
    assert (report.accepted, report.duplicates, report.quarantined) == (1, 2, 3)
    assert read_quarantine(settings) == [
        (2, Problem.AMOUNT_NEGATIVE),
        (5, Problem.CONFLICT),
        (6, Problem.CONFLICT),
    ]
    assert read_transactions(settings)[0]["source_order"] == 3
    assert (
        read_landed(settings, "quarantine.parquet")[1]["content"] == "t1,c1,m1,2024-03-01T10:00:00Z,1251,EUR"
    )


def test_what_landed_first_wins_over_later_files(settings: Settings, tmp_path: Path) -> None:
    ingest_one(settings, write_csv(tmp_path / "a.csv", make_payments(3)))
    rows = make_payments(5)
    rows[1]["amount_minor"] = "7"
    report = ingest_one(settings, write_ndjson(tmp_path / "b.ndjson", [*rows, rows[1]]))
    assert (report.accepted, report.duplicates, report.quarantined) == (2, 2, 2)
    assert read_quarantine(settings) == [(2, Problem.CONFLICT), (6, Problem.CONFLICT)]
    assert [row["transaction_id"] for row in read_transactions(settings)] == ["t1", "t2", "t3", "t4", "t5"]


def test_what_the_api_landed_is_a_duplicate_too(settings: Settings, tmp_path: Path) -> None:
    ingest_one(settings, write_csv(tmp_path / "a.csv", make_payments(1)))
    scored = pq.read_table(list_batches(settings)[0].transactions_path).to_pylist()[0]
    scored |= {
        "transaction_id": "t2", "source": "api", "attributes_number": {}, "attributes_text": {},
        "ingested_us": 5,
    }  # fmt: skip
    table = pa.Table.from_pylist([scored], schema=LANDED_SCHEMAS["transactions.parquet"])
    publish_batch(
        settings, "live", write=lambda folder: pq.write_table(table, folder / "transactions.parquet")
    )
    report = ingest_one(settings, write_csv(tmp_path / "b.csv", make_payments(3)))
    assert (report.accepted, report.duplicates, report.quarantined) == (1, 2, 0)


def test_a_label_that_changes_is_a_new_label(settings: Settings, tmp_path: Path) -> None:
    known = {"label_known_us": str(PAYMENT_US + DAY_US)}
    first = write_csv(tmp_path / "a.csv", [{**PAYMENT, "is_fraud": "0", **known}])
    later = {"label_known_us": str(PAYMENT_US + 9 * DAY_US)}
    second = write_csv(
        tmp_path / "b.csv", [{**PAYMENT, "is_fraud": "1", **later}, {**PAYMENT, "is_fraud": "0", **known}]
    )
    assert ingest_one(settings, first).labels == 1
    report = ingest_one(settings, second)
    assert (report.accepted, report.duplicates, report.labels) == (0, 2, 1)
    assert [(row["is_fraud"], row["known_us"] - PAYMENT_US) for row in read_labels(settings)] == [
        (False, DAY_US),
        (True, 9 * DAY_US),
    ]


def test_of_labels_of_the_same_instant_the_last_counts(settings: Settings, tmp_path: Path) -> None:
    known = {"label_known_us": str(PAYMENT_US + DAY_US)}
    fraud, genuine = ({**PAYMENT, "is_fraud": flag, **known} for flag in "10")
    files = {"a": [genuine, fraud], "b": [genuine], "c": [fraud, {**PAYMENT, "transaction_id": "t2"}]}
    for name, rows in files.items():
        # What is landed counts until another file says otherwise, also what it had said before.
        assert ingest_one(settings, write_csv(tmp_path / f"{name}.csv", rows)).labels == 1
    assert [row["is_fraud"] for row in read_labels(settings)] == [True, False, True]
    again = [fraud, {**PAYMENT, "transaction_id": "t3"}]
    assert ingest_one(settings, write_csv(tmp_path / "d.csv", again)).labels == 0


def damage(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.csv.gz", lambda good: gzip.compress(good)[:-1]),
        ("a.csv.gz", lambda good: gzip.compress(good)[: len(gzip.compress(good)) // 2]),
        ("a.csv.gz", lambda good: gzip.compress(good)[:-8] + bytes(8)),
        ("a.csv.gz", lambda good: gzip.compress(good) + b"garbage"),
        ("a.csv.gz", lambda good: good),
        ("a.csv.zst", lambda good: pa.compress(good, "zstd", asbytes=True)[:-3]),
        ("a.csv.zst", lambda good: good),
        ("a.ndjson.gz", lambda good: gzip.compress(b'{"a": 1}\n' * 9)[:-4]),
        ("a.parquet", lambda good: good),
        ("a.parquet", lambda good: b"PAR1" + os.urandom(500) + b"PAR1"),
        ("a.csv", lambda good: bytes(range(256)) * 3),
        ("a.csv", lambda good: gzip.compress(good)),
        ("a.json", lambda good: b'[{"a": 1}, {"a": 2}'),
        ("a.json", lambda good: b'[{"a": 1} {"a": 2}]'),
        ("a.json", lambda good: b'[{"a": [1]'),
    ],
)
def test_a_damaged_file_is_refused_whole(settings: Settings, tmp_path: Path, name: str, make: object) -> None:
    good = write_csv(tmp_path / "good.csv", make_payments(2_000)).read_bytes()
    path = damage(tmp_path / name, make(good))  # type: ignore[operator]
    with pytest.raises(UnreadableFileError, match="a\\."):
        ingest_one(settings, path)
    assert list_batches(settings) == []
    assert list(work_folder(settings).iterdir()) == []


def test_a_truncated_or_overwritten_parquet_is_refused_whole(settings: Settings, tmp_path: Path) -> None:
    columns = {name: pa.concat_arrays([array] * 40_000) for name, array in handbook_columns().items()}
    whole = write_parquet(tmp_path / "whole.parquet", columns).read_bytes()
    cut = damage(tmp_path / "cut.parquet", whole[: len(whole) // 2])
    middle = len(whole) // 3
    scratched = damage(
        tmp_path / "scratched.parquet", whole[:middle] + os.urandom(4_000) + whole[middle + 4_000 :]
    )
    for path in (cut, scratched):
        with pytest.raises(UnreadableFileError, match=path.name):
            ingest_one(settings, path)
    assert list_batches(settings) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.ndjson", b"", "is empty"),
        ("a.parquet", b"", "is empty"),
        ("a.csv", b"\n \n\n", "blank lines only"),
        ("a.csv", "transaction_id,ä".encode("utf-16"), "UTF-16"),
        ("a.csv", b"transaction_id,\xe4\n1,2\n", "header is not UTF-8"),
        ("a.csv", b"a,b\rc,d\re,f", "CR alone"),
        ("a.csv", b"a,b,a\n1,2,3\n", "the columns a stand twice"),
        ("a.csv", b'a,"b\n1,2\n', "header can't be read"),
        ("a.csv", b"a,b\n1,2\n", "fit no preset"),
        ("a.ndjson", b"5\n6\n", "no line is a JSON object"),
        ("a.json", b"[]", "holds no JSON object"),
        ("a.json", b'{\n"a": 1\n}', "no line is a JSON object"),
        ("a.xlsx", b"PK", "the ending must be"),
    ],
)
def test_what_is_no_table_is_refused_with_a_clear_word(
    settings: Settings, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ingest_one(settings, damage(tmp_path / name, content))
    assert list_batches(settings) == []


def test_what_is_no_file_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a file that can be read"):
        ingest_one(settings, tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        ingest_one(settings, tmp_path / "folder.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is not a file"):
        ingest_one(settings, tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="at least one file"):
        ingest(settings, [])


def test_a_header_alone_is_a_batch_without_rows(settings: Settings, tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.csv", b"transaction_id,event_us,amount_minor\n")
    report = ingest_one(settings, path)
    assert (report.accepted, report.quarantined, report.already_landed) == (0, 0, False)
    assert ingest_one(settings, path).already_landed


@pytest.mark.parametrize(
    ("column", "array", "message"),
    [
        ("TX_AMOUNT", pa.array([[1.0]]), r"column TX_AMOUNT has type DOUBLE\[\]: expected a number or text"),
        ("TX_AMOUNT", pa.array([True]), "column TX_AMOUNT has type BOOLEAN: expected a number or text"),
        ("TX_DATETIME", pa.array([5]), "column TX_DATETIME has type BIGINT: the mapping expects a time"),
        ("CUSTOMER_ID", pa.array([{"a": 1}]), r"column CUSTOMER_ID has type STRUCT\(a BIGINT\)"),
        ("TRANSACTION_ID", pa.array([b"x"]), "column TRANSACTION_ID has type BLOB"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(
    settings: Settings, tmp_path: Path, column: str, array: pa.Array, message: str
) -> None:
    columns = {name: values.slice(0, 1) for name, values in handbook_columns().items()}
    with pytest.raises(InputError, match=message):
        ingest_one(settings, write_parquet(tmp_path / "a.parquet", {**columns, column: array}))
    assert list_batches(settings) == []


def test_text_in_a_typed_file_is_refused_row_by_row(settings: Settings, tmp_path: Path) -> None:
    columns = {**handbook_columns(), "TX_AMOUNT": pa.array(["57.16", "abc", None])}
    columns["CUSTOMER_ID"] = pa.array(["a", "b", "c"]).dictionary_encode()
    columns["TX_DATETIME"] = pa.array(["2018-04-01 00:00:31", "x", "2018-04-01 00:00:31"])
    ingest_one(settings, write_parquet(tmp_path / "a.parquet", columns))
    assert read_quarantine(settings) == [(2, Problem.EVENT_TIME_UNREADABLE), (3, Problem.AMOUNT_MISSING)]
    assert read_transactions(settings)[0]["customer_id"] == "a"


def test_a_parquet_may_have_any_column_names(settings: Settings, tmp_path: Path) -> None:
    names = {"line": "a", "content": "b", "file_row_number": "c", 'say "hi"': "d", "LINE": "e"}
    columns = handbook_columns() | {name: pa.array([value] * 3) for name, value in names.items()}
    report = ingest_one(settings, write_parquet(tmp_path / "a.parquet", columns))
    assert (report.accepted, report.unknown_columns) == (1, tuple(names))
    assert json.loads(read_landed(settings, "quarantine.parquet")[0]["content"])['say "hi"'] == "d"


def test_a_file_name_is_no_pattern(settings: Settings, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a1.parquet", handbook_columns())
    path = write_parquet(tmp_path / "a[1]*'.parquet", handbook_columns())
    assert ingest_one(settings, path).file == "a[1]*'.parquet"
    csv = write_csv(tmp_path / "b[1]*'.csv", make_payments(1))
    assert ingest_one(settings, csv).accepted == 1


def test_a_bad_file_does_not_keep_the_others_from_landing(settings: Settings, tmp_path: Path) -> None:
    first = write_csv(tmp_path / "a.csv", make_payments(2))
    bad = damage(tmp_path / "b.csv.gz", gzip.compress(first.read_bytes())[:-9])
    alien = damage(tmp_path / "c.csv", b"x,y\n1,2\n")
    last = write_csv(tmp_path / "d.csv", make_payments(3))
    report = ingest(settings, [first, bad, alien, last])
    assert [(file.file, file.accepted) for file in report.files] == [("a.csv", 2), ("d.csv", 1)]
    with pytest.raises(
        FilesRefusedError, match=r"2 of 4 files were refused.*b\.csv\.gz.*c\.csv.*fit no preset"
    ):
        report.raise_on_failure()
    assert len(read_transactions(settings)) == 3


def test_one_bad_file_raises_its_own_error(settings: Settings, tmp_path: Path) -> None:
    report = ingest(settings, [damage(tmp_path / "c.csv", b"x,y\n1,2\n")])
    with pytest.raises(MappingError, match="fit no preset"):
        report.raise_on_failure()


def test_a_wrong_mapping_is_named_before_anything_is_read(settings: Settings, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", make_payments(2))
    with pytest.raises(MappingError, match="neither a preset"):
        ingest(settings, [path], mapping="absent.yml")
    with pytest.raises(
        MappingError, match="takes transaction_id from the column TRANSACTION_ID, the file has"
    ):
        ingest_one(settings, path, mapping="handbook")


def test_another_mapping_is_another_batch(settings: Settings, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", make_payments(2, event_us=str(PAYMENT_US), is_fraud="0"))
    ingest_one(settings, path)
    report = ingest_one(settings, path, mapping=KNOWN_AFTER_A_DAY)
    assert (report.already_landed, report.accepted, report.quarantined) == (False, 0, 2)


def test_steps_are_told(settings: Settings, tmp_path: Path) -> None:
    steps: list[str] = []
    path = write_csv(tmp_path / "a.csv", make_payments(2))
    ingest(settings, [path], progress=lambda file, step: steps.append(f"{file.name} {step}"))
    assert steps == [f"a.csv {step}" for step in ("reading", "mapping", "comparing", "writing", "landing")]


def test_a_file_that_grows_while_it_is_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", make_payments(2))

    def grow(file: Path, step: str) -> None:
        if step == "mapping":
            with path.open("a") as stream:
                stream.write("t9,c,m,2024-03-01T10:00:00Z,5,EUR\n")

    with pytest.raises(InputError, match="changed while it was read"):
        ingest(settings, [path], progress=grow).raise_on_failure()
    assert list_batches(settings) == []


def test_compressed_by_the_ordinary_tools(settings: Settings, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", make_payments(3))
    subprocess.run(["gzip", "-k", str(path)], check=True)  # noqa: S607
    (tmp_path / "two.csv.gz").write_bytes((tmp_path / "a.csv.gz").read_bytes())
    with (tmp_path / "two.csv.gz").open("ab") as stream:
        stream.write(gzip.compress(b"t8,c1,m1,2024-03-01T10:00:00Z,1,EUR\n"))
    assert ingest_one(settings, tmp_path / "two.csv.gz").accepted == 4
