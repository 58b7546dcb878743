"""Checks a LightGBM text before LightGBM's library reads it: its parser follows what the text says.

A child that does not exist, a column beyond the last or a count that is not there would make the library read
memory that is not its own. So a text must be trees of numbers, whole and of bounded size, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.errors import BundleError

_END: Final = b"end of trees\n"
_MAX_FEATURES: Final = 10_000
_MAX_TREES: Final = 10_000
_MAX_LEAVES: Final = 2**20
_MAX_DEPTH: Final = 1_000
_IS_CATEGORICAL: Final = 1
_MAX_DECISION: Final = 15


def checked_trees(text: bytes) -> bytes:
    """Return the part of a LightGBM text that holds the trees, once it is known to be sound.

    Raises
    ------
    BundleError
        When it is anything but trees of numeric splits with one output a row.
    """
    try:
        return _checked(text)
    except (ValueError, KeyError) as error:
        raise BundleError(f"the trees' text is malformed: {error}") from error


def _checked(text: bytes) -> bytes:
    start, end = text.find(b"Tree="), text.find(_END)
    if not text.startswith(b"tree\n") or start < 0 or end < start:
        raise ValueError("expected a LightGBM model with trees and their end")
    header = _fields(text[:start])
    if header["num_class"] != "1" or header["num_tree_per_iteration"] != "1":
        raise ValueError("expected one output a row")
    features = int(header["max_feature_idx"]) + 1
    if not 1 <= features <= _MAX_FEATURES or len(header["feature_names"].split(" ")) != features:
        raise ValueError(f"expected the names of 1 to {_MAX_FEATURES} columns")
    sizes = _integers(header, "tree_sizes")
    if len(sizes) > _MAX_TREES or (sizes <= 0).any() or start + int(sizes.sum()) != end:
        raise ValueError(f"expected at most {_MAX_TREES} trees of the sizes that the text names")
    for number, size in enumerate(sizes.tolist()):
        tree = text[start : start + size]
        if not tree.startswith(b"Tree=%d\n" % number):
            raise ValueError(f"expected tree {number} where the sizes say")
        _check_tree(_fields(tree), features)
        start += size
    return text[:end] + _END


def _check_tree(fields: Mapping[str, str], features: int) -> None:
    leaves = int(fields["num_leaves"])
    if not 1 <= leaves <= _MAX_LEAVES or fields["num_cat"] != "0" or fields["is_linear"] != "0":
        raise ValueError(f"expected a tree of 1 to {_MAX_LEAVES} leaves, numeric splits and constants")
    if not np.isfinite(_numbers(fields, "leaf_value", leaves)).all():
        raise ValueError("expected finite values of leaves")
    if leaves == 1:
        return
    splits = leaves - 1
    # an infinite threshold tells missing values from all others
    if np.isnan(_numbers(fields, "threshold", splits)).any():
        raise ValueError("expected thresholds that are numbers")
    if (_integers(fields, "leaf_count", leaves) < 1).any():
        raise ValueError("expected leaves that some row reached")
    if (_integers(fields, "internal_count", splits) < 1).any():
        raise ValueError("expected splits that some row reached")
    split_feature = _integers(fields, "split_feature", splits)
    if (split_feature < 0).any() or (split_feature >= features).any():
        raise ValueError("expected splits of columns that exist")
    decision = _integers(fields, "decision_type", splits)
    if (decision & _IS_CATEGORICAL).any() or (decision < 0).any() or (decision > _MAX_DECISION).any():
        raise ValueError("expected numeric decisions")
    _check_shape(_integers(fields, "left_child", splits), _integers(fields, "right_child", splits), leaves)


def _check_shape(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], leaves: int) -> None:
    """Check that splits and leaves make one tree: each but the root is the child of one split before it."""
    children = np.sort(np.concatenate([left, right]))
    expected = np.concatenate([np.arange(-leaves, 0), np.arange(1, leaves - 1)])
    if not np.array_equal(children, expected):
        raise ValueError("expected each split and leaf once in its tree")
    depths = [0] * len(left)
    for node, pair in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        for child in pair:
            if child >= 0:
                if child <= node:
                    raise ValueError("expected children behind their parents")
                depths[child] = depths[node] + 1
    if max(depths) > _MAX_DEPTH:
        raise ValueError(f"expected trees at most {_MAX_DEPTH} splits deep")


def _fields(block: bytes) -> dict[str, str]:
    lines = block.decode("ascii").splitlines()
    pairs = [line.partition("=")[::2] for line in lines if "=" in line]
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is repeated")
    return fields


def _numbers(fields: Mapping[str, str], name: str, count: int) -> npt.NDArray[np.float64]:
    values = np.asarray([float(value) for value in fields[name].split()], dtype=np.float64)
    if len(values) != count:
        raise ValueError(f"expected {count} numbers of {name}, got {len(values)}")
    return values


def _integers(fields: Mapping[str, str], name: str, count: int | None = None) -> npt.NDArray[np.int64]:
    try:
        values = np.asarray([int(value) for value in fields[name].split()], dtype=np.int64)
    except OverflowError as error:
        raise ValueError(f"{name} is beyond 64 bits") from error
    if count is not None and len(values) != count:
        raise ValueError(f"expected {count} whole numbers of {name}, got {len(values)}")
    return values
