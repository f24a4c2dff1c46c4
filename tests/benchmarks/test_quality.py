"""What the quality page is made from: baselines that fit, figures that are known, pictures."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.quality import encoded, measure, pictures, search, settings
from benchmarks.quality.__main__ import arguments, command_of, main
from benchmarks.quality.page import load_results, page
from benchmarks.quality.run import choose, merged
from benchmarks.quality.work import Done, Task, run_tasks
from model.pyramid import ImagePyramid
from model.scale import density
from model.space import Window, window_around
from tests.benchmarks.conftest import Waves

SMALL = settings.Settings(windows=16, held_out=4, search_windows=16, bootstrap=0, avif_speed=10)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with detail at every octave, 320 x 256."""
    from benchmarks.procedural import rock

    path = tmp_path_factory.mktemp("image") / "rock.png"
    Image.fromarray(rock(320, 3)[:256]).save(path)
    return path


@pytest.fixture(scope="module")
def truth(image: Path) -> settings.Truth:
    return settings.Truth(str(image), None, str(image.parent), 32)


@pytest.fixture(scope="module")
def real(truth: settings.Truth) -> ImagePyramid:
    space = truth.open()
    assert isinstance(space, ImagePyramid)
    return space


def write(
    path: Path, pixels: np.ndarray, top: float, codec: str = "jpeg"
) -> encoded.EncodedPicture:
    """One picture and its halves, of the best quality, as an encoded picture of 32-px patches."""
    height, width = pixels.shape[:2]
    field = (width / min(width, height), height / min(width, height))
    stored, levels = [], []
    while top - len(levels) >= 0:
        stored.append(encoded.Stored(top - len(levels), pixels.shape[1], pixels.shape[0]))
        levels.append(pixels)
        pixels = encoded.halved(pixels)
    index = encoded.Index(codec, 95, 32, field, tuple(stored))
    with encoded.EncodedWriter(path, index) as writer:
        for number, each in enumerate(levels):
            writer.put(number, 0, 0, encoded.encode(each, codec, 95))
    return encoded.EncodedPicture.open(path)


# What encodes and reads a picture.


def test_cubic_taps_leave_pixels_where_they_are_and_ramps_straight() -> None:
    first, weights = encoded.cubic_taps(np.arange(8) + 0.5, 1.0, 8)
    assert first == 0
    assert np.allclose(weights, np.eye(8), atol=1e-7)
    # Cubic convolution reproduces straight lines (Keys 1981): at quarters, away from the edges.
    centers = np.array([4.25, 5.5, 7.75])
    first, weights = encoded.cubic_taps(centers, 0.25, 16)
    ramp = np.arange(first, first + weights.shape[1]) + 0.5
    assert weights @ ramp == pytest.approx(centers, abs=1e-5)


def test_cubic_taps_half_way_are_keys_own() -> None:
    first, weights = encoded.cubic_taps(np.array([8.0]), 1.0, 16)
    used = weights[0][np.abs(weights[0]) > 1e-9]
    assert used == pytest.approx([-1 / 16, 9 / 16, 9 / 16, -1 / 16], abs=1e-6)
    assert first + int(np.argmax(weights[0])) in (7, 8)


def test_cubic_taps_average_where_they_make_smaller() -> None:
    # A checkerboard of single pixels is grey at an eighth of its density.
    _, weights = encoded.cubic_taps(np.array([60.0, 68.0]), 8.0, 128)
    assert weights.shape[1] >= 32
    board = np.arange(weights.shape[1]) % 2
    assert weights @ board == pytest.approx([0.5, 0.5], abs=0.01)


def test_halves_are_averages_and_edges_go_on() -> None:
    pixels = np.zeros((3, 3, 3), np.uint8)
    pixels[0, 0], pixels[2, 2] = 100, 80
    small = encoded.halved(pixels)
    assert small.shape == (2, 2, 3)
    assert small[..., 0].tolist() == [[25, 0], [0, 80]]


def test_an_encoded_picture_shows_the_picture_at_every_level(
    tmp_path: Path, image: Path, real: ImagePyramid
) -> None:
    pixels = np.asarray(Image.open(image).convert("RGB"))
    space = write(tmp_path / "a.zip", pixels, 3.0)
    for level in (3.0, 2.3, 1.0, 0.0):
        window = window_around((0.1, -0.07), level, (24, 20), 32)
        error = (space.render([window]) - real.render([window])).square().mean()
        assert 10 * math.log10(4 / float(error)) > 24, level
    # Larger than it is: between the pixels that there are.
    window = window_around((0.1, -0.07), 5.0, (24, 20), 32)
    error = (space.render([window]) - real.render([window])).square().mean()
    assert 10 * math.log10(4 / float(error)) > 24
    space.close()


