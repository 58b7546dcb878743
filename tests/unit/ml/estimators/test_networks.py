"""Networks: training ends when the latest rows are told no better, and the best epoch is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ml.estimators.anomaly import AutoencoderDetector
from ml.estimators.networks import network_output, network_tensors, train_network

pytestmark = pytest.mark.slow

PATIENCE = 5


def noisy_rows() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw rows so few and noisy that a network soon learns them by heart."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(200, 8))
    return inputs, inputs[:, :1] + generator.normal(size=(200, 1))


def trained(epochs: int, *, patience: int = PATIENCE) -> tuple[Any, int]:
    inputs, targets = noisy_rows()
    return train_network(
        inputs,
        targets,
        hidden=(64,),
        loss="squared",
        epochs=epochs,
        learning_rate=3e-3,
        patience=patience,
        seed=0,
    )


def bits(network: Any) -> list[bytes]:
    return [array.tobytes() for array in network_tensors(network).values()]


def loss_of_the_latest(network: Any) -> float:
    inputs, targets = noisy_rows()
    return float(np.mean((network_output(network, inputs[-20:]) - targets[-20:]) ** 2))


def test_training_ends_when_the_latest_rows_are_told_no_better() -> None:
    stopped, ran = trained(300)
    assert PATIENCE < ran < 100
    # the epoch that is kept is the one after which nothing became better, not the last one
    assert bits(stopped) == bits(trained(ran - PATIENCE)[0]) == bits(trained(ran, patience=ran)[0])
    assert bits(stopped) != bits(trained(ran - PATIENCE - 1)[0])
    assert loss_of_the_latest(stopped) < loss_of_the_latest(trained(1)[0])


def test_training_that_still_gains_runs_to_its_last_epoch() -> None:
    assert trained(2)[1] == 2


def test_an_autoencoder_ends_early_where_the_latest_rows_are_of_another_kind() -> None:
    generator = np.random.default_rng(0)
    along = generator.normal(size=(400, 1)).astype(np.float32)
    X = np.hstack([along, along, along, along])
    X[-40:, 1::2] *= -1  # the more is learned of the others, the worse are these said again
    detector = AutoencoderDetector(hidden=(8, 2, 8), epochs=300, random_state=0).fit(X)
    ran = detector.n_iter_
    assert PATIENCE < ran < 300
    kept = AutoencoderDetector(hidden=(8, 2, 8), epochs=ran - PATIENCE, random_state=0).fit(X)
    assert bits(detector.network_) == bits(kept.network_)
    assert detector.risk_score(X).tobytes() == kept.risk_score(X).tobytes()
