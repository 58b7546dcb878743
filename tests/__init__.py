"""Tests, in the rooms of what they test; `support` is what they share."""

import warehouse  # noqa: F401 - programs that tests start import Feast as the product does
