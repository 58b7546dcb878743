"""Trees of any library as LightGBM's native text, so that one runtime serves and explains them all.

A tree is a tree: scikit-learn's and XGBoost's are written in the format [1]_ that LightGBM's library reads.
Every branch is the same for every float32 value, since a threshold is an exact double; leaves are doubles.
What comes with it: exact contributions (TreeSHAP, [2]_) for a random forest too, a look-up that is several
times as fast as XGBoost's own, and no second library in the API's workers.

References
----------
.. [1] https://lightgbm.readthedocs.io/en/latest/ (model text, version v4)
.. [2] Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
   Nature Machine Intelligence 2, 2020.
.. [3] Liu, Ting and Zhou, "Isolation Forest", ICDM 2008, section 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# LightGBM's decision_type: missing values are NaN; bit 2 says that they go left.
_MISSING_IS_NAN: Final = 8
_MISSING_GOES_LEFT: Final = 2
# Covers are counts of 32 bits in the text: the root gets this one, all others their share of it.
_ROOT_COVER: Final = 2**30

IntVector = npt.NDArray[np.int64]
FloatVector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """A binary tree as arrays over its nodes; node 0 is the root.

    Parameters
    ----------
    left, right : ndarray of int64
        Children; -1 in a leaf.
    feature : ndarray of int64
        Column that a node splits by.
    threshold : ndarray of float64
        A value goes left when it is at most this.
    missing_left : ndarray of bool
        Whether NaN goes left.
    value : ndarray of float64
        Of the leaves.
    cover : ndarray of float64
        Weight of the training rows that reached a node, above 0 in the root.
    """

    left: IntVector
    right: IntVector
    feature: IntVector
    threshold: FloatVector
    missing_left: npt.NDArray[np.bool_]
    value: FloatVector
    cover: FloatVector


def lightgbm_text(trees: Iterable[Tree], *, n_features: int, is_log_odds: bool) -> bytes:
    """Write trees whose leaves add up to the output, or to its log odds, as LightGBM's text."""
    parts = [_tree_text(number, tree) for number, tree in enumerate(trees)]
    header = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={n_features - 1}",
        *(["objective=binary sigmoid:1"] if is_log_odds else []),
        "feature_names=" + " ".join(f"Column_{index}" for index in range(n_features)),
        "feature_infos=" + " ".join(["none"] * n_features),
        "tree_sizes=" + " ".join(str(len(part)) for part in parts),
        "",
        "",
    ]
    return ("\n".join(header) + "".join(parts) + "end of trees\n").encode()


def forest_trees(forest: Any) -> list[Tree]:
    """Read the trees of a fitted scikit-learn forest of two classes: leaves add up to the mean probability.

    Parameters
    ----------
    forest : sklearn.ensemble.RandomForestClassifier or a subclass
        Fitted on labels 0 and 1.
    """
    trees = []
    for estimator in forest.estimators_:
        nodes = estimator.tree_
        shares = nodes.value[:, 0, :]
        # a bootstrap sample may hold one class alone
        columns = [int(label) for label in estimator.classes_]
        fraud = shares[:, columns.index(1)] if 1 in columns else np.zeros(len(shares))
        trees.append(
            Tree(
                left=np.asarray(nodes.children_left, dtype=np.int64),
                right=np.asarray(nodes.children_right, dtype=np.int64),
                feature=np.asarray(nodes.feature, dtype=np.int64),
                threshold=np.asarray(nodes.threshold, dtype=np.float64),
                missing_left=np.asarray(nodes.missing_go_to_left, dtype=bool),
                value=fraud / shares.sum(axis=1) / len(forest.estimators_),
                cover=np.asarray(nodes.weighted_n_node_samples, dtype=np.float64),
            )
        )
    return trees


