"""The doctor's measures by themselves: spectra, duplicates, costs, large pictures, the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from model.data import doctor_duplicates
from model.data.doctor import DoctorConfig, inspect_data
from model.data.doctor_cost import Machine, _extrapolated, _traced, measure_machine, predict_costs
from model.data.doctor_duplicates import alike_pairs, joined
from model.data.doctor_scan import area_weights, scan
from model.data.doctor_spectrum import band_powers, detail_end, judge, luma, sharpness
from model.data.patches import PatchCollection, open_data
from model.data.report import Count, DoctorReport, Finding, Item, Octave, PatchFacts, PresetCost
from model.presets import PRESETS
from model.pyramid import ImagePyramid
from tests.model.data.doctor_sets import P, cut, picture, png, write_folder

NO_COSTS = DoctorConfig(costs=False)


class Cancelled(Exception):
    """What a person's Cancel raises."""


def test_white_noise_has_its_variance_in_every_band() -> None:
    noise = np.random.default_rng(0).normal(100, 7, (64, 64, 64)).astype(np.float32)
    # 64 windows, the lowest band has few frequencies: 10 % is three times its standard error.
    assert band_powers(noise).mean(0) == pytest.approx(np.full(8, 49.0), rel=0.1)


def test_a_sine_falls_into_its_band() -> None:
    x = np.arange(64, dtype=np.float32)
    for band, nyquists in ((7, 0.84), (5, 0.42), (3, 0.21)):
        wave = 128 + 50 * np.sin(np.pi * nyquists * x)
        powers = band_powers(np.tile(wave, (1, 64, 1)))[0]
        assert powers.argmax() == band
        assert powers[band] > 50 * np.delete(powers, [band - 1, band, (band + 1) % 8]).max()


