"""Evaluation of a published bundle on the test rows of a split, by the runtimes that serve it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ml.bundles.listing import find_bundle
from ml.bundles.store import VerifiedBundle, verify_bundle
from ml.errors import TrainingDataError
from ml.evaluation.folds import Validation
from ml.evaluation.report import ModelReport, cross_validate, evaluate_model
from ml.evaluation.scored_model import BundleModel
from ml.reports.progress import StageProgress
from ml.rows.facts import RowFacts
from ml.rows.known_labels import TRANSACTIONS
from ml.rows.protocols import TEST, TRAIN, chosen_protocol, with_whole_history
from ml.rows.training_data import TrainingData, read_training_data
from ml.runtimes.matrix import Float32Matrix
from ml.training.suite import SUITE, make_model
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.times import time_text

_STAGES: Final = 4


def evaluate_bundle(
    settings: Settings,
    *,
    reference: str | None = None,
    protocol: str | None = None,
    external_home: Path | None = None,
    folds: int = 0,
    prequential: int = 0,
    review_cost_minor: int,
    replicates: int = 200,
    seed: int = 0,
    progress: StageProgress = lambda what, done, total: None,
) -> ModelReport:
    """Evaluate a bundle on the test rows of a protocol, and write its report.

    Parameters
    ----------
    settings : Settings
        The home.
    reference : str, optional
        Which bundle, see `ml.bundles.listing.find_bundle`; by default the promoted one.
    protocol : str, optional
        How time is split; by default as the bundle was trained. It must not test what the bundle learned.
    external_home : Path, optional
        Another home, built, whose test rows (by its own mapping's protocol) are measured apart.
    folds, prequential : int, default=0
        Validation by refitting the bundle's model of the suite: on stratified folds of the training rows, on
        folds over time of all rows whose labels were known when the test begins.
    review_cost_minor, replicates, seed
        See `ml.evaluation.report.evaluate_model`.
    progress : callable, optional
        See `ml.training.train.TrainingProgress`.

    Raises
    ------
    TrainingDataError
        When the data does not allow it.
    BundleError
        When no such bundle verifies.
    """
    bundle = verify_bundle(find_bundle(settings, reference))
    training, name = bundle.manifest.training, bundle.manifest.name
    progress("joining features", 0, _STAGES)
    wanted = training.protocol if protocol is None else chosen_protocol(settings, protocol)
    data = read_training_data(settings, protocol=wanted, as_of_us=training.as_of_us)
    if data.split.windows.test_start_us < training.train_end_us:
        raise TrainingDataError(
            f"expected test rows from after {time_text(training.train_end_us)}, until when {name} was "
            f"trained, got rows from {time_text(data.split.windows.test_start_us)} on: choose another "
            "protocol, or train"
        )
    progress("validating by folds", 1, _STAGES)
    validations = _validations(
        settings, bundle, data, wanted, folds=folds, prequential=prequential, progress=progress
    )
    progress("evaluating", 2, _STAGES)
    external = None if external_home is None else _external(settings, external_home)
    matrix, labels, facts = _test_rows(settings, data, bundle)
    report = evaluate_model(
        BundleModel(bundle),
        matrix,
        labels,
        model_name=name,
        facts=facts,
        **({} if external is None else _external_rows(*external, bundle)),
        threshold=bundle.manifest.thresholds.review,
        review_cost_minor=review_cost_minor,
        validations=validations,
        replicates=replicates,
        seed=seed,
        data=_told(data, bundle),
        reports_dir=settings.reports_dir,
        progress=lambda what: progress(what, 3, _STAGES),
    )
    progress("evaluated", _STAGES, _STAGES)
    return report


def read_row_facts(settings: Settings, rows: pa.Table) -> RowFacts:
    """Read what is known of transactions beside their features.

    Parameters
    ----------
    settings : Settings
        The home.
    rows : pyarrow.Table
        `ml.rows.protocols.Split.rows`, or a part of it: in order of time and id.

    Returns
    -------
    RowFacts
        Aligned with `rows`; no amounts where they are of several currencies, no customers where there are
        none.
    """
    with open_published(settings, refused=TrainingDataError) as connection:
        connection.register("chosen", rows.select(["transaction_id"]))
        table = connection.execute(_FACTS).to_arrow_table()
        currencies = connection.execute(_CURRENCIES).fetchone()
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
    has_customers = table.column("customer_id").null_count < len(table)
    has_one_currency = currencies is not None and currencies[0] <= 1
    return RowFacts(
        customers=columns["customer_id"] if has_customers else None,
        event_us=columns["event_us"].astype(np.int64),
        # A label that is not known is known at the end of time.
        label_known_us=rows.column("label_known_us").fill_null(np.iinfo(np.int64).max).to_numpy(),
        amounts=columns["amount_minor"].astype(np.float64) if has_one_currency else None,
        earlier_transactions=columns["earlier"].astype(np.int64) if has_customers else None,
    )


_FACTS: Final = f"""
with customers as (
    select distinct customer_id
    from {TRANSACTIONS}
    inner join chosen using (transaction_id)
    where customer_id is not null
),

counted as (
    select
        transaction_id,
        rank() over (partition by customer_id order by event_us) - 1 as earlier
    from {TRANSACTIONS}
    inner join customers using (customer_id)
)

select
    facts.customer_id,
    facts.event_us,
    facts.amount_minor,
    coalesce(counted.earlier, 0) as earlier
from {TRANSACTIONS} as facts
inner join chosen using (transaction_id)
left join counted using (transaction_id)
order by facts.event_us, transaction_id
"""  # noqa: S608 - names of ours
_CURRENCIES: Final = (
    f"select count(distinct currency) from {TRANSACTIONS} inner join chosen using (transaction_id)"  # noqa: S608
)


def _validations(
    settings: Settings,
    bundle: VerifiedBundle,
    data: TrainingData,
    protocol: Mapping[str, Any],
    *,
    folds: int,
    prequential: int,
    progress: StageProgress,
) -> list[Validation]:
    """Refit the bundle's model: stratified on its training rows, over time on all that was known before."""
    name, training = bundle.manifest.name, bundle.manifest.training
    if (folds or prequential) and name not in SUITE:
        raise TrainingDataError(f"expected a model of the suite to refit on folds, got {name!r}")

    def refit(rows: TrainingData, **counts: int) -> list[Validation]:
        is_train = rows.part(TRAIN)
        return cross_validate(
            make_model(name, rows.features, seed=training.seed),
            rows.frame(is_train),
            rows.labels()[is_train],
            facts=read_row_facts(settings, rows.split.rows.filter(pa.array(is_train))),
            **counts,
            seed=training.seed,
            progress=lambda kind, done, total: progress(f"{kind} fold {done} of {total}", 1, _STAGES),
        )

    found = refit(data, folds=folds, prequential=0) if folds else []
    if prequential:
        progress("joining features of all history", 1, _STAGES)
        history = read_training_data(
            settings, protocol=with_whole_history(protocol), as_of_us=training.as_of_us
        )
        found += refit(history, folds=0, prequential=prequential)
    return found


def _test_rows(settings: Settings, data: TrainingData, bundle: VerifiedBundle) -> tuple[Any, Any, RowFacts]:
    is_test = data.part(TEST)
    facts = read_row_facts(settings, data.split.rows.filter(pa.array(is_test)))
    return _ordered(data, bundle)[is_test], data.labels()[is_test], facts


def _ordered(data: TrainingData, bundle: VerifiedBundle) -> Float32Matrix:
    """Return the matrix of the bundle's features in their order; an attribute that no row has is missing."""
    places = {feature.name: index for index, feature in enumerate(data.features)}
    absent = [spec.name for spec in bundle.manifest.features if spec.name not in places and spec.key is None]
    if absent:
        raise TrainingDataError(
            f"the warehouse no longer has the features {', '.join(absent[:5])}: train a new bundle"
        )
    matrix = np.full((len(data.matrix), len(bundle.manifest.features)), np.nan, dtype=np.float32)
    for index, spec in enumerate(bundle.manifest.features):
        if spec.name in places:
            matrix[:, index] = data.matrix[:, places[spec.name]]
    return matrix


def _external(settings: Settings, home: Path) -> tuple[Settings, TrainingData]:
    elsewhere = replace(settings, home=home.resolve())
    return elsewhere, read_training_data(elsewhere, protocol=chosen_protocol(elsewhere, None))


def _external_rows(elsewhere: Settings, data: TrainingData, bundle: VerifiedBundle) -> dict[str, Any]:
    matrix, labels, facts = _test_rows(elsewhere, data, bundle)
    return {"X_external": matrix, "y_external": labels, "facts_external": facts}


def _told(data: TrainingData, bundle: VerifiedBundle) -> str:
    windows, manifest = data.split.windows, bundle.manifest
    return (
        f"bundle {manifest.name}/{manifest.version}, protocol {data.split.protocol}, test rows from "
        f"{time_text(windows.test_start_us)} to {time_text(windows.test_end_us)}"
    )
