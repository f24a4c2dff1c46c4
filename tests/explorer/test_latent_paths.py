"""Latents in camera paths, films and files: one value, written and read back, never lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.api import Scene
from explorer.camera import Camera
from explorer.camera_path import CameraPath, CameraPathError, Keyframe, even_speed, parse_path, tour
from explorer.cli import run
from explorer.director import Director, FlightLog, PreviewFlight
from explorer.film_frames import frame_file
from explorer.film_process import FilmOrder
from explorer.view_links import StillView, ViewError, format_link, parse_link, view_from_json
from explorer.view_metadata import read_film, read_view
from model.export import plan_export
from model.latent import Seed, blend, mix, parse_seed, plane_latent, truncated
from tests.explorer.fakes import FakeSpace

A, B = Camera(0.1, 0.05, 1.0), Camera(-0.2, 0.1, 2.0)
MIXED = mix([(3, 0.5), (8, 0.25), (20, 0.25)], 0.7)
LATENTS: list[Seed] = [
    0,
    12,
    truncated(12, 0.5),
    blend(12, 37, 1 / 3),
    plane_latent(7.25, 3.5),
    MIXED,
]


@pytest.mark.parametrize("seed", LATENTS)
def test_a_latent_comes_back_from_links_json_and_paths(seed: Seed) -> None:
    view = StillView((0.1, -0.2), 3.5, (64, 48), seed, "night", "abc")
    link = format_link(view)
    assert "%" not in link and parse_link(link) == view
    assert parse_link(f"see <{link}>, it is good") == view
    assert view_from_json(json.loads(json.dumps(view.to_json()))) == view
    assert view.to_json()["format"] == (1 if isinstance(seed, int) else 2)
    path = CameraPath((Keyframe(0.0, A, seed=seed), Keyframe(2.0, B)))
    again = parse_path(path.to_json())
    assert again == path and again.seed_at(1.0) == seed
    assert json.loads(path.to_json())["format"] == 3


def test_what_is_no_latent_is_one_clear_line() -> None:
    with pytest.raises(ViewError, match="no weight"):
        parse_link("scalespace:a?x=0&y=0&level=1&seed=1~2")
    with pytest.raises(ViewError):
        view_from_json({"center": [0, 0], "level": 1, "seed": "1~2"})
    table = json.loads(CameraPath((Keyframe(0.0, A, seed=1),)).to_json())
    table["keyframes"][0]["seed"] = "1@2"
    with pytest.raises(CameraPathError, match="keyframe 0: the weights"):
        parse_path(json.dumps(table))


def test_on_the_way_latents_blend_as_far_as_the_camera() -> None:
    keys = (
        Keyframe(0.0, A, seed=4),
        Keyframe(2.0, B, "linear", 1.0, MIXED),
        Keyframe(5.0, A, "smooth", 0.0),
    )
    path = CameraPath(keys, loop_s=2.0)
    assert path.seeds == (4, MIXED, MIXED)
    assert path.seed_at(-1) == path.seed_at(0) == 4
    assert path.seed_at(0.5) == blend(4, MIXED, 0.25)
    assert path.seed_at(2.5) == path.seed_at(4) == path.seed_at(5) == MIXED
    assert path.seed_at(5.5) == blend(MIXED, 4, 0.15625)  # the way back, smooth
    assert path.seed_at(7.0) == path.seed_at(99.0) == 4
    late = CameraPath((Keyframe(0.0, A), Keyframe(1.0, B, seed=9)))
    assert late.seed_at(0.0) == late.seed_at(1.0) == 9
    assert CameraPath((Keyframe(0.0, A), Keyframe(1.0, B))).seed_at(0.5) is None
    preview = PreviewFlight(path, 1.0)
    assert preview.seed_at(0.0) == path.seed_at(1.0)
    assert preview.seed_at(6.5) == path.seed_at(0.5)


def test_a_change_of_the_latent_takes_its_time() -> None:
    still = tour([A, A], [1, 2], hold_s=0.0)
    assert still.duration_s >= 1.5
    assert even_speed(still).duration_s == pytest.approx(still.duration_s)
    plain = tour([A, A], hold_s=0.0)
    assert plain.duration_s == 0.5 and plain.seeds == ()
    begun = tour([B], [2], start=A, start_seed=5)
    assert begun.seeds == (5, 2)
    director = Director()
    director.add(A, seed=1)
    director.add(B, seed=MIXED)
    index = director.split(director.duration_s / 2)
    assert index == 1 and director.keys[1].seed == blend(1, MIXED, 0.5)
    director.set_camera(1, B, 6)
    assert director.keys[1].seed == 6
    director.undo()
    assert director.keys[1].seed == blend(1, MIXED, 0.5)


def test_a_flight_by_hand_keeps_the_latents_that_were_shown() -> None:
    log = FlightLog()
    shown: list[Seed] = [1] * 10 + [blend(1, 4, 0.5)] * 5 + [4] * 10
    for number, seed in enumerate(shown):
        log.add(10 + 0.1 * number, A if number < 20 else B, seed)
    path = log.path()
    assert path is not None and path.duration_s == pytest.approx(2.4)
    assert [key.seed for key in path.keyframes] == [1, blend(1, 4, 0.5), 4, 4]
    assert path.seed_at(0.5) == 1 and path.seed_at(1.2) == blend(1, 4, 0.5) and path.seed_at(2) == 4


def test_every_frame_of_a_film_has_its_own_blend(tmp_path: Path) -> None:
    space = FakeSpace(has_latents=True)
    path = CameraPath((Keyframe(0.0, A, seed=1), Keyframe(1.0, B, "linear", seed=MIXED)))
    with Scene(space, "fake") as scene:  # type: ignore[arg-type]
        scene.record(path, tmp_path / "frames", (48, 32), 5.0)
        for number, time_s in enumerate(path.frame_times(5)):
            view = read_view(frame_file(tmp_path / "frames", number))
            assert view is not None and view.seed == path.seed_at(time_s)
            with Image.open(frame_file(tmp_path / "frames", number)) as image:
                frame = np.asarray(image)
            alone = scene.render(view.center_xy, view.level, (48, 32), str(view.seed))
            assert np.array_equal(frame, alone)
        assert len({w.seed for w in space.rendered}) == 5
        scene.record(path, tmp_path / "film.mp4", (48, 32), 5.0)
        film = read_film(tmp_path / "film.mp4")
        assert film is not None and film.seed == 1 and parse_path(json.dumps(film.path)) == path
        space.rendered.clear()
        scene.record_strip(path, tmp_path / "strip.png", 64)
        assert {w.seed for w in space.rendered} == {MIXED}
        with pytest.raises(ValueError, match="a latent looks like"):
            scene.render((0, 0), 1.0, (8, 8), "twelve")


def test_exports_and_orders_name_the_latent(tmp_path: Path) -> None:
    plan = plan_export(FakeSpace(has_latents=True), tmp_path / "a.tif", 2.0, seed=MIXED)
    assert json.loads(json.dumps(plan.manifest()))["seed"] == str(MIXED)
    assert plan.tile_window(0, 0).seed == MIXED
    order = FilmOrder("s", CameraPath((Keyframe(0.0, A),)), tmp_path / "f.mp4", (64, 64), 5, MIXED)
    words = order.arguments("p.json")
    assert parse_seed(words[words.index("--seed") + 1]) == MIXED
    assert "--seed 7 " in " ".join(replace(order, seed=7).arguments("p.json"))


def test_the_command_line_refuses_what_is_no_latent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("render", "record", "export"):
        assert run([command, "x.png", "--seed", "1~2", "--level", "1", "--out", "y.png"]) == 2
        assert "one seed of a blend has no weight" in capsys.readouterr().err
