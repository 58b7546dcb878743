"""LightGBM's C interface, for scoring alone.

The Python package of LightGBM imports pandas and scikit-learn when they are installed (1.3 s and 150 MB that
a scoring process never needs), so the shared library that it brings is called directly. Only the calls below
are used, all part of LightGBM's stable C API [1]_.

References
----------
.. [1] https://lightgbm.readthedocs.io/en/latest/C-API.html
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.errors import BundleError
from ml.runtimes.lightgbm_check import checked_trees
from ml.runtimes.matrix import Float32Matrix, Float64Vector

# Constants of c_api.h.
_FLOAT32: Final = 0
_PREDICT_NORMAL: Final = 0
_PREDICT_CONTRIBUTIONS: Final = 3
_ROW_MAJOR: Final = 1
_ALL_ITERATIONS: Final = -1
# One thread a worker: OpenMP hangs after a fork, and one row gains nothing from more.
_PARAMETERS: Final = b"num_threads=1 verbosity=-1 predict_disable_shape_check=false"
_LIBRARY_NAMES: Final = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")


class NativeBooster:
    """A LightGBM model with one output a row.

    Parameters
    ----------
    text : bytes
        The model's native text.

    Raises
    ------
    BundleError
        When the text is no model, or one with several outputs.
    """

    def __init__(self, text: bytes) -> None:
        self._library = _library()
        self._handle: Any = None
        handle, iterations = ctypes.c_void_p(), ctypes.c_int()
        trees = checked_trees(text)
        self._call("LGBM_BoosterLoadModelFromString", trees, ctypes.byref(iterations), ctypes.byref(handle))
        self._handle = handle
        self.n_features = self._integer("LGBM_BoosterGetNumFeature")
        if self._integer("LGBM_BoosterGetNumClasses") != 1:
            raise BundleError("expected a LightGBM model with one output a row")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(self._handle)
            self._handle = None

    def predict(self, X: Float32Matrix) -> Float64Vector:
        """Return the model's output for each row of `X` (probability for a binary classifier)."""
        return self._predict(X, _PREDICT_NORMAL, 1)

    def contributions(self, X: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return (n, n_features + 1) contributions to the margin; the last column is the base value."""
        return self._predict(X, _PREDICT_CONTRIBUTIONS, self.n_features + 1).reshape(len(X), -1)

    def _predict(self, X: Float32Matrix, kind: int, width: int) -> Float64Vector:
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"expected a matrix with {self.n_features} columns, got shape {X.shape}")
        matrix = np.ascontiguousarray(X, dtype=np.float32)
        output = np.empty(len(matrix) * width, dtype=np.float64)
        if not len(matrix):
            return output
        length = ctypes.c_int64()
        self._call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            matrix.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(_FLOAT32),
            ctypes.c_int32(matrix.shape[0]),
            ctypes.c_int32(matrix.shape[1]),
            ctypes.c_int(_ROW_MAJOR),
            ctypes.c_int(kind),
            ctypes.c_int(0),
            ctypes.c_int(_ALL_ITERATIONS),
            _PARAMETERS,
            ctypes.byref(length),
            output.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        if length.value != output.size:
            raise BundleError(f"expected {output.size} values of LightGBM, got {length.value}")
        return output

    def _integer(self, function: str) -> int:
        value = ctypes.c_int()
        self._call(function, self._handle, ctypes.byref(value))
        return value.value

    def _call(self, function: str, *arguments: Any) -> None:
        if getattr(self._library, function)(*arguments) != 0:
            message = ctypes.cast(self._library.LGBM_GetLastError(), ctypes.c_char_p).value or b"unknown"
            raise BundleError(f"LightGBM refuses the model or the rows: {message.decode('utf-8', 'replace')}")


@functools.cache
def _library() -> Any:
    """Load the shared library of the installed package without importing the package."""
    spec = importlib.util.find_spec("lightgbm")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        for name in _LIBRARY_NAMES:
            for path in (Path(folder) / "lib" / name, Path(folder) / "bin" / name):
                if path.is_file():
                    library = ctypes.cdll.LoadLibrary(str(path))
                    library.LGBM_GetLastError.restype = ctypes.c_void_p
                    return library
    raise BundleError("expected LightGBM's shared library in the installed package lightgbm, found none")
