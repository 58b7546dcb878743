"""Dense runtimes: the same bits wherever a row stands, the sums that they say, and no nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.metrics import average_precision_score
from sklearn.svm import OneClassSVM

from ml.errors import BundleError
from ml.estimators.anomaly import AutoencoderDetector, OneClassSvmDetector
from ml.estimators.linear_and_neural import LogisticClassifier
from ml.estimators.one_class import EXACT_ROWS, FEWEST_ROWS, find_prototypes, fit_expansion
from ml.runtimes.dense import (
    AutoencoderRuntime,
    KernelRuntime,
    LinearRuntime,
    NetworkRuntime,
    SegmentRuntime,
    pack_tensors,
    product,
)
from ml.runtimes.kinds import AUTOENCODER, KERNEL, LINEAR, NETWORK, SEGMENT, load_runtime
from ml.runtimes.matrix import Float32Matrix
from ml.runtimes.scaling import Scaling, fit_scaling
from tests.support.examples import examples
from tests.support.planted_fraud import planted_rows

Tensors = dict[str, np.ndarray[Any, Any]]
WIDTH = 6


def scaling_tensors(*, indicated: tuple[int, ...] = ()) -> Tensors:
    generator = np.random.default_rng(0)
    return {
        "center": generator.normal(size=WIDTH),
        "scale": generator.uniform(0.5, 2, WIDTH),
        "indicated": np.asarray(indicated, dtype=np.int64),
    }


def layer_tensors(*widths: int) -> Tensors:
    generator = np.random.default_rng(1)
    tensors: Tensors = {}
    for number, (before, after) in enumerate(pairwise(widths)):
        tensors[f"weight_{number}"] = generator.normal(size=(after, before)).astype(np.float32)
        tensors[f"bias_{number}"] = generator.normal(size=after).astype(np.float32)
    return tensors


def one(value: float) -> np.ndarray[Any, Any]:
    return np.asarray([value])


def models() -> dict[str, tuple[str, Tensors]]:
    """Return a small model of each kind, by the kind's name: kind and arrays."""
    generator = np.random.default_rng(2)
    return {
        "linear": (
            LINEAR,
            scaling_tensors(indicated=(1, 4))
            | {"coefficient": generator.normal(size=WIDTH + 2), "intercept": one(-1.0)},
        ),
        "network": (NETWORK, scaling_tensors(indicated=(2,)) | layer_tensors(WIDTH + 1, 5, 3, 1)),
        "autoencoder": (
            AUTOENCODER,
            scaling_tensors() | layer_tensors(WIDTH, 4, 2, WIDTH) | {"usual": one(0.7)},
        ),
        "kernel": (
            KERNEL,
            scaling_tensors()
            | {
                "prototypes": generator.normal(size=(9, WIDTH)),
                "weights": generator.normal(size=9),
                "gamma": one(0.2),
                "offset": one(0.1),
                "spread": one(0.5),
            },
        ),
        "segment": (SEGMENT, scaling_tensors() | {"centroids": generator.normal(size=(4, WIDTH))}),
    }


def drawn_rows(count: int, *, seed: int = 3) -> Float32Matrix:
    generator = np.random.default_rng(seed)
    X = generator.normal(scale=3, size=(count, WIDTH)).astype(np.float32)
    X[generator.random(X.shape) < 0.15] = np.nan
    return X


def load(kind: str, tensors: Mapping[str, Any]) -> Any:
    return load_runtime(kind, {"weights": pack_tensors(tensors)})


@pytest.mark.parametrize("name", models())
@settings(deadline=None, max_examples=examples(40))
@given(data=st.data())
def test_a_row_scores_the_same_bits_wherever_it_stands(name: str, data: st.DataObject) -> None:
    runtime = load(*models()[name])
    X = drawn_rows(200)
    expected = np.concatenate([runtime.run(X[index : index + 1]) for index in range(len(X))])
    chosen = np.asarray(data.draw(st.lists(st.integers(0, 199), min_size=1, max_size=150)))
    shift = data.draw(st.integers(0, 3))
    # another address in memory than a new array's
    rows = np.empty(len(chosen) * WIDTH + shift, dtype=np.float32)[shift:].reshape(-1, WIDTH)
    rows[:] = X[chosen]
    assert runtime.run(rows).tobytes() == expected[chosen].tobytes()