def test_soft_patches_stand_out_and_sharp_ones_with_a_wrong_level_do_not() -> None:
    patches = cut(200)
    grey = luma(np.stack([p for p, _ in patches]))
    levels = np.array([level for _, level in patches])
    assert judge(band_powers(grey), levels).soft == {}
    wrong = np.roll(levels, 1)
    assert judge(band_powers(grey), wrong).soft == {}
    small = Image.fromarray(patches[3][0]).resize((P // 4, P // 4), Image.Resampling.BOX)
    grey[3] = luma(np.asarray(small.resize((P, P), Image.Resampling.BICUBIC)))
    verdict = judge(band_powers(grey), levels)
    assert list(verdict.soft) == [3] and 1 <= verdict.soft[3] <= 2.5
    rng = np.random.default_rng(0)
    grey[5] = rng.choice([0.0, 255.0], grey[5].shape)
    assert 5 in judge(band_powers(grey), levels).sharp


def test_too_few_patches_are_not_judged() -> None:
    patches = cut(10)
    bands = band_powers(luma(np.stack([p for p, _ in patches])))
    bands[0, 7] = 0
    assert judge(bands, np.array([level for _, level in patches])).soft == {}
    assert judge(bands[:0], np.array([])).soft == {}


def test_flat_patches_count_as_neither_soft_nor_sharp() -> None:
    flat = np.random.default_rng(0).integers(100, 102, (40, P, P)).astype(np.float32)
    assert (np.abs(sharpness(band_powers(flat))) < 3).all()


@pytest.mark.parametrize(("times", "octaves"), [(1, 0.0), (2, 1.0), (4, 2.0)])
def test_the_end_of_detail_is_where_the_picture_was_magnified(times: int, octaves: float) -> None:
    image = Image.fromarray(picture(512))
    large = image.resize((512 * times, 512 * times), Image.Resampling.BICUBIC)
    grey = luma(np.asarray(large))
    tiles = [grey[y : y + 128, x : x + 128] for y in range(0, 385, 128) for x in range(0, 385, 128)]
    found = detail_end(np.stack(tiles))
    assert found is not None and abs(found - octaves) <= 0.5
    assert detail_end(np.full((4, 64, 64), 90, np.float32)) is None


def test_area_weights_average() -> None:
    weights = area_weights(3, 4)
    assert weights @ np.array([1, 1, 1, 1]) == pytest.approx([1, 1, 1])
    assert weights @ np.array([0.0, 3, 6, 9]) == pytest.approx([0.75, 4.5, 8.25])


def opened(path: Path) -> PatchCollection:
    data = open_data(path)
    assert isinstance(data, PatchCollection)
    return data


def test_near_duplicates_survive_recoding_and_plain_gradients_are_none(tmp_path: Path) -> None:
    ramp = np.linspace(60, 180, P)
    rng = np.random.default_rng(0)
    patches: list[tuple[np.ndarray, float | None]] = list(cut(40, (2.0, 4.0)))
    for slope in (1.0, 0.9, 0.95):
        plain = ramp * slope + rng.normal(0, 0.7, (P, P))
        patches.append((np.repeat(np.clip(plain, 0, 255)[..., None], 3, 2).astype(np.uint8), 3.0))
    folder = write_folder(tmp_path / "set", patches)
    for number in (2, 9):
        image = Image.fromarray(patches[number][0])
        image.save(folder / f"z{number}.jpg", quality=92, subsampling=0)
    brighter = np.clip(patches[5][0] * 1.05 + 4, 0, 255).astype(np.uint8)
    (folder / "z5.png").write_bytes(png(brighter))
    data = opened(folder)
    seen = scan(data, range(len(data)))
    groups = joined(alike_pairs(data, seen, np.zeros(len(data), bool)))
    names = [[data.patches[i].name for i in group] for group in groups]
    assert names == [["0002.png", "z2.jpg"], ["0005.png", "z5.png"], ["0009.png", "z9.jpg"]]


def test_all_near_duplicates_are_found_and_looking_for_them_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_duplicates, "_MAX_PAIRS", 2, raising=False)  # there was a bound
    monkeypatch.setattr(doctor_duplicates, "_BATCH", 2)
    patches = cut(5, (2.0, 4.0))
    folder = write_folder(tmp_path / "set", patches)
    for number, (pixels, _) in enumerate(patches):
        Image.fromarray(pixels).save(folder / f"z{number}.jpg", quality=92, subsampling=0)
    data = opened(folder)
    seen = scan(data, range(len(data)))
    none = np.zeros(len(data), bool)
    heard: list[float] = []
    assert len(alike_pairs(data, seen, none, heard.append)) == 5
    assert heard == [0.0, 0.4, 0.8]

    def stop(fraction: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        alike_pairs(data, seen, none, stop)


def test_the_memory_of_the_picture_that_patches_make_is_counted() -> None:
    machine = Machine("cpu", 8 << 30, None)
    plain = predict_costs(machine, (1.0, 1.0), (0.0, 8.0), 100_000)[0]
    made = predict_costs(machine, (1.0, 1.0), (0.0, 8.0), 100_000, composed=True)[0]
    assert plain.memory_bytes < 4 << 30
    # Placing and composing 100,000 patches of 8 octaves took 10.4 GB (benchmarks/results).
    assert 7 << 30 < made.memory_bytes < 11 << 30


def test_costs_count_what_a_checkpoint_and_a_state_hold() -> None:
    machine = Machine("cpu", 8 << 30, 0.05, tuple((name, 1e11) for name in PRESETS))
    costs = {c.preset: c for c in predict_costs(machine, (1.25, 1.0), (0.0, 5.0), 1000)}
    assert list(costs) == list(PRESETS)
    laptop = costs["laptop"]
    assert laptop.windows_per_second == pytest.approx(20)
    assert laptop.hours == pytest.approx(140_000 * 0.05 / 3600)
    pixels = 2048 * 2560
    assert pixels / 4 < laptop.checkpoint_bytes < pixels
    assert 2 * (pixels / 4) < laptop.state_bytes < 30 << 20
    large = predict_costs(machine, (1.25, 1.0), (0.0, 8.5), 1000)[0]
    assert 14 << 20 < large.checkpoint_bytes < 16 << 20, "what ships"
    hours = [costs[name].hours or 0 for name in ("laptop", "studio", "paper")]
    assert hours[0] < hours[1] < hours[2]
    assert costs["paper"].memory_bytes > costs["laptop"].memory_bytes
    more = predict_costs(machine, (1.25, 1.0), (0.0, 5.0), 2000)[0]
    assert more.memory_bytes - laptop.memory_bytes == 1000 * 64 * 64 * 3
    untimed = predict_costs(Machine("cpu", None, None), (1.25, 1.0), (0.0, 5.0))
    assert all(c.hours is None and "not measured" in c.method for c in untimed)


def test_operations_are_counted_without_being_done() -> None:
    import torch
    import torch.nn.functional as F

    x, w = torch.zeros(2, 3, 10, 10), torch.zeros(4, 3, 3, 3, requires_grad=True)
    flops, saved = _traced(lambda: F.conv2d(x, w).sum().view(()) and None)
    assert flops == 2 * 2 * 4 * 8 * 8 * 3 * 9
    assert saved == (x.numel() + w.numel()) * 4
    assert _extrapolated([1, 2, 3], [6.0, 11.0, 18.0], 8) == pytest.approx(8 * 8 + 2 * 8 + 3)


def test_a_large_picture_is_read_once_and_its_magnification_named(tmp_path: Path) -> None:
    small = Image.fromarray(picture(256))
    small.resize((1024, 768), Image.Resampling.BICUBIC).save(tmp_path / "big.png")
    report = inspect_data(tmp_path / "big.png", NO_COSTS)
    image = report.image
    assert image is not None and report.usable and report.patches is None
    assert (image.width, image.height, image.kind) == (1024, 768, "PNG")
    assert image.finest_level == pytest.approx(np.log2(768 / 64), abs=1e-3)
    assert image.detail_level is not None
    assert abs(image.finest_level - image.detail_level - 1.8) <= 0.8
    assert "magnified" in {f.kind for f in report.findings}
    assert image.pyramid_bytes == 1024 * 768 * 4
    quick = inspect_data(tmp_path / "big.png", replace(NO_COSTS, quick=True))
    assert quick.image is not None and quick.image.detail_level is None


def test_room_for_a_pyramid_is_asked_for_until_it_is_there_and_forbids_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("model.data.doctor_image._free_bytes", lambda folder: 1000)
    Image.fromarray(picture(128)).save(tmp_path / "big.png")
    report = inspect_data(tmp_path / "big.png", NO_COSTS)
    (disk,) = (f for f in report.findings if f.kind == "disk")
    assert report.usable and "XDG_CACHE_HOME" in disk.advice and "--cache" in disk.advice
    ImagePyramid.open(tmp_path / "big.png").close()
    assert "disk" not in {f.kind for f in inspect_data(tmp_path / "big.png", NO_COSTS).findings}


@pytest.mark.parametrize("layout", ["dz", "zoomify"])
def test_tile_pyramids_are_large_pictures_too(tmp_path: Path, layout: str) -> None:
    image = pyvips.Image.new_from_array(picture(256))
    image.dzsave(str(tmp_path / "sky"), layout=layout, suffix=".png", tile_size=64)
    path = tmp_path / ("sky.dzi" if layout == "dz" else "sky")
    report = inspect_data(path, NO_COSTS)
    assert report.image is not None and report.image.width == 256
    assert report.count("error") == 0


def test_a_damaged_large_picture_is_a_finding(tmp_path: Path) -> None:
    Image.fromarray(picture(512)).save(tmp_path / "half.jpg", quality=95)
    data = (tmp_path / "half.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    report = inspect_data(tmp_path / "half.jpg", NO_COSTS)
    assert report.image is not None and "damaged" in {f.kind for f in report.findings}


def full_report() -> DoctorReport:
    """A report with everything in it, in long words."""
    facts = PatchFacts(
        *(120_000, 120_000, 119_800, 119_000, 118_000, 118_000, 17, 3, 64, False),
        tuple(Octave(o, 100 * 4**o, 1.2) for o in range(-1, 8)),
        tuple(Count(f"{64 + k} x {64 + k}", 1000 - k) for k in range(6)),
        (Count("PNG RGB 8 bit", 119_000), Count("TIFF CMYK + alpha 16 bit", 800)),
    )
    items = tuple(Item(f"very/long/folder/ünïcode {k}.png", "is " + "x " * 60) for k in range(9))
    kinds = (("error", "unreadable", True), ("warning", "soft", False), ("note", "deep", False))
    findings = tuple(Finding(k, s, "A title. " * 20, "Do it. " * 20, items, e) for s, k, e in kinds)
    cost = PresetCost("studio", 64, "cuda", 7 << 30, 9 << 20, 1 << 30, 1e-3, 1e5, 60, "counted")
    names = tuple(item.name for item in items)
    return DoctorReport("/a/" * 60, "csv", facts, None, findings, (cost,), names, 8 << 30)


def test_the_page_fits_80_columns_and_names_examples() -> None:
    report = full_report()
    for examples in (3, None, 0):
        text = report.to_text(examples)
        assert max(map(len, text.splitlines())) <= 80
        shown = 9 if examples is None else examples
        assert text.count("ünïcode") == 3 * shown
    assert "and 6 more" in report.to_text() and "The exclude list has 9 names" in report.to_text()
    empty = DoctorReport("set", "none", None, None, (), (), ())
    assert not empty.usable and "Nothing is wrong" in empty.to_text()


def test_the_report_needs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, model.data.report, model.data.report_text;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL', 'pyvips')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_measuring_and_predicting_can_be_cancelled_between_their_parts() -> None:
    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        measure_machine("cpu", check=check)
    with pytest.raises(Enough):
        predict_costs(Machine("cpu", None, None), (1.0, 1.0), (0.0, 5.0), check=check)
