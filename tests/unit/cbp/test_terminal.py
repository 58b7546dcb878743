"""What commands show of long work."""

from __future__ import annotations

import pytest

from cbp import terminal


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no bar can move, a line says how far the work is, but not at each step."""
    monkeypatch.setattr(terminal, "_LOG_SECONDS", 0.0)
    with terminal.stage_bar("training") as update:
        update("fitting the hybrid", 1, 12)
    monkeypatch.setattr(terminal, "_LOG_SECONDS", 3600.0)
    with terminal.progress_bar("loading") as update_rows:
        update_rows(advance=5_000)
    assert capsys.readouterr().err.splitlines()[0] == "training: 1 of 12 fitting the hybrid"


def test_a_line_without_a_total_tells_what_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are counted before anybody knows how many there will be."""
    monkeypatch.setattr(terminal, "_LOG_SECONDS", 0.0)
    with terminal.progress_bar("loading live history") as update:
        update(advance=5_000)
        update(advance=5_000)
    err = capsys.readouterr().err
    assert "loading live history: 5,000\nloading live history: 10,000\n" in err
