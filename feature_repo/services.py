"""Feature services: the versioned name is all that training and scoring share.

Columns may be added to a version; the removal of one, or another meaning, makes the next version.
"""

from __future__ import annotations

from collections.abc import Sequence

from feast import FeatureService, FeatureView

FRAUD_SCORING = "fraud_scoring_v1"


def build_services(views: Sequence[FeatureView]) -> tuple[FeatureService, ...]:
    """All services over the given views."""
    return (
        FeatureService(
            name=FRAUD_SCORING,
            features=list(views),
            description="Every feature that scores a payment: profiles, risks and velocity.",
        ),
    )
