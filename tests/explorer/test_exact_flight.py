"""On a device that is fast enough every frame of a flight is exact; on a slower one tiles fly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot

from explorer.app import App
from explorer.compositor import Compositor
from explorer.messages import ExactFrame
from tests.explorer.conftest import MakeApp
from tests.explorer.fakes import FakeSpace
from tests.explorer.hands import wheel

WAIT_MS = 30_000


class GpuSpace(FakeSpace):
    """Says that it renders on a GPU."""

    device = "cuda:0"


def fly(app: App, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Levels of the exact frames that came because the view moved."""
    viewport, came = app.viewport, list[float]()
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    show = Compositor.set_exact

    def watched(self: Compositor, frame: ExactFrame, now: float, fade: bool = True) -> None:
        if not fade:  # frames that follow each other are not blended
            came.append(frame.view.level)
        show(self, frame, now, fade)

    monkeypatch.setattr(Compositor, "set_exact", watched)
    for _ in range(12):
        wheel(viewport, 1, 200, 150)
        qtbot.wait(60)
    qtbot.waitUntil(lambda: viewport.view_state.is_settled, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: viewport.is_exact, timeout=WAIT_MS)
    return came


@pytest.mark.parametrize(
    ("space", "limit_s", "is_fast"),
    [(GpuSpace(), 60.0, True), (GpuSpace(), 1e-6, False), (FakeSpace(), 60.0, False)],
    ids=["fast GPU", "slow GPU", "CPU"],
)
def test_every_frame_of_a_flight_is_exact_where_the_device_is_fast_enough(
    make_app: MakeApp,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    space: FakeSpace,
    limit_s: float,
    is_fast: bool,
) -> None:
    app = make_app(space=space)
    qtbot.waitUntil(lambda: app.viewport.scene is not None, timeout=WAIT_MS)
    assert app.viewport.scene is not None
    # As the command lines of exports and films take it.
    assert app.viewport.scene.device == ("cuda" if isinstance(space, GpuSpace) else "cpu")
    config = app.viewport.config
    streaming = replace(config.streaming, exact_flight_s=limit_s)
    app.viewport.config = replace(config, streaming=streaming)
    levels = fly(app, qtbot, monkeypatch)
    if not is_fast:
        assert levels == []
        return
    assert len(levels) >= 3
    assert levels == sorted(levels) and levels[-1] - levels[0] > 1.0
