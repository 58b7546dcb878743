"""What a bundle's ``manifest.json`` says: strict, frozen, versioned.

Nothing in it depends on when it was written, so the same data, code and seed give the same bytes.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ml.errors import BundleError

FORMAT_VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
LIVE_SQL_FILE: Final = "live_velocity.sql"
DERIVED_SQL_FILE: Final = "derived_features.sql"
REFERENCE_FILE: Final = "reference.json"
PARITY_FILE: Final = "parity.json"

_MAX_FILE_BYTES: Final = 256 * 2**20

FileName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_]{1,80}(\.[a-z0-9_]{1,20}){1,2}$", max_length=100)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,119}$")]
Text = Annotated[str, StringConstraints(max_length=4000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Source = Literal[
    "velocity", "profile", "merchant_risk", "category_risk", "segment", "derived", "raw", "attribute", "other"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FeatureSpec(_Strict):
    """One column of the model's matrix.

    Parameters
    ----------
    name : str
        Key in the row; for an attribute, ``attribute.`` and the key in the row's ``attributes_number``.
    dtype : str
        'bigint', 'double' or 'boolean'.
    source : str
        Where the value comes from: velocity, profile, merchant_risk, category_risk, segment (Feast views and
        live SQL), derived, raw (a transaction's own field), attribute, other (any further Feast view).
    family : str
        Features of one family are one reason.
    description : str
        From dbt, for people.
    unit : str or None
        'minor' (of the row's currency), 'seconds', 'share', …, where dbt names one.
    key : str or None
        Of an attribute: its key.
    """

    name: Name
    dtype: Literal["bigint", "double", "boolean"]
    source: Source
    family: Name
    description: Text = ""
    unit: Name | None = None
    key: Name | None = None


class StepSpec(_Strict):
    """One model: reads columns (features or outputs of earlier steps), writes one.

    Parameters
    ----------
    kind : str
        Runtime that loads it.
    inputs : list of str
        Columns, in order.
    output : str
        Name of the new column.
    files : dict of str to str
        File by role.
    """

    kind: Name
    inputs: list[Name] = Field(min_length=1, max_length=10_000)
    output: Name
    files: dict[Name, FileName]


class ThresholdSpec(_Strict):
    """The fields of `ml.thresholds.Thresholds`."""

    review: float
    decline: float | None
    alert_budget: float
    calibration_rows: int
    calibration_days: float

    @model_validator(mode="after")
    def _check_order(self) -> ThresholdSpec:
        if self.decline is not None and self.decline < self.review:
            raise ValueError("expected a threshold to decline at or above the one to review")
        return self


class TrainingSpec(_Strict):
    """What the model was trained on: times are int64 UTC microseconds; `parameters` are those of a search."""

    protocol: dict[Name, Any]
    train_start_us: int
    train_end_us: int
    test_start_us: int
    test_end_us: int
    as_of_us: int | None
    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    seed: int
    parameters: dict[Name, Any] = Field(default_factory=dict)


class FileSpec(_Strict):
    """Size and hash of a file."""

    bytes: int = Field(ge=0, le=_MAX_FILE_BYTES)
    sha256: Sha256


class Manifest(_Strict):
    """A bundle: `steps` run in order; `probability` and `anomaly` name the outputs that leave it.

    Parameters
    ----------
    format_version : int
        1.
    name, version : str
        Of the model.
    service : str
        Feast feature service that the features come from.
    features : list of FeatureSpec
        In the order of the matrix.
    steps : list of StepSpec
        In order of evaluation.
    probability : str
        Output that is the fraud probability.
    anomaly : str or None
        Output that is the anomaly score.
    explained : str or None
        Output whose step gives contributions.
    thresholds : ThresholdSpec
        Where decisions change.
    training : TrainingSpec
        Provenance.
    metrics : dict
        Figures on the test rows.
    libraries : dict of str to str
        Versions that it was trained with.
    git_commit : str or None
        Commit of the code, when known.
    files : dict of str to FileSpec
        Every other file of the bundle.
    """

    format_version: Literal[1]
    name: Label
    version: Label
    service: Name
    features: list[FeatureSpec] = Field(min_length=1, max_length=10_000)
    steps: list[StepSpec] = Field(min_length=1, max_length=100)
    probability: Name
    anomaly: Name | None
    explained: Name | None
    thresholds: ThresholdSpec
    training: TrainingSpec
    metrics: dict[str, Any]
    libraries: dict[Name, Name]
    git_commit: Name | None
    files: dict[FileName, FileSpec] = Field(max_length=200)

    @model_validator(mode="after")
    def _check_references(self) -> Manifest:
        columns = [feature.name for feature in self.features]
        outputs: list[str] = []
        for step in self.steps:
            unknown = [name for name in step.inputs if name not in {*columns, *outputs}]
            if unknown:
                raise ValueError(f"step {step.output!r} reads unknown columns {unknown[:3]}")
            outputs.append(step.output)
            absent = [name for name in step.files.values() if name not in self.files]
            if absent:
                raise ValueError(f"step {step.output!r} names files that are not listed: {absent}")
        if len({*columns, *outputs}) != len(columns) + len(outputs):
            raise ValueError("names of features and outputs must be unique")
        wanted = [name for name in (self.probability, self.anomaly, self.explained) if name is not None]
        if not {*wanted} <= {*outputs}:
            raise ValueError(f"expected the outputs {wanted} among the steps' {outputs}")
        for name in (LIVE_SQL_FILE, DERIVED_SQL_FILE, REFERENCE_FILE, PARITY_FILE):
            if name not in self.files:
                raise ValueError(f"expected the file {name}")
        return self

    def to_bytes(self) -> bytes:
        """Return the canonical JSON: sorted keys, indented, one trailing newline."""
        return canonical_json(self.model_dump())


def parse_manifest(content: bytes) -> Manifest:
    """Parse and check a manifest.

    Raises
    ------
    BundleError
        When it is no JSON, of an unknown format, or does not fit the schema.
    """
    values = parse_json(content, what=MANIFEST_FILE)
    found = values.get("format_version") if isinstance(values, dict) else type(values).__name__
    if type(found) is not int or found != FORMAT_VERSION:
        raise BundleError(
            f"expected a bundle of format {FORMAT_VERSION}, got {found!r}: train again or update"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{MANIFEST_FILE} is malformed at {where or 'its top'}: {first['msg']}") from error


def canonical_json(values: Any) -> bytes:
    """Return `values` as JSON whose bytes depend on the values alone."""
    return (json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=True) + "\n").encode()


def parse_json(content: bytes, *, what: str) -> Any:
    """Parse JSON without NaN, infinities and repeated keys.

    Raises
    ------
    BundleError
        When it can't be parsed.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} is no valid JSON: {error}") from error


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not allowed")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is repeated")
    return values
