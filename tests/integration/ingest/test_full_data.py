"""The full development data through ingest; skipped where it is absent."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tests.support.ingest_files import ingest_one
from warehouse.landing.batches import list_batches
from warehouse.settings import PROJECT_ROOT, Settings

DATA = PROJECT_ROOT.parent / "shared" / "data"


def find(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"needs ../shared/data/{name}, which is not part of the project")
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CBP_HOME": str(tmp_path / "home")})


def test_the_handbook_data_lands_whole(settings: Settings) -> None:
    path = find("handbook_transactions.parquet")
    report = ingest_one(settings, path)
    assert (report.mapping, report.accepted, report.duplicates, report.quarantined) == (
        "handbook",
        1_754_155,
        0,
        0,
    )
    batch = list_batches(settings)[0]
    transactions, labels = str(batch.transactions_path), str(batch.labels_path)
    (differing,) = duckdb.execute(
        """
        select count(*) from read_parquet($raw) as raw
        full join read_parquet($landed) as landed on landed.transaction_id = raw.TRANSACTION_ID::varchar
        where landed.event_us is distinct from epoch_us(raw.TX_DATETIME)
            or landed.amount_minor is distinct from round(raw.TX_AMOUNT * 100)::bigint
            or landed.customer_id is distinct from raw.CUSTOMER_ID::varchar
            or landed.merchant_id is distinct from raw.TERMINAL_ID::varchar
            or landed.ingested_us is distinct from landed.event_us
        """,
        {"raw": str(path), "landed": transactions},
    ).fetchall()[0]
    assert differing == 0
    found = duckdb.execute(
        """
        select count(*), count(*) filter (where is_fraud), min(known_us - event_us), max(known_us - event_us)
        from read_parquet($labels) inner join read_parquet($landed) using (transaction_id)
        """,
        {"labels": labels, "landed": transactions},
    ).fetchall()[0]
    assert found == (1_754_155, 14_681, 7 * 86_400_000_000, 7 * 86_400_000_000)
    assert ingest_one(settings, path).already_landed


def test_the_card_data_keeps_its_repeated_rows(settings: Settings) -> None:
    report = ingest_one(settings, find("creditcard.csv.zst"))
    assert (report.mapping, report.accepted, report.labels) == ("ulb", 284_807, 284_807)
    assert (report.duplicates, report.quarantined, report.repeated) == (0, 0, 1_081)
