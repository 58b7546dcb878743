"""Files, pages and pictures of reports, each replaced whole."""
