"""Online features for scoring, and what a feature service holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from feast import FeatureStore, FeatureView
from feast.errors import FeatureServiceNotFoundException
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values

from feature_repo.services import FRAUD_SCORING
from warehouse.errors import StoreError
from warehouse.feature_store.online_file import HOW_TO_FILL
from warehouse.feature_store.online_reader import OnlineRecord
from warehouse.feature_store.online_store import RowOnlineStore
from warehouse.times import to_us

FeatureValue = int | float | bool | str | None


@dataclass(frozen=True)
class ServiceView:
    """One view of a service: what to ask, and which columns of a transaction are its (sorted) keys."""

    view: FeatureView
    keys: tuple[str, ...]
    transaction_keys: tuple[str, ...]
    features: tuple[str, ...]
    ttl_us: int


def service_views(store: FeatureStore, service: str) -> list[ServiceView]:
    """Return the views of a service, in its order.

    Raises
    ------
    StoreError
        The service isn't registered.
    """
    try:
        projections = store.get_feature_service(service).feature_view_projections
    except FeatureServiceNotFoundException as error:
        raise StoreError(f"no feature service {service} is registered: {HOW_TO_FILL}") from error
    views = []
    for projection in projections:
        view = store.get_feature_view(projection.name)
        keys = tuple(sorted(field.name for field in view.entity_columns))
        views.append(
            ServiceView(
                view=view,
                keys=keys,
                transaction_keys=tuple(projection.join_key_map.get(key, key) for key in keys),
                features=tuple(field.name for field in projection.features),
                ttl_us=(view.ttl or timedelta(0)) // timedelta(microseconds=1),
            )
        )
    return views


class OnlineRow(dict[str, FeatureValue]):
    """Online features of one transaction by name, and how fresh they are.

    Attributes
    ----------
    event_us : dict of str to int or None
        By view: from when the row counted (UTC microseconds); None: no row.
    stale : tuple of str
        Views whose row was past its TTL at the transaction's time: its features are null.
    ahead : tuple of str
        Views whose row counts only from after the transaction's time: used all the same.
    """

    __slots__ = ("ahead", "event_us", "stale")

    def __init__(self, features: Mapping[str, FeatureValue]) -> None:
        super().__init__(features)
        self.event_us: dict[str, int | None] = {}
        self.stale: tuple[str, ...] = ()
        self.ahead: tuple[str, ...] = ()


class OnlineReader:
    """Reads the online features of a service; everything but the rows is resolved once, at the start.

    Equal to Feast's ``get_online_features``, and besides: a row past its TTL is null (law 5), and a null
    key is a row of nulls without asking the store.

    Parameters
    ----------
    store : feast.FeatureStore
        From `open_store`; make the reader after a fork.
    service : str
        Feature service.

    Attributes
    ----------
    views : tuple of str
        The service's online views.
    features : tuple of str
        Their features, in the order of the service.
    """

    def __init__(self, store: FeatureStore, service: str = FRAUD_SCORING) -> None:
        views = [view for view in service_views(store, service) if view.view.online]
        self._views = [(view, _record_reader(store, view)) for view in views]
        self.views = tuple(view.view.name for view in views)
        self.features = tuple(name for view in views for name in view.features)
        self._nothing = dict.fromkeys(self.features)

    def read(self, rows: Sequence[Mapping[str, Any]]) -> list[OnlineRow]:
        """Read the features of some transactions, with one read per view.

        Parameters
        ----------
        rows : sequence of mapping
            Transactions: ``event_us`` and the join keys of the views, which may be null.

        Returns
        -------
        list of OnlineRow
            Aligned with `rows`.

        Raises
        ------
        warehouse.errors.StoreError
            The online store isn't there or can't be read.
        """
        result = [OnlineRow(self._nothing) for _ in rows]
        for view, read_records in self._views:
            keys = [tuple([row[name] for name in view.transaction_keys]) for row in rows]
            wanted = list(dict.fromkeys(key for key in keys if None not in key))
            records = dict(zip(wanted, read_records(wanted), strict=True)) if wanted else {}
            for row, key, into in zip(rows, keys, result, strict=True):
                _fill(into, view, records.get(key), row["event_us"])
        return result


Records = list[OnlineRecord | None]


def _record_reader(store: FeatureStore, view: ServiceView) -> Callable[[list[tuple[Any, ...]]], Records]:
    """Make what reads the rows of some keys of a view, as event time and values."""
    config, online_store = store.config, store.provider.online_store
    if isinstance(online_store, RowOnlineStore):
        return online_store.values_reader(config, view.view, view.features).read

    def read_protos(keys: list[tuple[Any, ...]]) -> Records:
        asked = [_key_proto(view, key) for key in keys]
        try:
            found = online_store.online_read(config, view.view, asked, list(view.features))
        except Exception as error:  # each of Feast's stores raises its client's own
            raise StoreError(
                f"can't read {view.view.name} from {type(online_store).__name__} ({error}): {HOW_TO_FILL}"
            ) from error
        return [
            None
            if values is None or stamp is None
            else (
                to_us(stamp),
                tuple(feast_value_type_to_python_type(values[name]) for name in view.features),
            )
            for stamp, values in found
        ]

    return read_protos


def _fill(row: OnlineRow, view: ServiceView, record: OnlineRecord | None, event_us: int) -> None:
    name = view.view.name
    if record is None:
        row.event_us[name] = None
        return
    stamp_us, values = record
    row.event_us[name] = stamp_us
    if view.ttl_us and event_us - stamp_us > view.ttl_us:
        row.stale += (name,)
        return
    if stamp_us > event_us:
        row.ahead += (name,)
    row.update(zip(view.features, values, strict=True))


def _key_proto(view: ServiceView, key: Sequence[Any]) -> EntityKeyProto:
    types = {field.name: field.dtype.to_value_type() for field in view.view.entity_columns}
    values = [
        python_values_to_proto_values([value], types[name])[0]
        for name, value in zip(view.keys, key, strict=True)
    ]
    return EntityKeyProto(join_keys=list(view.keys), entity_values=values)
