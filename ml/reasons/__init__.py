"""Why a row scored as it did, in sentences."""