def test_a_window_and_its_crop_are_the_same_pixels(tmp_path: Path, image: Path) -> None:
    space = write(tmp_path / "a.zip", np.asarray(Image.open(image).convert("RGB")), 3.0)
    window = Window((-0.3, -0.21), 2.6, 40, 48)
    part = window.crop(11, 7, 20, 16, 32)
    whole, cut = space.render([window])[0], space.render([part])[0]
    assert torch.allclose(whole[:, 7:23, 11:31], cut, atol=1e-5)
    space.close()


def test_one_stored_level_is_halved_for_the_others(tmp_path: Path) -> None:
    flat = np.full((128, 160, 3), 90, np.uint8)
    index = encoded.Index("jpeg", 95, 32, (1.25, 1.0), (encoded.Stored(2.0, 160, 128),))
    with encoded.EncodedWriter(tmp_path / "a.zip", index) as writer:
        writer.put(0, 0, 0, encoded.encode(flat, "jpeg", 95))
    space = encoded.EncodedPicture.open(tmp_path / "a.zip")
    for level in (-3.0, 0.0, 2.0, 4.0):
        img = space.render([window_around((0.0, 0.0), level, (16, 16), 32)])
        assert float((img - (90 / 127.5 - 1)).abs().max()) < 2 / 127.5, level
    space.close()


def test_a_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    index = encoded.Index("jpeg", 95, 32, (1.0, 1.0), (encoded.Stored(0.0, 32, 32),))
    with pytest.raises(RuntimeError), encoded.EncodedWriter(tmp_path / "a.zip", index):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


# What finds the best that fits.


def levels_of(image: Path, tmp_path: Path) -> tuple[search.Level, ...]:
    pixels = np.asarray(Image.open(image).convert("RGB"))
    found = []
    for number in range(4):
        file = tmp_path / f"level-{number}.u8"
        pixels.tofile(file)
        found.append(search.Level(3.0 - number, str(file), pixels.shape[1], pixels.shape[0]))
        pixels = encoded.halved(pixels)
    return tuple(found)


@pytest.mark.parametrize("budget", [9_000, 30_000])
def test_the_best_quality_fits_and_the_next_does_not(
    image: Path, tmp_path: Path, budget: int
) -> None:
    candidate = search.Candidate("jpeg", levels_of(image, tmp_path), budget)
    found = search.encode_best(candidate, tmp_path / "a.zip", (1.25, 1.0), 32, SMALL)
    assert found is not None
    assert (tmp_path / "a.zip").stat().st_size == found["bytes"] <= budget
    quality = found["quality"] + 2
    more = search._encode_all(candidate, quality, tmp_path / "b.zip", (1.25, 1.0), 32, SMALL)
    assert more > 0.97 * budget
    assert not list(tmp_path.glob("a.zip.*"))


def test_what_cannot_fit_is_none(image: Path, tmp_path: Path) -> None:
    candidate = search.Candidate("jpeg", levels_of(image, tmp_path), 900)
    assert search.encode_best(candidate, tmp_path / "a.zip", (1.25, 1.0), 32, SMALL) is None
    assert not (tmp_path / "a.zip").exists()


def test_avif_is_encoded_or_its_absence_named(image: Path, monkeypatch) -> None:
    monkeypatch.setattr(encoded.features, "check", lambda name: False)
    assert "Pillow" in encoded.missing_codec("avif")
    assert encoded.missing_codec("jpeg") == ""
    monkeypatch.undo()
    if not encoded.missing_codec("avif"):
        pixels = np.asarray(Image.open(image).convert("RGB"))[:64, :64]
        back = Image.open(io.BytesIO(encoded.encode(pixels, "avif", 90, 10)))
        assert np.abs(np.asarray(back).astype(int) - pixels).mean() < 6


