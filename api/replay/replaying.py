"""Replays history through the real server, and compares what it used with what dbt computed elsewhere.

Two homes are made below ``<home>/replay``; whatever else uses the home is not touched, its landing only read:

``never-served``
    What became known until the end, built by dbt; no API ever runs there. Its tables are what values are
    compared with.
``served``
    What was known at the start; then a server with stores and a port of its own gets transactions in the
    order in which they became known. Profiles and risk are the other home's snapshots, each materialized at
    the instant from which it counts: they are as of their day by construction.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from api.clock import now_us
from api.replay.client import ScoringClient
from api.replay.comparison import Comparison, compare_derived, compare_with_warehouse, dbt_features
from api.replay.declared import Declarations, read_declarations
from api.replay.freshness import FreshnessProbe
from api.replay.homes import api_settings, create_scorer, fresh_home
from api.replay.lateness import Explanation, explain
from api.replay.oracle import arrived_events, compare_with_oracle
from api.replay.records import USED_FILE, Recorded, write_used
from api.replay.sending import Progress, Sent, daily_instants, send
from api.replay.server import running_server
from api.replay.stages import Announce, Stages
from api.replay.stream import Stream, read_stream
from api.settings import ApiSettings, generate_keys
from ml import bundles, features
from ml.catalog import read_compiled_sql
from ml.errors import BundleError
from ml.scoring import Bundle, Scorer
from ml.training import train
from warehouse.building import build
from warehouse.live_backfill import backfill_live_windows
from warehouse.live_store import LiveStore
from warehouse.settings import Settings


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, and how.

    Parameters
    ----------
    from_us : int
        What became known from then on is sent (UTC microseconds).
    to_us : int or None
        Up to before this; None: to the end.
    speed : float or None
        Replayed seconds in a second; None: as fast as possible.
    sample : float
        Share of the customers whose transactions are scored; the others' are loaded in their order.
    seed : int
        Of the model that is trained when none fits.
    """

    from_us: int
    to_us: int | None = None
    speed: float | None = None
    sample: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Traffic:
    """What went through the server.

    Parameters
    ----------
    sent : Sent
    latencies_ms : list of float
        Of each request, the probe's left out.
    probe : FreshnessProbe
    """

    sent: Sent
    latencies_ms: list[float]
    probe: FreshnessProbe


@dataclass(frozen=True)
class Findings:
    """What the comparisons found.

    Parameters
    ----------
    as_arrived : Comparison
        Live features against the oracle over what had arrived.
    derived : Comparison
        Derived features against DuckDB over the other values as used.
    final : Comparison
        Every feature against the home that never served.
    explanation : Explanation
        Of the differences from that home.
    """

    as_arrived: Comparison
    derived: Comparison
    final: Comparison
    explanation: Explanation


@dataclass(frozen=True)
class ReplayOutcome:
    """A replay.

    Parameters
    ----------
    stream : Stream
    traffic : Traffic
    recorded : Recorded
        Of the audit log, verified.
    findings : Findings
    seconds : dict of str to float
        Time spent by stage.
    model : str
        Name and version of the bundle that served.
    """

    stream: Stream
    traffic: Traffic
    recorded: Recorded
    findings: Findings
    seconds: Mapping[str, float]
    model: str

    @property
    def mismatched(self) -> int:
        """Values that differ from the oracle's."""
        return self.findings.as_arrived.mismatched + self.findings.derived.mismatched

    @property
    def missing(self) -> int:
        """Transactions that were sent and have no record, or that the warehouse does not have."""
        return self.traffic.sent.scored - self.findings.final.transactions

    @property
    def unexplained(self) -> int:
        """Values that differ from the warehouse's though no row came late."""
        return self.findings.explanation.unexplained

    @property
    def is_proven(self) -> bool:
        """Whether live and historical values agree."""
        return not (self.mismatched or self.missing or self.unexplained)


