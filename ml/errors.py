"""Errors of the model side, under the data side's tree.

::

    warehouse.errors.CbpError
    ├── InputError
    │   ├── TrainingDataError   too little labelled data, or one class only
    │   └── FeatureRowError     a row to score lacks a feature or holds a value that is no number
    └── OperationError
        └── BundleError         a bundle does not verify, or can't be written or promoted
"""

from warehouse.errors import InputError, OperationError


class TrainingDataError(InputError):
    """The labelled data does not allow what was asked: the message says what is missing."""


class FeatureRowError(InputError):
    """A row to score lacks a feature or holds a value that is no number."""


class BundleError(OperationError):
    """A bundle does not verify, or can't be written or promoted."""
