"""Replays history through the real server, in a home of its own, beside one that never serves.

Two homes are made below ``<home>/replay``; whatever else uses the home is not touched, its landing only read:

``never-served``
    What became known until the end, built by dbt; no API ever runs there. Its tables are what values are
    compared with.
``served``
    What was known at the start; then a server with stores and a port of its own gets transactions in the
    order in which they became known, and the labels that say fraud. Profiles and risk are the other home's
    snapshots, each materialized at the instant from which it counts: they are as of their day by
    construction.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from api.settings import ApiSettings, generate_keys
from cbp.proof.homes import api_settings, create_client, fresh_home, replay_folder
from cbp.proof.stages import Stages
from cbp.proof.traffic.client import ScoringClient
from cbp.proof.traffic.freshness import FreshnessProbe
from cbp.proof.traffic.sending import Sent, daily_instants, send
from cbp.proof.traffic.server import running_server
from cbp.proof.traffic.stream import Course, Stream, read_stream
from feature_repo import feast_store
from ml.bundles.store import current_promotion, promote_bundle
from ml.errors import BundleError
from ml.features.catalog import read_compiled_sql
from ml.reports.progress import StageProgress
from ml.scoring.scorer import Bundle, Scorer
from ml.training.train import train
from warehouse.build.build import build
from warehouse.live.backfill import backfill_live_windows, live_windows_since
from warehouse.live.labels import Label
from warehouse.live.store import LiveStore
from warehouse.settings import Settings
from warehouse.times import now_us
from warehouse.velocity.declarations import read_declarations


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
class Replayed:
    """A history that was sent.

    Parameters
    ----------
    folder : Path
        Holds both homes.
    untouched : Settings
        The home that never served.
    served : ApiSettings
        The home that served, with the keys of its audit log.
    stream : Stream
    course : Course
    traffic : Traffic
    bundle : Bundle
        What scored.
    """

    folder: Path
    untouched: Settings
    served: ApiSettings
    stream: Stream
    course: Course
    traffic: Traffic
    bundle: Bundle


def send_history(
    settings: Settings, options: ReplayOptions, *, stages: Stages, progress: StageProgress
) -> Replayed:
    """Make both homes and send the history; see the module.

    Raises
    ------
    InputError
        When there is nothing to replay, or nothing before it.
    OperationError
        When a stage fails.
    """
    folder = replay_folder(settings)
    with stages("read the landing"):
        stream = read_stream(settings, from_us=options.from_us, to_us=options.to_us)
    with stages("build the home that never serves"):
        untouched = fresh_home(settings, folder / "never-served")
        stream.land(untouched)
        build(untouched, as_of_us=stream.to_us, progress=progress)
        feast_store.apply(untouched)
    with stages("prepare the home that serves"):
        served = fresh_home(settings, folder / "served")
        _share_tables(untouched, served)
        feast_store.apply(served)
        feast_store.materialize(served, until_us=stream.from_us)
        course = _fill_live_store(served, stream)
    with stages("choose a model"):
        bundle = _promote_model(settings, served, options)
    secrets = generate_keys()
    served_settings = api_settings(served, secrets)
    with stages("send"):
        traffic = _serve(served_settings, secrets, stream, options, due_us=course.due_us, progress=progress)
    return Replayed(folder, untouched, served_settings, stream, course, traffic, bundle)


def _fill_live_store(served: Settings, stream: Stream) -> Course:
    """Give a home that is to serve what was known at the start, as of then."""
    start_us = min(now_us(), stream.from_us)
    since_us = live_windows_since(served, now_us=start_us, known_before_us=stream.from_us)
    backfill_live_windows(served, now_us=start_us, known_before_us=stream.from_us)
    lag_us = read_declarations().profile_lag_us
    return Course(stream.from_us, since_us, daily_instants(stream, offset_us=lag_us))


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
        promoted = current_promotion(settings)
        bundle = Scorer.load(promoted.path, expected_sha256=promoted.sha256).bundle
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
    promote_bundle(served, chosen)
    return Scorer.load_promoted(served).bundle


def _serve(
    settings: ApiSettings,
    secrets: Mapping[str, str],
    stream: Stream,
    options: ReplayOptions,
    *,
    due_us: Sequence[int],
    progress: StageProgress,
) -> Traffic:
    home = settings.home
    keys = {role: create_client(settings, role) for role in ("scorer", "label_source")}
    with closing(LiveStore.open(home)) as store, running_server(home, secrets) as url:
        client, labeller = ScoringClient(url, keys["scorer"]), ScoringClient(url, keys["label_source"])
        sent = send(
            stream,
            scorer=client,
            labeller=labeller,
            load=store.backfill,
            load_labels=partial(_load_labels, store),
            due_us=due_us,
            materialize=lambda at_us: feast_store.materialize(home, until_us=at_us),
            share=options.sample,
            speed=options.speed,
            progress=progress,
        )
        latencies_ms = [*client.latencies_ms]
        probe = FreshnessProbe(client, event_us=min(stream.to_us, now_us()))
        probe.measure()
        client.close()
        labeller.close()
    return Traffic(sent, latencies_ms, probe)


def _load_labels(store: LiveStore, labels: Sequence[Mapping[str, Any]]) -> None:
    """Put labels that the API takes from nobody into the live store."""
    store.record_labels([Label(**label) for label in labels], source="replay", now_us=now_us())
