"""What an application has open: live store, shipper, and the scoring service of the promoted bundle."""

from __future__ import annotations

import logging
import os
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

from flask import current_app

from api.audit.log import AuditKeys
from api.audit.shipper import Shipper
from api.errors import RequestError
from api.serving.scoring import ScoringService
from api.settings import ApiSettings
from feature_repo.feast_store import open_store
from ml.bundles.store import CURRENT_FILE
from ml.features.online import OnlineReader
from ml.scoring.scorer import Scorer
from warehouse.errors import CbpError
from warehouse.live import clients
from warehouse.live.store import LiveStore
from warehouse.times import now_us

_EXTENSION: Final = "cbp"
_CLIENT_CACHE_SECONDS: Final = 5.0
_LOAD_AGAIN_SECONDS: Final = 5.0

logger = logging.getLogger("cbp.api")


class Services:
    """Opened once in each worker, after the fork; what is not there yet is looked for when it is needed.

    Parameters
    ----------
    settings : ApiSettings
        Paths, secrets and limits.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        settings.home.create_folders()
        self._live_store = LiveStore.open(settings.home)
        self._is_prepared = False
        self._shipper = Shipper(self._live_store, settings.prediction_log)
        self._keys = AuditKeys(settings.aes_keys)
        self._lock = threading.Lock()
        self._promotion: BinaryIO | None = None
        self._promotion_stamp: tuple[int, int] | None = None
        self._scoring: ScoringService | None = None
        self._load_again_at = 0.0
        self._active_clients: dict[str, float] = {}
        try:
            self.scoring()
        except CbpError as error:
            logger.warning("not ready: %s", error)

    def store(self) -> LiveStore:
        """Return the live store; its tables are made, and its shipper started, when it is first reached.

        Raises
        ------
        StoreError
            When it can't be reached.
        """
        if not self._is_prepared:
            with self._lock:
                if not self._is_prepared:
                    self._live_store.create_tables()
                    self._shipper.start()
                    self._is_prepared = True
        return self._live_store

    def scoring(self) -> ScoringService:
        """Return the service of the promoted bundle; takes up another one when another is promoted.

        Raises
        ------
        RequestError
            503 when there is none, or it can't be loaded.
        StoreError
            When the live store can't be reached.
        """
        store = self.store()
        current = self.settings.home.models_dir / CURRENT_FILE
        try:
            stamp = _stamp(current.stat())
            scoring = self._scoring_of(stamp)
            if scoring is not None:
                return scoring
            with self._lock:
                return self._scoring_of(stamp) or self._take_up(store, current)
        except OSError:
            raise _not_ready("no model is promoted: run `cbp train`") from None

    def _scoring_of(self, stamp: tuple[int, int]) -> ScoringService | None:
        """Return what is loaded, where it is of that promotion, or that one is being loaded or failed."""
        is_wanted = stamp == self._promotion_stamp or time.monotonic() < self._load_again_at
        return self._scoring if is_wanted else None

    def _take_up(self, store: LiveStore, current: Path) -> ScoringService:
        """Load what is promoted now, or a moment later: then the next request finds another stamp.

        Two promotions may have one time. The file is held open, so that no later one gets its number. Other
        threads go on with the model that is loaded and good; so does this one where the new one can't be
        loaded, which is tried again in a while.
        """
        promotion = current.open("rb")
        self._load_again_at = time.monotonic() + _LOAD_AGAIN_SECONDS
        try:
            self._scoring = self._load(store)
        except BaseException as error:
            promotion.close()
            if self._scoring is None or not isinstance(error, RequestError):
                raise
            return self._scoring
        if self._promotion is not None:
            self._promotion.close()
        self._promotion, self._promotion_stamp = promotion, _stamp(os.fstat(promotion.fileno()))
        self._load_again_at = 0.0
        return self._scoring

    def _load(self, store: LiveStore) -> ScoringService:
        try:
            scorer = Scorer.load_promoted(self.settings.home)
            reader = OnlineReader(open_store(self.settings.home), scorer.bundle.service)
        except Exception as error:
            # What it says may name paths: that is for the log.
            logger.exception("the promoted model or its features can't be loaded")
            raise _not_ready(
                "the promoted model or its features can't be loaded: run `cbp materialize`, or see the log"
            ) from error
        logger.info(
            "loaded", extra={"fields": {"model": scorer.bundle.name, "version": scorer.bundle.version}}
        )
        return ScoringService(
            store, reader, scorer, self._keys, batch_size=self.settings.batch_size, now_us=now_us
        )

    def is_client_active(self, client_id: str) -> bool:
        """Say whether a client may use its tokens; a revoked one may for a few seconds more."""
        now = time.monotonic()
        if self._active_clients.get(client_id, 0.0) > now:
            return True
        is_active = clients.is_active(self.store(), client_id)
        if is_active:
            self._active_clients[client_id] = now + _CLIENT_CACHE_SECONDS
        return is_active

    def problems(self) -> list[str]:
        """Say what keeps the API from scoring; empty when it is ready."""
        try:
            self.store().check()
            self.scoring().check()
        except RequestError as error:
            return [str(error)]
        except CbpError as error:
            logger.error("%s: %s", type(error).__name__, error)
            return ["a store can't be read: run `cbp materialize` if it was never filled, or see the log"]
        return []

    def close(self) -> None:
        """Ship what is left and close the stores."""
        self._shipper.stop()
        self._live_store.close()
        if self._promotion is not None:
            self._promotion.close()


def services() -> Services:
    """Return what the current application has open."""
    opened: Services = current_app.extensions[_EXTENSION]
    return opened


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return (status.st_mtime_ns, status.st_ino)


def _not_ready(cause: str) -> RequestError:
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", cause)