def test_tops_are_tried_where_a_pixel_gets_a_sensible_number_of_bits() -> None:
    family = [search.Level(4.0 - n, "", 1024 >> n, 1024 >> n) for n in range(5)]
    found = search.candidates([family], "jpeg", 1024 * 1024 // 8)  # 1 bit a pixel of the finest
    assert [c.levels[0].level for c in found] == [4.0, 3.0]  # 0.75, 3 and 12 with the pyramid
    found = search.candidates([family], "jpeg", 1024 * 1024 // 32)  # 0.19, 0.75, 3
    assert [c.levels[0].level for c in found] == [4.0, 3.0, 2.0]
    found = search.candidates([family], "jpeg", 1024 * 1024)  # more than anything needs
    assert [c.levels[0].level for c in found] == [4.0]


def test_checkpoints_of_about_one_size_share_their_baselines() -> None:
    mib = 1 << 20
    assert search.budget_for(16 * mib) == search.budget_for(int(15.6 * mib)) == 16 * mib
    assert search.budget_for(19_476_960) == 19 * mib
    for size in (1, 1000, 1_225_524, 16 * mib + 1):
        assert size <= search.budget_for(size) <= 1.07 * size


def test_a_second_family_lies_half_an_octave_below() -> None:
    assert search.between_level(8.516) == 8.0
    assert search.between_level(7.0) == 6.5


def test_the_second_family_is_the_picture_at_its_level(
    truth: settings.Truth, real: ImagePyramid, tmp_path: Path
) -> None:
    levels = search.between_levels(truth, tmp_path / "between")
    assert [level.level for level in levels] == [2.5, 1.5, 0.5]
    top = levels[0]
    assert (top.width, top.height) == tuple(math.ceil(s * density(2.5, 32)) for s in (1.25, 1.0))
    shown = real.render([Window((-0.625, -0.5), 2.5, top.height, top.width)])[0]
    expected = ((shown.permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert np.abs(top.pixels().astype(float) - expected).max() <= 1
    before = Path(top.file).stat().st_mtime_ns
    assert search.between_levels(truth, tmp_path / "between") == levels
    assert Path(top.file).stat().st_mtime_ns == before


def test_a_thumbnail_fits_and_is_as_fine_as_fits(truth: settings.Truth, tmp_path: Path) -> None:
    out = tmp_path / "thumbnail.zip"
    found = search.encode_thumbnail(truth, 12_000, out, SMALL)
    assert found is not None
    assert out.stat().st_size == found["bytes"] <= 12_000
    space = encoded.EncodedPicture.open(out)
    assert space.level_range[1] == found["top"] < 3.0
    size = search._write_thumbnail(truth.open(), found["top"] + 0.25, tmp_path / "larger.zip")
    assert size > 12_000
    space.close()


def test_candidates_are_scored_by_what_they_show(truth: settings.Truth, tmp_path: Path) -> None:
    image = np.asarray(Image.open(truth.image).convert("RGB"))
    good = write(tmp_path / "good.zip", image, 3.0)
    poor = write(tmp_path / "poor.zip", encoded.halved(encoded.halved(image)), 1.0)
    good.close()
    poor.close()
    a, b = (search.score(tmp_path / name, truth, SMALL) for name in ("good.zip", "poor.zip"))
    assert a["psnr"] > b["psnr"] + 2
    assert a["swd"] < b["swd"]


def test_the_best_of_each_kind_is_chosen_twice() -> None:
    rows = [
        {"codec": "jpeg", "psnr": 30.0, "swd": 3.0},
        {"codec": "jpeg", "psnr": 31.0, "swd": 4.0},
        {"codec": "avif", "psnr": 29.0, "swd": 2.0},
    ]
    assert [row["chosen"] for row in choose(rows)] == [
        ["realism"],
        ["fidelity"],
        ["fidelity", "realism"],
    ]
    assert "chosen" not in rows[0]


# What is measured and kept.


def count(path: str) -> dict[str, int]:
    """A task: how often it was called."""
    calls = int(Path(path).read_text()) + 1 if Path(path).exists() else 1
    Path(path).write_text(str(calls))
    return {"calls": calls}


def test_finished_work_is_not_done_again(tmp_path: Path) -> None:
    parts = settings.Parts(tmp_path / "parts")
    tasks = [Task(f"t{i}", "key", count, (str(tmp_path / f"{i}"),)) for i in range(2)]
    first = run_tasks("work", tasks, parts, 1)
    again = run_tasks(
        "work", [*tasks, Task("t0", "other", count, (str(tmp_path / "0"),))], parts, 1
    )
    assert [each.value["calls"] for each in first if each] == [1, 1]
    assert [each.value["calls"] for each in again if each] == [1, 1, 2]
    assert run_tasks("work", [Task("t9", "k", count, ("no",))], parts, 1, run=False) == [None]


def test_a_checkpoint_is_measured_whole_and_a_baseline_where_it_matters() -> None:
    own = settings.Subject("checkpoint", "a", "checkpoint")
    jobs = measure.jobs_of_checkpoint(own, [0.0, 1.0], 1.5)
    assert [(job.level, job.metrics) for job in jobs] == [
        (0.0, measure.OWN),
        (0.5, measure.HALF),
        (1.0, measure.OWN),
        (1.5, measure.HALF),
    ]
    files = [settings.Subject("jpeg", name, "encoded") for name in "ab"]
    jobs = measure.jobs_of_baseline(files[0], files[1], [4.0, 5.0], 5)
    assert [(job.subject.file, job.level, job.metrics) for job in jobs] == [
        ("a", 4.0, ("fidelity",)),
        ("a", 5.0, ("fidelity",)),
        ("b", 5.0, ("swd",)),
    ]
    done: list[Done | None] = [
        Done({"fidelity": 1}, 0),
        Done({"fidelity": 2}, 0),
        Done({"swd": 3}, 0),
    ]
    assert merged(jobs, done) == {"jpeg": {"4": {"fidelity": 1}, "5": {"fidelity": 2, "swd": 3}}}


def test_figures_of_a_poor_copy_are_those_of_evaluate(
    truth: settings.Truth, tmp_path: Path
) -> None:
    image = np.asarray(Image.open(truth.image).convert("RGB"))
    write(tmp_path / "a.zip", encoded.halved(encoded.halved(image)), 1.0).close()
    subject = settings.Subject("bicubic", str(tmp_path / "a.zip"), "encoded")
    found = measure.measure(measure.Job(subject, 2.0, ("fidelity", "swd"), 1.0), truth, SMALL)
    from model.metrics import EvaluationConfig, evaluate

    config = EvaluationConfig((2.0,), 16, 4, ("fidelity", "swd"), 0, 0)
    expected = evaluate(subject.open(), truth.open(), config)
    psnr, ratio = expected.figure(2.0, "fidelity", "psnr"), expected.figure(2.0, "swd", "real")
    assert psnr is not None and ratio is not None
    assert found["fidelity"]["psnr"]["value"] == pytest.approx(psnr.value, rel=1e-4)
    assert found["swd"]["real"]["ratio"] == pytest.approx(ratio.ratio, rel=1e-4)


def test_numbers_are_kept_with_five_digits() -> None:
    assert settings.slim({"a": [1 / 3, 123456.7], "b": 1 / 7e9}) == {
        "a": [0.33333, 123460.0],
        "b": 1.4286e-10,
    }


def test_places_come_from_the_seed_and_lie_in_the_field() -> None:
    places = pictures.draw_places((1.25, 1.0), 0)
    assert places == pictures.draw_places((1.25, 1.0), 0) != pictures.draw_places((1.25, 1.0), 1)
    assert len(places) == pictures.PLACES
    assert all(abs(x) <= 0.625 and abs(y) <= 0.5 for x, y in places)


def test_a_cell_shows_the_field_and_nothing_beyond(real: ImagePyramid) -> None:
    whole = pictures.cell(real, (0.5, 0.4), 0.0)  # 40 x 32 pixels, in the middle
    assert (whole[0, 0] == 120).all() and (whole[64, 30] == 120).all()
    shown = real.render_view((0.0, 0.0), 0.0, (40, 32))
    assert np.array_equal(whole[48:80, 44:84], shown)
    corner = pictures.cell(real, (0.62, 0.49), 3.0)
    expected = real.render_view((0.625 - 0.25, 0.5 - 0.25), 3.0, (128, 128))
    assert np.array_equal(corner, expected)


def test_latents_are_drawn_a_row_each(tmp_path: Path) -> None:
    seen: list[int] = []

    class Scenes(Waves):
        def render(self, windows: Sequence[Window]) -> torch.Tensor:
            seen.append(windows[0].seed)
            return super().render(windows)

    pictures.make_latent_strips(Scenes(), (7, 9), (0.0, 1.0), tmp_path / "latents.jpg")
    assert set(seen) == {7, 9}
    with Image.open(tmp_path / "latents.jpg") as image:
        assert image.size == (2 * 132 - 4, 20 + 2 * 132 - 4)


def test_strips_hold_a_row_for_each_and_a_column_a_level(
    real: ImagePyramid, tmp_path: Path
) -> None:
    levels, places = (0.0, 1.0, 2.0), pictures.draw_places(real.field_size, 0)
    pictures.make_strips(real, places, levels, tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as strips:
        assert strips.size == (3 * 132 - 4, 20 + 3 * 132 - 4)
    files = pictures.make_strips_with_real(
        [("real", real), ("other", real)], places, levels, tmp_path / "real"
    )
    assert len(files) == len(places)
    image = np.asarray(Image.open(files[0]).convert("RGB"))
    assert np.array_equal(image[20:148, 92 + 264 : 92 + 392], image[152:280, 92 + 264 : 92 + 392])


def test_the_film_goes_from_the_whole_to_the_place(real: ImagePyramid) -> None:
    (start, first), (end, last) = pictures.film_ends(real, (0.1, 0.2))
    assert start == (0.0, 0.0) and end == (0.1, 0.2) and last == real.level_range[1]
    # At the first level the whole field fits into the frame: 384 rows for one field unit.
    assert density(first, 32) == pytest.approx(384)
    assert "--to 0.1000 0.2000 3.00" in pictures.film_command("a", real, (0.1, 0.2))


def test_the_page_names_no_folder_of_this_machine() -> None:
    words = ["--image", "/home/me/a.jpg", "--crop", "0", "0", "9", "8", "--out", "/home/me/out"]
    options = arguments().parse_args([*words, "--checkpoints", "/home/me/b.safetensors"])
    command = command_of(options)
    assert command.endswith(
        "--image a.jpg --crop 0 0 9 8 --checkpoints checkpoints/b.safetensors --publish"
    )


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys) -> None:
    words = ["--image", str(tmp_path / "no.jpg"), "--out", str(tmp_path)]
    assert main([*words, "--checkpoints", str(tmp_path / "no.safetensors")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("quality: ") and "\n" not in error
    assert main([*words, "--windows", "3"]) == 1
    assert "--windows" in capsys.readouterr().err


def test_the_command_measures_and_writes_the_page(
    image: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.quality import pictures as drawn
    from benchmarks.quality import run
    from model.checkpoints import header_of, save_checkpoint
    from model.config import GeneratorConfig
    from model.generator import Generator

    config = GeneratorConfig(
        patch_size=32,
        field_size=(1.25, 1.0),
        level_range=(0.0, 2.0),
        widths=(8, 8, 8, 8),
        waves_per_octave=4,
        w_dim=8,
    )
    torch.manual_seed(0)
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, Generator(config), header_of(config, {"minutes": 1.0}, licence=""))
    monkeypatch.setattr(drawn, "FILM_SIZE", (64, 48))
    monkeypatch.setattr(drawn, "FILM_SECONDS", 0.25)
    monkeypatch.setattr(run, "CODECS", ("jpeg",))
    monkeypatch.setattr(measure, "OWN", ("fidelity",))
    words = ["--image", str(image), "--checkpoints", str(checkpoint), "--cache", str(image.parent)]
    words += ["--out", str(tmp_path / "out"), "--windows", "16", "--workers", "1"]
    assert main([*words, "--twin", str(checkpoint)]) == 0
    out = tmp_path / "out"
    result = load_results(out / "results")[0]
    assert set(result["figures"]) == {"checkpoint", "twin", "jpeg", "bicubic"}
    assert set(result["figures"]["checkpoint"]) == {"0", "0.5", "1", "1.5", "2"}
    assert (out / "docs" / "quality.md").read_text() == page([result])
    for name in ("small.svg", "small-strips.jpg", "small.webm"):
        assert (out / "docs" / "quality" / name).stat().st_size > 200
    assert len(list((out / "with-real" / "small").glob("*.png"))) == pictures.PLACES
    # The twin is the checkpoint itself here: so are its figures.
    for level in ("0", "1", "2"):
        mine, its = (result["figures"][s][level]["fidelity"] for s in ("checkpoint", "twin"))
        assert mine["psnr"]["value"] == its["psnr"]["value"]
    # Again: nothing is measured a second time, and nothing changes.
    monkeypatch.setattr(measure, "measure", None)
    assert main([*words, "--twin", str(checkpoint), "--only", "page"]) == 0
    assert load_results(out / "results")[0]["figures"] == result["figures"]
    # Nor is a figure replaced by none, nor are the strips beside it.
    capsys.readouterr()
    strips = out / "docs" / "quality" / "small-strips.jpg"
    strips.write_bytes(b"as before")
    assert main([*words, "--only", "strips", "page"]) == 1
    assert strips.read_bytes() == b"as before"
    assert "has figures of twin, of which nothing is measured" in capsys.readouterr().err
    shutil.rmtree(out / "parts")
    assert main([*words, "--twin", str(checkpoint), "--only", "page"]) == 1
    assert "has figures of checkpoint, jpeg, bicubic, twin" in capsys.readouterr().err
    assert load_results(out / "results")[0]["figures"] == result["figures"]
