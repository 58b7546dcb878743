"""What the unit tests leave out."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out scikit-learn's check of an array API that no estimator here claims: it would skip itself."""
    left_out = [item for item in items if "check_array_api_input" in item.name]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
