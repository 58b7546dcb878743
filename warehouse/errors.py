"""Errors of the data side.

::

    CbpError
    ├── InputError          the caller gave something wrong: exit code 2, HTTP 4xx
    │   ├── MappingError        a mapping file or preset does not fit
    │   ├── UnreadableFileError a file can't be read to its end
    │   └── SettingsError       a setting or secret is missing or malformed
    └── OperationError      the input was fine, the work failed: exit code 1, HTTP 5xx
        ├── BuildError          dbt did not finish
        ├── BusyError           another process holds the lock
        └── StoreError          the live store can't be read or written

Every message says what was expected, what came, and what to do.
"""


class CbpError(Exception):
    """Root of every error that this project raises on purpose."""


class InputError(CbpError):
    """The caller gave something wrong."""


class MappingError(InputError):
    """A mapping file or preset does not fit the data."""


class UnreadableFileError(InputError):
    """A file can't be read to its end."""


class SettingsError(InputError):
    """A setting or secret is missing or malformed."""


class OperationError(CbpError):
    """The input was fine, the work failed."""


class BuildError(OperationError):
    """The dbt build did not finish."""


class BusyError(OperationError):
    """Another process holds the lock."""


class StoreError(OperationError):
    """The live store can't be read or written."""
