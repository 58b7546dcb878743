"""Mapping files: a small strict language, presets, and SQL that nothing in them can escape from."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from warehouse.errors import InputError, MappingError
from warehouse.ingest.mapping.loading import load_mapping, parse_mapping, preset_names, recognise_mapping
from warehouse.ingest.mapping.statement import render_mapping
from warehouse.ingest.mapping.values import RawColumn

MINIMAL = """
name: mine
fields:
  transaction_id: id
  event_us: {column: at, unit: s}
  amount_minor: {column: sum, scale: 100}
"""
HANDBOOK_COLUMNS = [
    "TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT",
    "TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD", "TX_FRAUD_SCENARIO",
]  # fmt: skip


def parse(text: str) -> object:
    return parse_mapping(text, origin="mine.yml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yml: the file"),
        ("[1", "not valid YAML"),
        ("a: 1\na: 2", "key a stands twice"),
        ("[" * 5_000, "not valid YAML"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("name: mine", "fields: Field required"),
        (MINIMAL + "colour: red\n", "colour: unknown key"),
        (MINIMAL + "  colour: red\n", "fields.colour: unknown key"),
        (MINIMAL.replace("scale: 100", "scale: 3"), "fields.amount_minor.0.scale"),
        (MINIMAL.replace("unit: s", "unit: weeks"), "fields.event_us.0.unit"),
        (MINIMAL.replace(", unit: s", ""), "exactly one of unit"),
        (MINIMAL.replace("unit: s", "unit: s, zone: UTC"), "zone goes with format"),
        (MINIMAL.replace("unit: s", "format: iso, origin: 2018-01-01T00:00:00Z"), "origin goes with unit"),
        (MINIMAL.replace("unit: s", "format: iso, zone: Mars/Olympus"), "unknown time zone"),
        (MINIMAL.replace("unit: s", "format: '%Q'"), "expected iso, or a pattern"),
        (MINIMAL + "  currency: {constant: NO}\n", "valid string"),
        (MINIMAL + "  currency: {constant: EUR, column: c}\n", "exactly one of column"),
        (MINIMAL + "  customer_id: {generate: file_and_row}\n", "only transaction_id can be generated"),
        (MINIMAL + "label: {column: fraud}\n", "label.known"),
        (MINIMAL + "label: {column: fraud, known: {delay_days: -1}}\n", "label.known"),
        (MINIMAL + "protocol: {test_days: 7}\n", "give its name"),
        (MINIMAL + "protocol: {name: a, nested: {b: 1}}\n", "protocol"),
        (MINIMAL + 'delimiter: "\\""\n', "delimiter"),
        (MINIMAL + "delimiter: é\n", "delimiter"),
    ],
)
def test_a_mapping_that_does_not_fit_the_schema_is_refused(text: str, message: str) -> None:
    with pytest.raises(MappingError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.yml: ")


def test_presets_are_recognised_by_their_columns() -> None:
    assert recognise_mapping(HANDBOOK_COLUMNS).name == "handbook"
    assert recognise_mapping(["transaction_id", "event_us", "amount_minor"]).name == "canonical"
    ulb = ["Time", *(f"V{number}" for number in range(1, 29)), "Amount", "Class"]
    assert recognise_mapping(ulb).name == "ulb"


def test_columns_that_fit_no_preset_or_several_are_refused() -> None:
    with pytest.raises(MappingError, match="fit no preset"):
        recognise_mapping(["a", "b"])
    with pytest.raises(MappingError, match="fit the presets canonical and handbook"):
        recognise_mapping([*HANDBOOK_COLUMNS, "transaction_id", "amount_minor"])


def test_every_preset_loads_and_carries_a_protocol() -> None:
    assert preset_names() == ("canonical", "handbook", "ulb")
    for name in preset_names():
        preset = load_mapping(name)
        assert preset.name == name
        assert preset.protocol is not None


def test_the_handbook_protocol_is_the_published_split() -> None:
    assert load_mapping("handbook").protocol == {
        "name": "handbook",
        "train_start": "2018-07-25",
        "train_days": 7,
        "delay_days": 7,
        "test_days": 7,
    }


def test_the_way_a_fraud_was_simulated_is_never_read() -> None:
    columns = {name: RawColumn(name, f"value_{place}") for place, name in enumerate(HANDBOOK_COLUMNS)}
    statement = render_mapping(load_mapping("handbook"), columns, content="content", content_sha256="0")
    assert f"value_{HANDBOOK_COLUMNS.index('TX_FRAUD_SCENARIO')}" not in statement.sql
    assert statement.unknown_columns == ()


def test_a_mapping_file_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(MINIMAL)
    assert load_mapping(str(tmp_path / "mine.yml")).name == "mine"
    with pytest.raises(MappingError, match="neither a preset"):
        load_mapping(str(tmp_path / "absent.yml"))
    with pytest.raises(MappingError, match="neither a preset"):
        load_mapping(str(tmp_path))
    (tmp_path / "large.yml").write_text("#" * 300_000)
    with pytest.raises(MappingError, match="at most"):
        load_mapping(str(tmp_path / "large.yml"))


def test_the_fingerprint_is_of_what_the_mapping_does() -> None:
    mapping = parse_mapping(MINIMAL, origin="a")
    same = parse_mapping("# a comment\n" + MINIMAL.replace("id: id", 'id: {column: "id"}'), origin="b")
    other = parse_mapping(MINIMAL.replace("scale: 100", "scale: 10"), origin="a")
    assert mapping.fingerprint == same.fingerprint != other.fingerprint


def raw_columns(*names: str) -> dict[str, RawColumn]:
    return {name: RawColumn(name, f"fields[{place}]") for place, name in enumerate(names, start=1)}


def test_a_column_that_the_file_lacks_is_named() -> None:
    with pytest.raises(
        MappingError, match="takes the amount from the column sum, the file has id, at, other"
    ):
        render_mapping(
            parse_mapping(MINIMAL, origin="a"),
            raw_columns("id", "at", "other"),
            content="content",
            content_sha256="0",
        )


def test_unknown_columns_are_named_or_refused() -> None:
    columns = raw_columns("id", "at", "sum", "new", "old")
    ignoring = parse_mapping(MINIMAL + "drop: [old]\n", origin="a")
    assert render_mapping(ignoring, columns, content="content", content_sha256="0").unknown_columns == (
        "new",
    )
    refusing = parse_mapping(MINIMAL + "drop: [old]\nother_columns: refuse\n", origin="a")
    with pytest.raises(MappingError, match="does not know the columns new"):
        render_mapping(refusing, columns, content="content", content_sha256="0")


@settings(max_examples=examples(100), deadline=None)
@given(
    text=st.text(min_size=1, max_size=20)
    | st.sampled_from(["'", "'; drop table raw_rows; --", '"', "\\'", "{x}", "%s"])
)
def test_nothing_in_a_mapping_leaves_its_literal(text: str) -> None:
    if "\0" in text:
        return
    mapping = parse_mapping(MINIMAL, origin="a").model_copy(
        update={
            "fields": parse_mapping(MINIMAL, origin="a").fields.model_copy(
                update={
                    "currency": (
                        load_mapping("ulb").fields.currency[0].model_copy(update={"constant": text}),
                    )
                }
            ),
            "attributes": load_mapping("ulb").attributes.model_copy(
                update={"number": {text: "sum"}, "text": {text: "id"}}
            ),
        }
    )
    with duckdb.connect() as connection:
        connection.execute(
            "create table raw_rows as select 1::bigint as line, 'raw' as content, null::varchar as problem,"
            " ['t1', '60', '12.34'] as fields"
        )
        statement = render_mapping(
            mapping, raw_columns("id", "at", "sum"), content="content", content_sha256=text
        )
        row = connection.sql(statement.sql).fetchall()[0]
        names = [column[0] for column in connection.sql(statement.sql).description]
    found = dict(zip(names, row, strict=True))
    assert found["currency"] == text
    assert found["attributes_number"] == {text: 12.34}
    assert found["attributes_text"] == {text: "t1"}
    assert (found["transaction_id"], found["event_us"], found["amount_minor"]) == ("t1", 60_000_000, 1234)


def test_a_type_that_can_not_be_an_amount_is_refused() -> None:
    columns = raw_columns("id", "at", "sum") | {"sum": RawColumn("sum", "value", "DOUBLE[]")}
    with pytest.raises(InputError, match=r"column sum has type DOUBLE\[\]"):
        render_mapping(parse_mapping(MINIMAL, origin="a"), columns, content="content", content_sha256="0")