def isolation_trees(forest: Any, *, fill: npt.NDArray[np.floating[Any]]) -> list[Tree]:
    """Read the trees of a fitted scikit-learn isolation forest: leaves add up to the score's exponent of 2.

    That is minus the mean path to a row's leaves over the usual path [3]_.

    Parameters
    ----------
    forest : sklearn.ensemble.IsolationForest
        Fitted on all columns of rows without missing values.
    fill : ndarray of float, shape (n_features,)
        What stood for a missing value of each column: NaN goes where it goes.
    """
    usual = float(_average_path(np.asarray([forest.max_samples_], dtype=np.int64))[0])
    trees = []
    for estimator in forest.estimators_:
        nodes = estimator.tree_
        samples = np.asarray(nodes.n_node_samples, dtype=np.int64)
        path = _depths(nodes.children_left, nodes.children_right) + _average_path(samples)
        # a tree of one row has no path at all: scikit-learn takes it for the usual one
        share = path / usual if usual else np.ones_like(path)
        feature, threshold = np.asarray(nodes.feature, dtype=np.int64), np.asarray(nodes.threshold)
        trees.append(
            Tree(
                left=np.asarray(nodes.children_left, dtype=np.int64),
                right=np.asarray(nodes.children_right, dtype=np.int64),
                feature=feature,
                threshold=np.asarray(threshold, dtype=np.float64),
                missing_left=np.asarray(fill[np.maximum(feature, 0)] <= threshold, dtype=bool),
                value=-share / len(forest.estimators_),
                cover=samples.astype(np.float64),
            )
        )
    return trees


def xgboost_trees(model: bytes) -> list[Tree]:
    """Read the trees of an XGBoost model of one output, saved as JSON: leaves add up to its margin.

    The margin is the log odds of a logistic objective, the value itself of squared error. XGBoost sends a
    value left when it is below a float32 threshold: for float32 values the same as at most the float32 before
    it. The base score becomes a part of the first tree's leaves.
    """
    learner = json.loads(model)["learner"]
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    if learner["objective"]["name"] == "binary:logistic":
        base = math.log(base / (1.0 - base))
    trees = []
    for number, nodes in enumerate(learner["gradient_booster"]["model"]["trees"]):
        conditions = np.asarray(nodes["split_conditions"], dtype=np.float32)
        below = np.nextafter(conditions, np.float32(-np.inf))
        trees.append(
            Tree(
                left=np.asarray(nodes["left_children"], dtype=np.int64),
                right=np.asarray(nodes["right_children"], dtype=np.int64),
                feature=np.asarray(nodes["split_indices"], dtype=np.int64),
                threshold=below.astype(np.float64),
                missing_left=np.asarray(nodes["default_left"], dtype=bool),
                value=conditions.astype(np.float64) + (0.0 if number else base),
                cover=np.asarray(nodes["sum_hessian"], dtype=np.float64),
            )
        )
    return trees


def _depths(left: IntVector, right: IntVector) -> FloatVector:
    """Return how many branches lead to each node; children stand behind their parents."""
    depths = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0):
        depths[left[node]] = depths[right[node]] = depths[node] + 1
    return depths


def _average_path(rows: IntVector) -> FloatVector:
    """Return the mean path of a search that fails in a random binary tree of so many rows [3]_."""
    count = np.maximum(rows, 3).astype(np.float64)
    many = 2.0 * (np.log(count - 1.0) + np.euler_gamma) - 2.0 * (count - 1.0) / count
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, many))


def _tree_text(number: int, tree: Tree) -> str:
    is_leaf = tree.left < 0
    is_split = ~is_leaf
    # LightGBM numbers splits and leaves apart; a leaf as a child is the complement of its number
    numbers = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(is_split) - 1)
    covers = np.maximum(np.rint(tree.cover * (_ROOT_COVER / tree.cover[0])), 1).astype(np.int64)
    decisions = _MISSING_IS_NAN + _MISSING_GOES_LEFT * tree.missing_left[is_split].astype(np.int64)
    fields: list[tuple[str, Sequence[Any]]] = [
        ("num_leaves", [int(is_leaf.sum())]),
        ("num_cat", [0]),
        ("split_feature", tree.feature[is_split].tolist()),
        ("split_gain", [0] * int(is_split.sum())),
        ("threshold", tree.threshold[is_split].tolist()),
        ("decision_type", decisions.tolist()),
        ("left_child", numbers[tree.left[is_split]].tolist()),
        ("right_child", numbers[tree.right[is_split]].tolist()),
        ("leaf_value", tree.value[is_leaf].tolist()),
        ("leaf_weight", [0] * int(is_leaf.sum())),
        ("leaf_count", covers[is_leaf].tolist()),
        ("internal_value", [0] * int(is_split.sum())),
        ("internal_weight", [0] * int(is_split.sum())),
        ("internal_count", covers[is_split].tolist()),
        ("is_linear", [0]),
        ("shrinkage", [1]),
    ]
    lines = [f"{name}={' '.join(map(repr, values))}" for name, values in fields]
    return f"Tree={number}\n" + "\n".join(lines) + "\n\n\n"
