"""Feast's import brings neither PyTorch nor rewritten classes; tensors come when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

_TENSORS = """
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
proto = GetOnlineFeaturesResponse()
proto.metadata.feature_names.val.append("count")
proto.results.add(values=[Value(int64_val=7)])
assert "torch" not in sys.modules
print(OnlineResponse(proto).to_tensor()["count"].tolist())
"""


def output_of(program: str) -> str:
    """Run a program of its own: this process has imported all there is."""
    command = [sys.executable, "-c", f"import sys\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["api.serving.services", "ml.features.training_frame", "feature_repo.repository"]
)
def test_who_reads_features_loads_no_pytorch(module: str) -> None:
    told = output_of(f"import {module}; print('feast' in sys.modules, 'torch' in sys.modules)")
    assert told == "True False"


def test_tensors_come_when_they_are_asked_for() -> None:
    assert output_of(f"import warehouse\n{_TENSORS}") == "[7]"


def test_who_reads_no_features_prepares_nothing() -> None:
    told = output_of("import warehouse, ml; print('typeguard' in sys.modules)")
    assert told == "False"


def test_feast_that_was_there_before_stays_as_it_is() -> None:
    told = output_of("import feast, typeguard; import warehouse; print(typeguard.typechecked.__module__)")
    assert told == "typeguard"


def test_classes_of_others_are_checked_as_before(tmp_path: Path) -> None:
    (tmp_path / "others.py").write_text(
        "import typeguard\n@typeguard.typechecked\nclass Other:\n    def __init__(self, number: int): ...\n"
    )
    program = f"""
sys.path.insert(0, {str(tmp_path)!r})
import warehouse, feast, others, typeguard
try:
    others.Other("two")
except typeguard.TypeCheckError:
    print("checked")
"""
    assert output_of(program) == "checked"
