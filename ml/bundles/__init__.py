"""Published models as data without code: written, verified, promoted."""
