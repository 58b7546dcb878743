"""What an application has open: live store, shipper, and the scoring service of the promoted bundle."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus

from flask import current_app

from api.audit import AuditKeys
from api.errors import RequestError
from api.scoring import ScoringService
from api.settings import ApiSettings
from api.shipper import Shipper
from ml import bundles
from ml.features import open_store
from ml.online_features import OnlineReader
from ml.scoring import Scorer
from warehouse.errors import CbpError
from warehouse.live_store import LiveStore

_EXTENSION = "cbp"


def now_us() -> int:
    """Read the clock: UTC microseconds."""
    return time.time_ns() // 1_000


class Services:
    """Opened once in each worker, after the fork.

    Parameters
    ----------
    settings : ApiSettings
        Paths, secrets and limits.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        settings.home.create_folders()
        self.live_store = LiveStore.open(settings.home)
        self.live_store.create_tables()
        self.shipper = Shipper(self.live_store, settings.prediction_log)
        self.shipper.start()
        self._keys = AuditKeys(settings.aes_keys)
        self._lock = threading.Lock()
        self._promotion_stamp: int | None = None
        self._scoring: ScoringService | None = None

    def scoring(self) -> ScoringService:
        """Return the service of the promoted bundle; loads another one when another is promoted.

        Raises
        ------
        RequestError
            503 when there is none, or it can't be loaded.
        """
        try:
            stamp = (self.settings.home.models_dir / bundles.CURRENT_FILE).stat().st_mtime_ns
        except OSError:
            raise _not_ready("no model is promoted: run `cbp train`") from None
        if stamp != self._promotion_stamp or self._scoring is None:
            with self._lock:
                if stamp != self._promotion_stamp or self._scoring is None:
                    self._scoring = self._load()
                    self._promotion_stamp = stamp
        return self._scoring

    def _load(self) -> ScoringService:
        try:
            scorer = Scorer.load(bundles.current(self.settings.home))
            reader = OnlineReader(open_store(self.settings.home), scorer.bundle.service)
        except CbpError as error:
            raise _not_ready(str(error)) from error
        return ScoringService(
            self.live_store,
            reader,
            scorer,
            self._keys,
            batch_size=self.settings.batch_size,
            now_us=now_us,
        )

    def problems(self) -> list[str]:
        """Say what keeps the API from scoring; empty when it is ready."""
        found = []
        try:
            self.live_store.check()
        except CbpError as error:
            found.append(str(error))
        try:
            self.scoring()
        except CbpError as error:
            found.append(str(error))
        return found

    def close(self) -> None:
        """Ship what is left and close the stores."""
        self.shipper.stop()
        self.live_store.close()


def services() -> Services:
    """Return what the current application has open."""
    opened: Services = current_app.extensions[_EXTENSION]
    return opened


def _not_ready(cause: str) -> RequestError:
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", cause)