@pytest.mark.parametrize(("inner", "outer"), [(146, 256), (146, 64), (64, 32), (32, 146), (200, 1), (9, 8)])
def test_products_of_the_sizes_in_use_are_of_one_row_each(inner: int, outer: int) -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(outer, inner)).T
    rows = generator.normal(size=(700, inner))
    together = product(rows, matrix)
    assert together == pytest.approx(rows @ matrix, abs=1e-11)
    for start, count in ((0, 1), (699, 1), (5, 2), (100, 63), (333, 200)):
        some = product(rows[start : start + count], matrix)
        assert some.tobytes() == np.ascontiguousarray(together[start : start + count]).tobytes()


def scaled(row: Float32Matrix, tensors: Tensors) -> list[float]:
    """Scale one row, slowly and obviously."""
    values = [
        0.0 if math.isnan(value) else math.asinh((float(value) - center) / scale)
        for value, center, scale in zip(row, tensors["center"], tensors["scale"], strict=True)
    ]
    return values + [float(math.isnan(row[index])) for index in tensors["indicated"]]


def through_layers(values: list[float], tensors: Tensors) -> list[float]:
    last = sum(name.startswith("weight_") for name in tensors) - 1
    for number in range(last + 1):
        weight, bias = tensors[f"weight_{number}"], tensors[f"bias_{number}"]
        values = [
            sum(float(w) * v for w, v in zip(row, values, strict=True)) + float(b)
            for row, b in zip(weight, bias, strict=True)
        ]
        if number < last:
            values = [max(value, 0.0) for value in values]
    return values


