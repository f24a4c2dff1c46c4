"""The doctor finds what was planted, names it, says what to do, and finds nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from model.data.doctor import DoctorConfig, inspect_data
from model.data.doctor_cost import Machine
from model.data.patches import PatchCollection, open_data, read_excludes
from model.data.report import SCHEMA_VERSION, DoctorReport, Finding
from tests.model.data.doctor_sets import P, cut, png, write_folder, write_form

NO_COSTS = DoctorConfig(costs=False, patch_size=P)


def finding(report: DoctorReport, kind: str) -> Finding:
    found = {f.kind: f for f in report.findings}
    assert kind in found, f"{kind} is not among {sorted(found)}"
    return found[kind]


def names(report: DoctorReport, kind: str) -> list[str]:
    return [item.name for item in finding(report, kind).items]


@pytest.fixture(scope="module")
def healthy() -> list[tuple[np.ndarray, float]]:
    patches = cut(240)
    return [(patches[0][0], patches[0][1]), *patches[1:]]


def magnified(pixels: np.ndarray, times: int) -> np.ndarray:
    part = Image.fromarray(pixels[: P // times, : P // times])
    return np.asarray(part.resize((P, P), Image.Resampling.BICUBIC))


def test_a_healthy_set_has_nothing_wrong(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    report = inspect_data(write_folder(tmp_path / "set", healthy), NO_COSTS)
    assert report.count("error") == 0 and report.excluded == ()
    assert {f.kind for f in report.findings} <= {"thin-octave"}
    facts = report.patches
    assert facts is not None
    assert facts.num_listed == facts.num_read == facts.num_usable == facts.num_labelled == 240
    assert facts.num_placed == 0 and facts.patch_size == P and not facts.photographs
    assert [o.octave for o in facts.octaves] == [0, 1, 2, 3]
    assert sum(o.count for o in facts.octaves) == 240
    covers = sum(4.0**-level for _, level in healthy)
    assert sum(o.coverage for o in facts.octaves) == pytest.approx(covers, abs=1e-4)


def test_what_is_planted_is_found_and_nothing_else(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    rng = np.random.default_rng(5)
    patches: list[tuple[np.ndarray, float | None]] = list(healthy)
    patches[10] = (np.full((P, P, 3), 77, np.uint8), 2.0)
    patches[11] = (np.full((P, P, 3), 77, np.uint8), 3.0)
    patches[20] = (patches[21][0], patches[21][1])
    patches[30] = (patches[31][0], (patches[31][1] or 0) + 1)
    noisy = np.clip(patches[41][0] + rng.normal(0, 1.5, (P, P, 3)), 0, 255)
    patches[40] = (noisy.astype(np.uint8), patches[41][1])
    for index in (50, 51, 52):
        patches[index] = (magnified(patches[index][0], 2), 2.5)
    patches[60] = (np.where(patches[60][0] > 128, 255, 0).astype(np.uint8), 1.5)
    patches[70] = (patches[70][0][:16, :16], 1.0)
    patches[71] = (patches[71][0][:16], 1.0)
    patches[72] = (patches[72][0], None)
    folder = write_folder(tmp_path / "set", patches)
    (folder / "0080.png").write_bytes(png(patches[80][0])[:200])
    report = inspect_data(folder, NO_COSTS)
    assert names(report, "blank") == ["0010.png", "0011.png"]
    assert names(report, "exact-duplicate") == ["0021.png"]
    assert names(report, "duplicate-unlike-labels") == ["0030.png", "0031.png"]
    assert names(report, "near-duplicate") == ["0041.png"]
    assert set(names(report, "soft")) >= {"0050.png", "0051.png", "0052.png"}
    assert len(names(report, "soft")) <= 4
    assert "0060.png" in names(report, "clipped")
    assert set(names(report, "too-small")) == {"0070.png", "0071.png"}
    assert names(report, "no-label") == ["0072.png"]
    assert names(report, "unreadable") == ["0080.png"]
    assert not {f.kind for f in report.findings} & {"empty-octave", "octave-gap"}
    excluded = {f"{n:04d}.png" for n in (10, 11, 21, 30, 31, 41, 50, 51, 52, 70, 71, 80)}
    assert excluded <= set(report.excluded) and len(report.excluded) <= len(excluded) + 1
    assert all(f.advice and all(item.message for item in f.items) for f in report.findings)


@pytest.mark.parametrize(
    ("apart", "kind"), [(0.0, "near-duplicate"), (0.1, None), (1.0, "duplicate-unlike-labels")]
)
def test_two_views_of_nearly_the_same_are_no_duplicates(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]], apart: float, kind: str | None
) -> None:
    noise = np.random.default_rng(1).normal(0, 1.5, (P, P, 3))
    again = np.clip(healthy[3][0] + noise, 0, 255).astype(np.uint8)
    patches = [*healthy, (again, healthy[3][1] + apart)]
    report = inspect_data(write_folder(tmp_path / "set", patches), NO_COSTS)
    found = {f.kind for f in report.findings} & {"near-duplicate", "duplicate-unlike-labels"}
    assert found == ({kind} if kind else set())


def test_a_slow_zoom_is_not_held_against_itself(tmp_path: Path) -> None:
    """Frames are nearly the next ones: the first and the last are an octave apart all the same."""
    rng = np.random.default_rng(0)
    side = 4 * P
    cells = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    picture = np.kron(cells, np.ones((8, 8, 1)))
    image = Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(3))
    frames = []
    for number in range(120):
        level = 0.008 * number
        half = side / 2 * 2.0**-level
        box = (side / 2 - half, side / 2 - half, side / 2 + half, side / 2 + half)
        frames.append((np.asarray(image.resize((P, P), Image.Resampling.BOX, box)), level))
    report = inspect_data(write_folder(tmp_path / "set", frames), NO_COSTS)
    assert "duplicate-unlike-labels" not in {f.kind for f in report.findings} and report.usable


def test_a_picture_that_cannot_be_read_is_nothing_to_train_on(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((P, 50, 3), np.uint8)).save(tmp_path / "small.png")
    assert not inspect_data(tmp_path / "small.png", NO_COSTS).usable


def test_an_octave_of_magnified_patches_is_named(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    patches = [(magnified(p, 2) if level >= 3 else p, level) for p, level in healthy]
    report = inspect_data(write_folder(tmp_path / "set", patches), NO_COSTS)
    assert names(report, "empty-octave") == ["octave 3"]


def test_gaps_thin_octaves_and_a_missing_whole_are_named_until_places_are_known(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    patches = [(p, level) for p, level in healthy if level >= 0.6 and not 2 <= level < 3]
    folder = write_folder(tmp_path / "set", patches)
    report = inspect_data(folder, NO_COSTS)
    assert names(report, "octave-gap") == ["octave 2"]
    assert names(report, "thin-octave") == ["octave 3"]
    assert len(names(report, "no-anchor")) == 1
    (folder / "dataset.json").unlink()
    rows = [f"{i:04d}.png,{level},0.1,-0.2" for i, (_, level) in enumerate(patches)]
    (folder / "labels.csv").write_text("\n".join(["file,log2_zoom,x,y", *rows]))
    placed = inspect_data(folder, NO_COSTS)
    assert placed.patches is not None and placed.patches.num_placed == len(patches)
    assert not {f.kind for f in placed.findings} & {"octave-gap", "thin-octave", "no-anchor"}


def test_every_form_gives_the_same_data_and_the_same_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    files: dict[str, bytes] = {}
    levels: dict[str, float] = {}
    for number, (pixels, level) in enumerate(cut(60)):
        name = f"{int(level)}/é {number:03d}.png"
        blank = np.full_like(pixels, rng.integers(256))
        files[name] = png(blank if number % 20 == 7 else pixels)
        levels[name] = float(int(level))
    files["2/broken.png"] = files[min(files)][:99]
    levels["2/broken.png"] = 2.0
    reports, sets = [], []
    for form in ("dataset.json", "zip", "csv", "folders"):
        (tmp_path / form).mkdir()
        path = write_form(tmp_path / form, form, files, levels)
        reports.append(inspect_data(path, NO_COSTS))
        with open_data(path) as data:
            assert isinstance(data, PatchCollection)
            kept = data.without(reports[-1].excluded)
            sets.append((data.patches, kept.images(range(len(kept)), P).tobytes()))
    assert [r.form for r in reports] == ["dataset.json", "dataset.json", "csv", "octave folders"]
    assert all(s == sets[0] for s in sets) and len(sets[0][0]) == 61
    plain = [replace(r, path="", form="") for r in reports]
    assert all(r == plain[0] for r in plain)
    assert len(plain[0].excluded) == 4


def test_the_report_does_not_depend_on_threads(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    folder = write_folder(tmp_path / "set", [*healthy, *healthy[:30]])
    one = inspect_data(folder, replace(NO_COSTS, threads=1))
    assert one == inspect_data(folder, replace(NO_COSTS, threads=4))
    assert len(one.excluded) == 30


def test_the_exclude_list_reads_back(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    folder = write_folder(tmp_path / "set", [*healthy[:30], *healthy[:5]])
    odd = [folder / " edge.png", folder / "#hash.png", folder / "two\nlines.png"]
    for path in odd:
        path.write_bytes(png(healthy[40][0]))
    report = inspect_data(folder, NO_COSTS)
    listed = tmp_path / "exclude.txt"
    listed.write_text(report.exclude_text(), encoding="utf-8")
    back = read_excludes(listed)
    assert {f"{n:04d}.png" for n in range(30, 35)} <= back
    assert len(finding(report, "odd-name").items) == 3


def test_json_is_strict_and_keeps_its_keys(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    report = inspect_data(write_folder(tmp_path / "set", healthy[:40]), NO_COSTS)
    values = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert values["schema"] == "scalespace-doctor" and values["version"] == SCHEMA_VERSION == 2
    assert {"path", "form", "patches", "image", "findings", "costs", "excluded"} < values.keys()
    keys = {"num_listed", "num_read", "num_labelled", "num_placed", "octaves", "patch_size"}
    assert keys < values["patches"].keys()
    for found in values["findings"]:
        assert {"kind", "severity", "title", "advice", "items", "excluded"} == found.keys()


def test_progress_rises_and_the_report_grows(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]]
) -> None:
    folder = write_folder(tmp_path / "set", healthy * 6)
    seen: list[float] = []
    parts: list[DoctorReport] = []
    report = inspect_data(folder, NO_COSTS, seen.append, parts.append)
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1 and len(seen) > 10
    checked = [p.patches.num_checked for p in parts if p.patches is not None]
    assert checked == sorted(checked) and len(checked) >= 5
    assert not any(p.complete for p in parts) and report.complete


def test_cancelling_reaches_the_caller_and_stops_at_once(
    tmp_path: Path,
    healthy: list[tuple[np.ndarray, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_folder(tmp_path / "set", healthy * 8)
    decoded: list[int] = []
    original = PatchCollection.decoded
    monkeypatch.setattr(
        PatchCollection, "decoded", lambda self, i: decoded.append(i) or original(self, i)
    )

    class Stop(Exception):
        pass

    def cancel(fraction: float) -> None:
        if fraction > 0:
            raise Stop

    with pytest.raises(Stop):
        inspect_data(folder, replace(NO_COSTS, threads=2), cancel)
    assert len(decoded) < 8 * 240 / 2


def test_quick_decodes_a_sample_and_says_so(
    tmp_path: Path, healthy: list[tuple[np.ndarray, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.data.doctor.QUICK_PATCHES", 50)
    report = inspect_data(write_folder(tmp_path / "set", healthy), replace(NO_COSTS, quick=True))
    assert report.quick and report.patches is not None
    assert report.patches.num_checked == 48 and report.patches.num_labelled == 240
    assert "only a sample" in report.to_text()


def write_photos(folder: Path, *sizes_wh: tuple[int, int], seed: int = 0) -> Path:
    """A folder of pictures without a label."""
    folder.mkdir(parents=True)
    parts = cut(len(sizes_wh), (1.0, 3.0), seed)
    for number, ((pixels, _), size) in enumerate(zip(parts, sizes_wh)):
        Image.fromarray(pixels).resize(size).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "sizes_wh",
    [
        [(160 + number, 130) for number in range(12)],
        [(300, 300)] * 6 + [(240, 240)] * 2 + [(300, 220)] * 2,
    ],
)
def test_photographs_without_labels_are_not_called_broken(
    tmp_path: Path, sizes_wh: list[tuple[int, int]]
) -> None:
    """Squares are photographs as well where no image has a level: training takes them for such."""
    report = inspect_data(write_photos(tmp_path / "photos", *sizes_wh), DoctorConfig(costs=False))
    assert report.patches is not None and report.patches.photographs and report.usable
    assert report.excluded == () and report.patches.num_labelled == 0


def test_memory_grows_with_the_size_of_photographs_and_with_the_finest_level(
    tmp_path: Path,
) -> None:
    machine = Machine("cpu", 64 << 30, None)

    def memory(folder: Path) -> int:
        costs = inspect_data(folder, DoctorConfig(quick=True), machine=machine).costs
        return next(cost.memory_bytes for cost in costs if cost.preset == "laptop")

    small = memory(write_photos(tmp_path / "small", *[(300, 200)] * 3))
    large = memory(write_photos(tmp_path / "large", *[(3000, 2000)] * 3))
    assert large > small + 3 * 3 * (3000 * 2000 - 300 * 200)
    coarse = memory(labelled(tmp_path / "coarse", 64, np.linspace(0, 2, 20).tolist()))
    fine = memory(labelled(tmp_path / "fine", 64, np.linspace(6, 8, 20).tolist()))
    assert fine > coarse + (4 << 30)


def test_a_photograph_that_is_too_small_is_not_to_be_labelled(tmp_path: Path) -> None:
    """One level makes patches of all the others."""
    photos = write_photos(tmp_path / "photos", *[(300, 220)] * 6, (100, 80))
    report = inspect_data(photos, DoctorConfig(costs=False))
    (small,) = (f for f in report.findings if f.kind == "too-small")
    assert len(small.items) == 1 and "level" not in f"{small.title} {small.advice}"
    assert "128 px or more" in small.advice


def labelled(folder: Path, size: int, levels: Sequence[float], seed: int = 0) -> Path:
    """Square patches of `size` pixels, each with a level."""
    parts = cut(len(levels), seed=seed)
    shown = [np.asarray(Image.fromarray(pixels).resize((size, size))) for pixels, _ in parts]
    return write_folder(folder, list(zip(shown, levels)))


def picture_of(path: Path, side: int) -> Path:
    Image.fromarray(cut(1)[0][0]).resize((side, side)).save(path)
    return path


def scenes(folder: Path, *levels: float | None) -> Path:
    """Two scenes of one patch a level; of photographs where it is None."""
    for seed, scene in enumerate(("a", "b")):
        if None in levels:
            write_photos(folder / scene, *[(200, 200)] * len(levels), seed=seed)
        else:
            known = [level for level in levels if level is not None]
            labelled(folder / scene, 64, known, seed)
    return folder


@pytest.mark.parametrize(
    ("make", "usable"),
    [
        (lambda path: labelled(path, 63, (0, 1)), False),
        (lambda path: labelled(path, 64, (0, 1)), True),
        (lambda path: labelled(path, 64, (0,)), False),
        (lambda path: write_photos(path, (127, 200), (200, 127)), False),
        (lambda path: write_photos(path, (128, 200), (200, 128)), True),
        (lambda path: write_photos(path, (200, 200)), False),
        (lambda path: scenes(path, None, None), False),
        (lambda path: scenes(path, 0.0, 0.0), False),
        (lambda path: scenes(path, 0.0, 1.0), True),
        (lambda path: picture_of(path.with_suffix(".png"), 64), False),
        (lambda path: picture_of(path.with_suffix(".png"), 65), True),
    ],
)
def test_ready_is_what_some_preset_can_be_trained_on(
    tmp_path: Path, make: Callable[[Path], Path], usable: bool
) -> None:
    report = inspect_data(make(tmp_path / "set"), DoctorConfig(costs=False))
    assert report.usable == usable, report.to_text()
    assert usable or report.count("error")


def test_nothing_at_the_path_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_data(tmp_path / "none", NO_COSTS)
