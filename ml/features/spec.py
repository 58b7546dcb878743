"""What a feature is: its name, type, source and meaning, as a bundle's manifest and its reasons have it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Text = Annotated[str, StringConstraints(max_length=4000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FeatureSource = Literal[
    "velocity", "profile", "merchant_risk", "category_risk", "segment", "derived", "raw", "attribute", "other"
]


class StrictModel(BaseModel):
    """Values that are exactly as declared, and stay so."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FeatureSpec(StrictModel):
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
    source: FeatureSource
    family: Name
    description: Text = ""
    unit: Name | None = None
    key: Name | None = None