def logistic(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


def linear(values: list[float], tensors: Tensors) -> float:
    margin = sum(c * v for c, v in zip(tensors["coefficient"], values, strict=True))
    return logistic(margin + tensors["intercept"][0])


def network(values: list[float], tensors: Tensors) -> float:
    return logistic(through_layers(values, tensors)[0])


def autoencoder(values: list[float], tensors: Tensors) -> float:
    said = through_layers(values, tensors)
    error = sum((a - b) ** 2 for a, b in zip(values, said, strict=True)) / len(values)
    return float(error / (error + tensors["usual"][0]))


def kernel(values: list[float], tensors: Tensors) -> float:
    margin = -tensors["offset"][0]
    for prototype, weight in zip(tensors["prototypes"], tensors["weights"], strict=True):
        squared = sum((a - b) ** 2 for a, b in zip(values, prototype, strict=True))
        margin += weight * math.exp(-tensors["gamma"][0] * squared)
    return logistic(-margin / tensors["spread"][0])


def segment(values: list[float], tensors: Tensors) -> float:
    distances = [
        sum((a - b) ** 2 for a, b in zip(values, centroid, strict=True)) for centroid in tensors["centroids"]
    ]
    return float(distances.index(min(distances)))


@pytest.mark.parametrize("oracle", [linear, network, autoencoder, kernel, segment])
def test_a_runtime_computes_what_it_says(oracle: Callable[[list[float], Tensors], float]) -> None:
    kind, tensors = models()[oracle.__name__]
    X = drawn_rows(100)
    expected = [oracle(scaled(row, tensors), tensors) for row in X]
    assert load(kind, tensors).run(X) == pytest.approx(expected, abs=1e-12)


def test_a_linear_models_contributions_add_up_to_its_log_odds() -> None:
    frame, fraud = planted_rows()
    model = LogisticClassifier(C=1.0).fit(frame, fraud)
    X = frame.to_numpy(dtype=np.float32)
    runtime = LinearRuntime.from_files(model.export().files)
    contributions = runtime.contributions(X)
    assert contributions.shape == (len(X), X.shape[1] + 1)
    risk = runtime.run(X)
    assert contributions.sum(axis=1) == pytest.approx(np.log(risk / (1 - risk)), abs=1e-9)
    dense = model.scaling_.apply(X)
    first = model.model_.coef_[0][0] * dense[:, 0]
    assert contributions[:, 0] == pytest.approx(first, abs=1e-12)


def test_each_column_is_scaled_by_its_middle_and_inner_spread() -> None:
    X = np.array([[float(value), 7, np.nan] for value in range(11)], dtype=np.float32)
    X[3, 1] = np.nan
    found = fit_scaling(X, tells_missing=True)
    assert found.center.tolist() == [5.0, 7.0, 0.0]
    assert found.scale.tolist() == [4.0, 1.0, 1.0]
    assert found.indicated.tolist() == [1]
    dense = found.apply(X)
    assert dense[9].tolist() == pytest.approx([math.asinh(1.0), 0, 0, 0])
    assert dense[3].tolist() == pytest.approx([math.asinh(-0.5), 0, 0, 1])
    again = Scaling.from_tensors(found.tensors())
    assert again.apply(X).tobytes() == dense.tobytes()


def test_every_prototype_is_a_mean_of_several_rows() -> None:
    frame, _ = planted_rows(3000)
    dense = fit_scaling(frame.to_numpy(dtype=np.float32), tells_missing=False).apply(
        frame.to_numpy(dtype=np.float32)
    )
    prototypes = find_prototypes(dense, count=200, seed=0)
    assert 1 < len(prototypes) <= 200
    assert len(find_prototypes(dense[: FEWEST_ROWS * 2 - 1], count=200, seed=0)) == 1
    rows = {row.tobytes() for row in dense}
    assert not any(prototype.tobytes() in rows for prototype in prototypes)


def lognormal_rows(count: int, width: int, *, seed: int = 0) -> Float32Matrix:
    return np.random.default_rng(seed).lognormal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize(("rows", "width"), [(3000, 4), (3000, 30), (3000, 140), (21_000, 4)])
def test_what_scikit_learn_trained_is_the_sum_that_is_served(rows: int, width: int) -> None:
    X = lognormal_rows(rows, width)
    detector = OneClassSvmDetector(n_prototypes=128, random_state=0).fit(X)
    found = detector.expansion_
    steps = [type(step) for _, step in found.trained.steps]
    assert steps == [Nystroem, OneClassSVM if rows <= EXACT_ROWS else SGDOneClassSVM]
    asked = np.concatenate([lognormal_rows(500, width, seed=1), np.full((1, width), 1e30, np.float32)])
    dense = detector.scaling_.apply(asked)
    trained = found.trained.decision_function(dense)
    distance = np.sum((dense[:, None] - found.prototypes) ** 2, axis=2)
    stated = np.exp(-found.gamma * distance) @ found.weights - found.offset
    assert stated == pytest.approx(trained, abs=1e-8 * detector.spread_)
    assert detector.risk_score(asked) == pytest.approx(
        1 / (1 + np.exp(trained / detector.spread_)), abs=1e-8, rel=0
    )


@pytest.mark.parametrize("width", [4, 30, 140])
@pytest.mark.parametrize("nu", [0.02, 0.05])
def test_the_share_of_rows_outside_is_nu(width: int, nu: float) -> None:
    X = lognormal_rows(3000, width)
    risk = OneClassSvmDetector(nu=nu, random_state=0).fit(X).risk_score(X)
    assert np.mean(risk > 0.5) == pytest.approx(nu, abs=0.004)


def test_the_machine_over_prototypes_ranks_as_the_kernels_own_machine_does() -> None:
    frame, fraud = planted_rows(3000)
    detector = OneClassSvmDetector(random_state=0).fit(frame)
    dense = detector.scaling_.apply(frame.to_numpy(dtype=np.float32))
    own = OneClassSVM(nu=detector.nu, gamma=detector.expansion_.gamma).fit(dense)
    ours, theirs = detector.risk_score(frame), -own.decision_function(dense)
    assert spearmanr(ours, theirs).statistic > 0.9
    assert average_precision_score(fraud, ours) > 0.9 * average_precision_score(fraud, theirs)


def test_beyond_20_000_rows_the_share_outside_is_near_nu() -> None:
    dense = np.random.default_rng(0).normal(size=(21_000, 3))
    found = fit_expansion(dense, nu=0.05, gamma=0.2, n_prototypes=64, seed=0)
    far = np.array([[6.0, -6.0, 6.0], [0.0, 0.0, 0.0]])
    assert found.margin(far)[0] < found.margin(far)[1]
    assert np.mean(found.margin(dense) < 0) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("detector", [OneClassSvmDetector(n_prototypes=32), AutoencoderDetector(epochs=3)])
def test_rows_that_are_all_alike_are_no_trouble(detector: Any) -> None:
    X = np.full((50, 3), 4, dtype=np.float32)
    scores = detector.set_params(random_state=0).fit(X).risk_score([[4, 4, 4], [400, -4, np.nan]])
    assert np.isfinite(scores).all()
    assert scores[0] <= scores[1]


BROKEN: dict[str, tuple[str, Callable[[Tensors], Any]]] = {
    "no arrays": ("linear", lambda tensors: tensors.clear()),
    "a NaN weight": ("network", lambda tensors: tensors["weight_1"].fill(np.nan)),
    "an infinite intercept": ("linear", lambda tensors: tensors.update(intercept=one(math.inf))),
    "a scale of 0": ("linear", lambda tensors: tensors["scale"].fill(0)),
    "a scale below 0": ("linear", lambda tensors: tensors["scale"].fill(-1)),
    "scales for fewer columns": ("kernel", lambda tensors: tensors.update(scale=np.ones(2))),
    "an indicator of no column": ("linear", lambda tensors: tensors.update(indicated=np.array([99, 1]))),
    "an indicator below 0": ("linear", lambda tensors: tensors.update(indicated=np.array([-1, 1]))),
    "coefficients for fewer columns": ("linear", lambda tensors: tensors.update(coefficient=np.ones(2))),
    "a matrix of coefficients": ("linear", lambda tensors: tensors.update(coefficient=np.ones((8, 1)))),
    "no layers": ("network", lambda tensors: [tensors.pop(f"weight_{number}") for number in range(3)]),
    "a missing bias": ("network", lambda tensors: tensors.pop("bias_1")),
    "a layer of another width": ("network", lambda tensors: tensors.update(weight_1=np.ones((3, 4)))),
    "a bias of another width": ("network", lambda tensors: tensors.update(bias_1=np.ones(4))),
    "a layer without outputs": (
        "network",
        lambda tensors: tensors.update(weight_1=np.ones((0, 5)), bias_1=np.ones(0)),
    ),
    "two outputs": ("network", lambda tensors: tensors.update(weight_2=np.ones((2, 3)), bias_2=np.ones(2))),
    "an autoencoder of another width": (
        "autoencoder",
        lambda tensors: tensors.update(weight_2=np.ones((1, 2)), bias_2=np.ones(1)),
    ),
    "a usual error of 0": ("autoencoder", lambda tensors: tensors.update(usual=one(0.0))),
    "two usual errors": ("autoencoder", lambda tensors: tensors.update(usual=np.ones(2))),
    "gamma of 0": ("kernel", lambda tensors: tensors.update(gamma=one(0.0))),
    "a spread below 0": ("kernel", lambda tensors: tensors.update(spread=one(-1.0))),
    "weights of fewer prototypes": ("kernel", lambda tensors: tensors.update(weights=np.ones(2))),
    "no prototypes": (
        "kernel",
        lambda tensors: tensors.update(weights=np.ones(0), prototypes=np.ones((0, WIDTH))),
    ),
    "no segments": ("segment", lambda tensors: tensors.update(centroids=np.ones((0, WIDTH)))),
    "segments of another width": ("segment", lambda tensors: tensors.update(centroids=np.ones((4, 2)))),
    "truth values for weights": ("segment", lambda tensors: tensors.update(centroids=np.ones((4, 6), bool))),
}


@pytest.mark.parametrize("case", BROKEN)
def test_arrays_that_make_no_model_are_refused(case: str) -> None:
    name, change = BROKEN[case]
    kind, tensors = models()[name]
    load(kind, tensors)
    change(tensors)
    with pytest.raises(BundleError):
        load(kind, tensors)


@pytest.mark.parametrize(
    "runtime", [LinearRuntime, NetworkRuntime, AutoencoderRuntime, KernelRuntime, SegmentRuntime]
)
def test_a_matrix_of_another_width_is_refused(runtime: Any) -> None:
    (tensors,) = [tensors for kind, tensors in models().values() if type(load(kind, tensors)) is runtime]
    with pytest.raises(ValueError, match="6 columns"):
        runtime(tensors).run(np.zeros((2, WIDTH + 1), dtype=np.float32))
