"""Small dense networks, trained by torch and served without it: for autoencoders and classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.runtimes.scaling import DenseMatrix

_VALIDATION_SHARE: Final = 0.1
# Few rows still make this many steps an epoch, of at least so many rows each.
_STEPS_AN_EPOCH: Final = 20
_FEWEST_BATCH_ROWS: Final = 16


def train_network(
    inputs: DenseMatrix,
    targets: DenseMatrix,
    *,
    hidden: Sequence[int],
    loss: str,
    positive_weight: float = 1.0,
    epochs: int,
    batch_rows: int = 512,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    dropout: float = 0.0,
    patience: int = 5,
    seed: int,
) -> tuple[Any, int]:
    """Train a network with rectified hidden layers; stop early, keep the best epoch.

    The last tenth of the rows (the latest, when they are in order of time) validates. The network is trained
    on a GPU when torch sees one; the same seed gives the same bits on the same kind of machine.

    Parameters
    ----------
    inputs, targets : ndarray of float64, shapes (n, d) and (n, outputs)
    hidden : sequence of int
        Width of each hidden layer.
    loss : {'squared', 'logistic'}
        Mean squared error, or cross entropy of logits.
    positive_weight : float, default=1
        How much a positive target counts, for 'logistic'.
    epochs : int
        At most.
    batch_rows : int, default=512
        Rows of a step, at most: fewer where rows are few.
    learning_rate, weight_decay, dropout : float, optional
        Of Adam and the hidden layers.
    patience : int, default=5
        Epochs without a better validation loss after which training ends.
    seed : int

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in evaluation mode.
    int
        Epochs that were trained, those after the best among them.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _seeded(seed):
        network = _layers([inputs.shape[1], *hidden, targets.shape[1]], dropout).to(device)
        x = torch.as_tensor(inputs, dtype=torch.float32, device=device)
        y = torch.as_tensor(targets, dtype=torch.float32, device=device)
        held = max(int(len(x) * _VALIDATION_SHARE), 1)
        step_rows = min(batch_rows, max(len(x) // _STEPS_AN_EPOCH, _FEWEST_BATCH_ROWS))
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
        measure = _loss(loss, positive_weight, device)
        shuffle = torch.Generator().manual_seed(seed)
        best, best_state, waited, trained = float("inf"), _copied(network), 0, 0
        while trained < epochs and waited < patience:
            _train_epoch(network, optimizer, measure, x[:-held], y[:-held], step_rows, shuffle)
            network.eval()
            with torch.no_grad():
                value = float(measure(network(x[-held:]), y[-held:]))
            if value < best:
                best, best_state, waited = value, _copied(network), 0
            else:
                waited += 1
            trained += 1
        network.load_state_dict(best_state)
    return network.eval().cpu(), trained


def network_tensors(network: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Return weights and biases, as ``weight_i`` and ``bias_i``, for `ml.runtimes.dense`."""
    import torch

    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    tensors = {}
    for number, layer in enumerate(linear):
        tensors[f"weight_{number}"] = layer.weight.detach().numpy()
        tensors[f"bias_{number}"] = layer.bias.detach().numpy()
    return tensors


def network_output(network: Any, inputs: DenseMatrix) -> DenseMatrix:
    """Run the trained network over rows, by torch."""
    import torch

    with torch.no_grad():
        out: DenseMatrix = network(torch.as_tensor(inputs, dtype=torch.float32)).numpy().astype(np.float64)
    return out


def _layers(widths: Sequence[int], dropout: float) -> Any:
    import torch

    layers: list[Any] = []
    for number, (before, after) in enumerate(pairwise(widths)):
        if number:
            layers.append(torch.nn.ReLU())
            if dropout:
                layers.append(torch.nn.Dropout(dropout))
        layers.append(torch.nn.Linear(before, after))
    return torch.nn.Sequential(*layers)


def _loss(name: str, positive_weight: float, device: Any) -> Any:
    import torch

    if name == "squared":
        return torch.nn.MSELoss()
    return torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([positive_weight], device=device))


def _train_epoch(
    network: Any, optimizer: Any, measure: Any, x: Any, y: Any, batch_rows: int, shuffle: Any
) -> None:
    import torch

    network.train()
    order = torch.randperm(len(x), generator=shuffle).to(x.device)
    for start in range(0, len(x), batch_rows):
        rows = order[start : start + batch_rows]
        optimizer.zero_grad()
        measure(network(x[rows]), y[rows]).backward()
        optimizer.step()


def _copied(network: Any) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block, on one thread, and leave the caller's state as it was."""
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
