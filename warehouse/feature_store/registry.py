"""Feast's registry file in the home folder, replaced as a whole: nobody ever meets half of it."""

from __future__ import annotations

import uuid
from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RegistryConfig
from feast.utils import _utc_now

from warehouse.durable import write_whole
from warehouse.settings import Settings


def resolve_feast_path(path: str) -> Path:
    """Path of a Feast file: as it is when absolute, else below the home's Feast folder.

    ``feature_store.yaml`` can't say ``${CBP_HOME}``, which has no default there: Feast's own command line
    gets the home from the environment here, and code that holds a `Settings` passes absolute paths.
    """
    return Path(path) if Path(path).is_absolute() else Settings.from_environment().feast_dir / path


class HomeRegistryStore(FileRegistryStore):
    """A registry file whose path may be relative to the home's Feast folder.

    Parameters
    ----------
    registry_config : RegistryConfig
        Feast's configuration; only ``path`` is used.
    repo_path : Path
        Folder of ``feature_store.yaml``, not used.
    """

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._filepath = resolve_feast_path(registry_config.path)

    def _write_registry(self, registry_proto: RegistryProto) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(_utc_now())
        content = registry_proto.SerializeToString()
        write_whole(self._filepath, lambda incoming: incoming.write_bytes(content))
