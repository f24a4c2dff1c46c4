"""A few letters find the right command; the sentence of the HUD fits the figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.panels.hud import Figures, resident_bytes, why_slow
from explorer.panels.palette import Command, fuzzy_score, ranked

TEXTS = (
    "Open…", "Open folder…", "Save still…", "Copy picture", "Copy view", "Paste view",
    "Scale bar", "Status line", "Full screen", "Fall into the picture",
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("op", "Open…"),
        ("cv", "Copy view"),
        ("copy p", "Copy picture"),
        ("FUSC", "Full screen"),
        ("bar", "Scale bar"),
        ("sl", "Status line"),
        ("opfo", "Open folder…"),
    ],
)
def test_letters_find(query: str, first: str) -> None:
    commands = [Command(text, lambda: None) for text in TEXTS]
    assert ranked(query, commands)[0].text == first


def test_what_does_not_fit_is_not_there_and_no_letters_show_all() -> None:
    commands = [Command(text, lambda: None) for text in TEXTS]
    assert ranked("xyz", commands) == []
    assert [c.text for c in ranked("", commands)] == list(TEXTS)
    assert fuzzy_score("ba", "abc") is None
    helped = [Command("Minimap", lambda: None, help="the whole picture in a corner")]
    assert ranked("corner", helped) == helped


FAST = Figures(60.0, 10.0, 0.1, 0, 1, 1, 1, 1e6, 10**6, "cpu", True, True, False)


def test_one_sentence_says_what_limits() -> None:
    assert "keeps up" in why_slow(FAST)
    assert "at rest" in why_slow(replace(FAST, is_moving=False, is_exact=True))
    assert "processor draws" in why_slow(replace(FAST, displayed_fps=20.0))
    assert "graphics card" in why_slow(replace(FAST, displayed_fps=20.0, is_software=False))
    late = why_slow(replace(FAST, queue=50, latency_p95_s=1.2, pixels_per_s=0.25e6))
    assert "0.25 million pixels a second on cpu" in late and "takes 4.0 s" in late
    assert "promptly" in why_slow(replace(FAST, queue=5))
    assert "No scene" in why_slow(replace(FAST, device=""))


def test_memory_of_this_process_is_known() -> None:
    held = resident_bytes()
    assert held is None or 10 << 20 < held < 1 << 40
