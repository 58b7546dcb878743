"""From rows to a published bundle."""