def replay(
    settings: Settings, options: ReplayOptions, *, announce: Announce, progress: Progress
) -> ReplayOutcome:
    """Replay; see the module.

    Raises
    ------
    InputError
        When there is nothing to replay, or nothing before it.
    OperationError
        When a stage fails. Values that differ are no error here: see `ReplayOutcome`.
    """
    stages = Stages(announce)
    folder = settings.home / "replay"
    with stages("read the landing"):
        stream = read_stream(settings, from_us=options.from_us, to_us=options.to_us)
        shutil.rmtree(folder, ignore_errors=True)
    with stages("build the home that never serves"):
        untouched = fresh_home(settings, folder / "never-served")
        stream.land(untouched)
        build(untouched, as_of_us=stream.to_us)
        features.apply(untouched)
    with stages("prepare the home that serves"):
        served = fresh_home(settings, folder / "served")
        _share_tables(untouched, served)
        features.apply(served)
        features.materialize(served, until_us=stream.from_us)
        backfill_live_windows(served, now_us=now_us(), known_before_us=stream.from_us)
    with stages("choose a model"):
        bundle = _promote_model(settings, served, options)
    declarations = read_declarations()
    secrets = generate_keys()
    served_settings = api_settings(served, secrets)
    with stages("send"):
        traffic = _serve(
            served_settings, secrets, stream, options, declarations=declarations, progress=progress
        )
    with stages("read the records"):
        dbt = dbt_features(untouched, derived_sql=bundle.derived_sql)
        used = folder / USED_FILE
        recorded = write_used(served_settings, used, types=dbt.types, apart=traffic.probe.prefix)
        traffic.probe.check(recorded.apart, counts=declarations.customer_counts())
    with stages("compare with what had arrived"):
        with _opened(served) as store:
            arrived = arrived_events(store)
        as_arrived = compare_with_oracle(used, arrived, declarations.live)
        derived = compare_derived(untouched, used, derived_sql=bundle.derived_sql, derived=dbt.derived)
    with stages("compare with the home that never served"):
        final = compare_with_warehouse(untouched, used, derived_sql=bundle.derived_sql)
        known = stream.replayed().select(["transaction_id", "ingested_us"])
        explanation = explain(final, used, arrived, known, live=declarations.live, derived=dbt.derived)
    return ReplayOutcome(
        stream=stream,
        traffic=traffic,
        recorded=recorded,
        findings=Findings(as_arrived, derived, final, explanation),
        seconds=stages.seconds,
        model=f"{bundle.name} {bundle.version}",
    )


def _share_tables(built: Settings, served: Settings) -> None:
    """Give a home the finished tables of another: a file is replaced whole or never, so links are enough."""
    for source, target in (
        (built.features_dir, served.features_dir),
        (built.dbt_target_dir, served.dbt_target_dir),
    ):
        shutil.copytree(source, target, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
    served.published_file.parent.mkdir(parents=True, exist_ok=True)
    os.link(built.published_file, served.published_file)


def _promote_model(settings: Settings, served: Settings, options: ReplayOptions) -> Bundle:
    """Take the promoted model when it was made with the same SQL, else train one on what was known."""
    try:
        promoted = bundles.promoted(settings)
        bundle = Scorer.load_promoted(settings).bundle
    except BundleError:
        bundle = None
    compiled = read_compiled_sql(served)
    if bundle is not None and (bundle.live_sql, bundle.derived_sql) == (compiled.live, compiled.derived):
        chosen = served.models_dir / promoted.path.parent.name / promoted.path.name
        shutil.copytree(promoted.path, chosen)
    else:
        chosen = train(
            served, protocol={"name": "latest"}, as_of_us=options.from_us, seed=options.seed
        ).bundle_dir
    bundles.promote(served, chosen)
    return Scorer.load_promoted(served).bundle


def _serve(
    settings: ApiSettings,
    secrets: Mapping[str, str],
    stream: Stream,
    options: ReplayOptions,
    *,
    declarations: Declarations,
    progress: Progress,
) -> Traffic:
    home = settings.home
    key = create_scorer(settings)
    with _opened(home) as store, running_server(home, secrets) as url:
        client = ScoringClient(url, key)
        sent = send(
            stream,
            scorer=client,
            load=store.backfill,
            due_us=daily_instants(stream, offset_us=declarations.profile_lag_us),
            materialize=lambda at_us: features.materialize(home, until_us=at_us),
            share=options.sample,
            speed=options.speed,
            progress=progress,
        )
        latencies_ms = [*client.latencies_ms]
        probe = FreshnessProbe(client, event_us=stream.to_us)
        probe.measure()
        client.close()
    return Traffic(sent, latencies_ms, probe)


@contextmanager
def _opened(home: Settings) -> Iterator[LiveStore]:
    store = LiveStore.open(home)
    try:
        yield store
    finally:
        store.close()
