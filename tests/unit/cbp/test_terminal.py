"""What commands show of long work."""

from __future__ import annotations

import pytest

from cbp.terminal import progress_bar, stage_bar


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no bar can move, a line says how far the work is, but not at each step."""
    with stage_bar("training", log_seconds=0.0) as update:
        update("fitting the hybrid", 1, 12)
    with progress_bar("loading", log_seconds=3600.0) as update_rows:
        update_rows(advance=5_000)
    assert capsys.readouterr().err.splitlines()[0] == "training: 1 of 12 fitting the hybrid"


def test_a_line_without_a_total_tells_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are counted before anybody knows how many there will be."""
    with progress_bar("loading live history", log_seconds=0.0) as update:
        update(advance=5_000)
        update(advance=5_000)
    err = capsys.readouterr().err
    assert "loading live history: 5,000\nloading live history: 10,000\n" in err
