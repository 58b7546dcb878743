"""What a bundle's ``manifest.json`` says: strict, frozen, versioned.

Nothing in it depends on when it was written, so the same data, code and seed give the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from ml.canonical_json import canonical_json, parse_bundle_json
from ml.errors import BundleError
from ml.features.spec import FeatureSpec, Name, StrictModel
from warehouse.settings import DERIVED_SQL_FILE, LIVE_SQL_FILE

BUNDLE_FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
REFERENCE_FILE: Final = "reference.json"
PARITY_FILE: Final = "parity.json"

_MAX_FILE_BYTES: Final = 256 * 2**20

FileName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_]{1,80}(\.[a-z0-9_]{1,20}){1,2}$", max_length=100)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
BundleLabel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,119}$")]


class StepSpec(StrictModel):
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


class ThresholdSpec(StrictModel):
    """The fields of `ml.scoring.thresholds.Thresholds`."""

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


class TrainingSpec(StrictModel):
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


class FileSpec(StrictModel):
    """Size and hash of a file."""

    bytes: int = Field(ge=0, le=_MAX_FILE_BYTES)
    sha256: Sha256


class Manifest(StrictModel):
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
    name: BundleLabel
    version: BundleLabel
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
    values = parse_bundle_json(content, what=MANIFEST_FILE)
    found = values.get("format_version") if isinstance(values, dict) else type(values).__name__
    if type(found) is not int or found != BUNDLE_FORMAT:
        raise BundleError(
            f"expected a bundle of format {BUNDLE_FORMAT}, got {found!r}: train again or update"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{MANIFEST_FILE} is malformed at {where or 'its top'}: {first['msg']}") from error
