"""Photographs without labels: features, the bundle, pixels, the field, light, patches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs import (
    Photograph,
    Shooting,
    camera_homography,
    fit_homography,
    fit_similarity,
    main,
    placement_errors,
    shoot,
)
from explorer.cli import run as run_cli
from model.data.patches import open_patches
from model.placement.photo_align import HALF, align, make_mips
from model.placement.photo_bundle import adjust, connected_sets, residuals, spanning_tree
from model.placement.photo_features import (
    Pair,
    agreeing,
    apply_homography,
    find_distant_pairs,
    find_features,
    find_pairs,
    match_descriptors,
    normalising,
)
from model.placement.photo_gauge import choose_field, roll
from model.placement.photo_light import even_light, evened, light_mips, to_linear, to_srgb
from model.placement.photo_solve import solve
from model.placement.photographs import (
    PHOTO_COLUMNS,
    PhotoConfig,
    PhotoPlace,
    cut_rectified,
    place_photographs,
    place_unlabelled,
)
from model.pyramid import ImagePyramid
from model.scale import level_of_density
from model.space import Window
from model.training_sets import placed_data

SIZES = ((320, 240), (280, 240))
SHOOTING = Shooting(octaves=2.0, widest=0.7, on_picture=1.0, sizes_wh=SIZES)


def _paint(size_wh: tuple[int, int], seed: int) -> np.ndarray:
    """Discs of all sizes and colours, and grain: something to recognise at every scale."""
    rng = np.random.default_rng(seed)
    width, height = size_wh
    image = np.full((height, width, 3), 128, np.uint8)
    for radius in np.geomspace(width / 6, 2.5, 2500):
        center = int(rng.integers(width)), int(rng.integers(height))
        axes = int(radius), max(1, int(radius * rng.uniform(0.3, 1)))
        colour = tuple(rng.integers(30, 220, 3).tolist())
        cv2.ellipse(image, center, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    return image


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> ImagePyramid:
    folder = tmp_path_factory.mktemp("picture")
    cv2.imwrite(str(folder / "picture.png"), _paint((1200, 960), 0))
    return ImagePyramid.open(folder / "picture.png", cache_dir=folder / "cache")


@pytest.fixture(scope="module")
def photographs(picture: ImagePyramid) -> list[Photograph]:
    return shoot(picture, 10, seed=3, shooting=SHOOTING)


@pytest.fixture(scope="module")
def mixed(photographs: list[Photograph]) -> list[np.ndarray]:
    """The ten, one of another picture, one too small, one blank."""
    foreign = _paint((320, 240), 9)
    small = np.ascontiguousarray(photographs[0].image[:64, :64])
    blank = np.full((240, 320, 3), 90, np.uint8)
    return [*(p.image for p in photographs), foreign, small, blank]


@pytest.fixture(scope="module")
def places(mixed: list[np.ndarray]) -> tuple[PhotoPlace, ...]:
    return place_photographs(mixed)


def test_photographs_find_their_places_to_a_fraction_of_a_pixel(
    photographs: list[Photograph], places: tuple[PhotoPlace, ...]
) -> None:
    own = places[: len(photographs)]
    assert [p.status for p in own] == ["placed"] * len(photographs)
    errors = np.concatenate(list(placement_errors(photographs, own, "homography").values()))
    assert np.median(errors) < 0.1
    assert np.percentile(errors, 95) < 0.5


def test_level_and_roll_are_those_of_the_cameras(
    photographs: list[Photograph], places: tuple[PhotoPlace, ...]
) -> None:
    # Up to what the whole leaves open, and a little tilt that ten photographs do not tell.
    levels = np.array([p.level for p in places[: len(photographs)]])
    true = np.array(
        [p.level + np.log2(min(p.image.shape[:2]) / SHOOTING.widest / 64) for p in photographs]
    )
    assert np.ptp(levels - true) < 0.1
    rolls = np.array([p.rotation_deg for p in places[: len(photographs)]])
    h = np.array([p.homography for p in photographs])
    true_rolls = np.rad2deg(np.arctan2(h[:, 1, 0], h[:, 0, 0]))
    assert np.ptp(rolls - true_rolls) < 5
    assert abs(rolls.mean()) < 1
    assert min(p.confidence for p in places[: len(photographs)]) > 0.8


def test_what_does_not_belong_is_listed_with_what_to_do(places: tuple[PhotoPlace, ...]) -> None:
    foreign, small, blank = places[-3:]
    assert {p.status for p in (foreign, small, blank)} == {"unplaced"}
    assert "matches no other photograph" in foreign.reason and "add one" in foreign.reason
    assert "64 x 64" in small.reason and "128 pixels or more" in small.reason
    assert "log2_zoom" not in small.reason  # one label makes patches of all others
    assert "blank or blurred" in blank.reason
    assert foreign.homography is None and foreign.level is None and foreign.center_xy is None


def test_a_second_picture_is_not_mixed_with_the_first(photographs: list[Photograph]) -> None:
    other = _paint((400, 300), 11)
    views = [np.ascontiguousarray(other[y : y + 240, x : x + 320]) for x, y in ((0, 0), (70, 50))]
    own = [p.image for p in photographs[:4]]
    found = place_photographs([views[0], *own, views[1]])
    assert [p.status for p in found] == ["unplaced", *["placed"] * 4, "unplaced"]
    for place in (found[0], found[-1]):
        assert "matches 1 other, but none of the rest; add a photograph" in place.reason


def test_the_field_is_the_rectangle_round_all_photographs(places: tuple[PhotoPlace, ...]) -> None:
    corners = []
    for place in places:
        if place.homography is not None and place.center_xy is not None:
            width, height = place.size_wh
            points = np.array([[0, 0], [width, 0], [width, height], [0, height]])
            h = np.array(place.homography).reshape(3, 3)
            corners.append(apply_homography(h, points))
            middle = apply_homography(h, np.array([width / 2, height / 2]))
            assert middle == pytest.approx(place.center_xy, abs=1e-9)
    low, high = np.concatenate(corners).min(0), np.concatenate(corners).max(0)
    assert (high - low).min() == pytest.approx(1)
    assert low + high == pytest.approx(np.zeros(2), abs=1e-9)


def test_progress_rises_to_one_and_cancels(mixed: list[np.ndarray]) -> None:
    heard: list[float] = []

    class Cancelled(Exception):
        pass

    def progress(fraction: float) -> None:
        heard.append(fraction)
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        place_photographs(mixed[:4], progress=progress)
    assert heard == sorted(heard) and 0 <= heard[0] < 0.5
    done: list[float] = []
    place_photographs(mixed[:2], progress=done.append)
    assert done == sorted(done) and done[-1] == 1


def test_no_photograph_and_one_photograph_are_answered(mixed: list[np.ndarray]) -> None:
    assert place_photographs([]) == ()
    (alone,) = place_photographs(mixed[:1])
    assert alone.status == "unplaced" and "add more" in alone.reason


def test_an_array_that_is_no_photograph_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\], got float64"):
        place_photographs([np.zeros((200, 200, 3))])
    with pytest.raises(ValueError, match="min_side"):
        PhotoConfig(min_side=8)


@dataclass(frozen=True)
class _File:
    name: str
    level: float | None = None
    scene: str = ""


class _Files:
    """A collection whose third file cannot be read and whose last one has a label."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images
        names = [_File(f"{i}.jpg") for i in range(len(images))]
        self.patches = [*names[:2], _File("broken.jpg"), *names[2:], _File("labelled.png", 2.0)]

    def image(self, index: int) -> np.ndarray:
        name = self.patches[index].name
        if name == "broken.jpg":
            raise ValueError("broken.jpg ends too early; copy it again.")
        return self.images[int(name.split(".")[0])]


def test_rows_of_a_collection_name_every_file_without_a_level(mixed: list[np.ndarray]) -> None:
    rows = place_unlabelled(_Files(mixed[:4]), PhotoConfig(patch_size=32))
    assert [r["file"] for r in rows] == ["0.jpg", "1.jpg", "broken.jpg", "2.jpg", "3.jpg"]
    assert all(tuple(r) == PHOTO_COLUMNS for r in rows)
    assert rows[2]["status"] == "unplaced" and "copy it again" in str(rows[2]["reason"])
    assert rows[2]["x"] == "" and rows[2]["h22"] == ""
    placed = [r for r in rows if r["status"] == "placed"]
    assert len(placed) >= 2 and all(r["h22"] == 1.0 for r in placed)


def test_a_folder_of_photographs_is_placed_by_the_command_and_trains(
    mixed: list[np.ndarray], tmp_path: Path
) -> None:
    """No label at all: a table, and patches with places for training."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(mixed):
        Image.fromarray(image).save(folder / f"{index}.png")
    assert run_cli(["place", str(folder), "--out", str(tmp_path / "places.csv")]) == 0
    lines = (tmp_path / "places.csv").read_text().splitlines()
    assert lines[0] == ",".join(PHOTO_COLUMNS) and len(lines) == len(mixed) + 1
    assert sum(",placed," in line for line in lines) >= 4
    collection = open_patches(folder)
    data = placed_data(collection, tmp_path / "run", 32, tmp_path / "cache", lambda *_: None)
    assert min(data.field_size) == 1.0 and float((data.detail > 0).mean()) > 0.3
    assert (tmp_path / "run" / "places.csv").exists()
    data.pyramid.close()


def test_the_table_of_photographs_may_lie_beside_them(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    for index, photograph in enumerate(photographs[:4]):
        Image.fromarray(photograph.image).save(tmp_path / f"{index}.png")
    table = tmp_path / "places.csv"
    assert run_cli(["place", str(tmp_path), "--out", str(table)]) == 0
    first = table.read_text()
    assert first.count(",placed,") >= 2
    with open_patches(tmp_path) as collection:
        assert [patch.level for patch in collection.patches] == [None] * 4
    assert run_cli(["place", str(tmp_path), "--out", str(table)]) == 0
    assert table.read_text() == first


def test_a_photograph_octaves_closer_is_found_from_either_side(picture: ImagePyramid) -> None:
    center, size = (0.12, -0.08), (640, 480)
    views = [_render(picture, size, center, zoom * 480 / 0.9) for zoom in (1, 6)]
    features = [find_features(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), 12_000) for i in views]
    for loose, placed in ((1, 0), (0, 1)):
        (pair,) = find_distant_pairs(features, [size] * 2, [loose], [placed], lambda x: None)
        assert (pair.fine, pair.coarse) == (1, 0)
        assert np.sqrt(np.linalg.det(pair.transform[:2, :2])) == pytest.approx(1 / 6, rel=0.05)


def _render(
    picture: ImagePyramid, size_wh: tuple[int, int], center: tuple[float, float], per_unit: float
) -> np.ndarray:
    level = level_of_density(per_unit, picture.patch_size)
    return picture.render_view(center, level, size_wh)


def test_matches_pass_the_ratio_test_and_the_cross_check() -> None:
    rng = np.random.default_rng(1)
    b = rng.normal(size=(40, 16))
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    a = b[[5, 9, 9, 20]] + np.array([0.01, 0.01, 0.05, 0.01])[:, None] * rng.normal(size=(4, 16))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    twice = np.vstack([b, b[20]])  # number 20 has a double: which of the two is meant is unknown
    index_a, index_b = match_descriptors(a.astype(np.float32), twice.astype(np.float32))
    assert index_a.tolist() == [0, 1] and index_b.tolist() == [5, 9]


def test_votes_keep_what_agrees_on_size_and_angle() -> None:
    rng = np.random.default_rng(2)
    octaves = np.r_[np.full(12, 1.3) + rng.normal(0, 0.05, 12), rng.uniform(-4, 4, 20)]
    turns = np.r_[np.full(12, 359.0) + rng.normal(0, 3, 12), rng.uniform(-360, 360, 20)]
    keep = agreeing(octaves, turns)
    assert keep[:12].all() and keep[12:].sum() <= 3


def _synthetic_pairs(count: int = 6) -> tuple[np.ndarray, list[Pair], np.ndarray]:
    """True homographies, exact matches between neighbours and over two, and a disturbed start."""
    rng = np.random.default_rng(4)
    h = np.array(
        [
            camera_homography((320, 240), (0.1 * i, 0.02 * i), 400 * 1.3**i, 8 * i, 3, 60 * i, 1.2)
            @ np.linalg.inv(normalising((320, 240)))
            for i in range(count)
        ]
    )
    h = np.linalg.inv(h[0]) @ h
    h /= h[:, 2:, 2:]
    pairs = []
    for coarse in range(count):
        for fine in range(coarse + 1, min(coarse + 3, count)):
            uv = rng.uniform(-0.7, 0.7, (60, 2))
            transform = np.linalg.solve(h[coarse], h[fine])
            to = apply_homography(transform, uv)
            to[:6] += rng.uniform(-0.5, 0.5, (6, 2))  # a tenth are wrong
            whiten = np.tile(np.eye(2) * 500, (60, 1, 1))
            pairs.append(Pair(fine, coarse, uv, to, whiten, transform))
    step = np.concatenate([rng.normal(0, 0.01, (count, 8)), np.zeros((count, 1))], 1)
    step[0] = 0
    return h, pairs, h @ (np.eye(3) + step.reshape(-1, 3, 3))


def test_the_bundle_finds_the_truth_past_wrong_matches() -> None:
    h, pairs, start = _synthetic_pairs()
    found = adjust(start, pairs, fixed=0)
    grid = np.array([[-1, -0.7], [1, -0.7], [1, 0.7], [-1, 0.7]])

    def worst(maps: np.ndarray) -> float:
        gaps = [apply_homography(a, grid) - apply_homography(b, grid) for a, b in zip(h, maps)]
        return float(np.abs(gaps).max())

    assert worst(found) < 1e-3 < 1e-2 < worst(start)
    assert np.array_equal(found[0], h[0])


def test_a_photograph_without_matches_stays_where_it_is() -> None:
    _, pairs, start = _synthetic_pairs()
    found = adjust(np.concatenate([start, [np.eye(3)]]), pairs, fixed=0)
    assert np.array_equal(found[-1], np.eye(3))


def test_the_tree_follows_the_strongest_pairs_of_the_largest_set() -> None:
    h, pairs, _ = _synthetic_pairs()
    weak = replace(pairs[-1], uv_fine=pairs[-1].uv_fine[:10], transform=np.diag([5.0, 5.0, 1.0]))
    apart = replace(pairs[0], fine=7, coarse=6)
    everything = [*pairs[:-1], weak, apart]
    assert connected_sets(9, everything) == [[0, 1, 2, 3, 4, 5], [6, 7], [8]]
    found, known = spanning_tree(9, everything)
    assert sorted(known) == [0, 1, 2, 3, 4, 5]
    # The weak pair's nonsense was not used: relations are those of the truth.
    relative = np.linalg.solve(found[0], found[5])
    true = np.linalg.solve(h[0], h[5])
    assert relative / relative[2, 2] == pytest.approx(true / true[2, 2], abs=1e-6)


def test_a_pair_that_contradicts_the_others_is_dropped(photographs: list[Photograph]) -> None:
    greys = [cv2.cvtColor(p.image, cv2.COLOR_RGB2GRAY) for p in photographs[:6]]
    sizes = [(g.shape[1], g.shape[0]) for g in greys]
    pairs = find_pairs([find_features(g, 4000) for g in greys], sizes, lambda x: None)
    some = pairs[0].uv_fine[:12] + 0.4, pairs[0].uv_coarse[:12], pairs[0].whiten[:12]
    wrong = replace(pairs[0], uv_fine=some[0], uv_coarse=some[1], whiten=some[2])
    mips = [make_mips(g) for g in greys]
    clean, dirty = (solve(p, mips, lambda x: None) for p in (pairs, [*pairs, wrong]))
    assert dirty.placed == clean.placed
    assert len(dirty.pairs) == len(clean.pairs)
    assert dirty.h == pytest.approx(clean.h, abs=1e-4)


def test_blocks_say_a_shift_to_a_few_hundredths_of_a_pixel_whatever_the_light() -> None:
    big = cv2.GaussianBlur(_paint((1300, 1100), 5), (0, 0), 2)[..., 1]
    coarse = cv2.resize(big[:1024, :1280], (640, 512), interpolation=cv2.INTER_AREA)
    shift = np.array([[1, 0, 0.6], [0, 1, -0.8], [0, 0, 1]])  # of big pixels
    moved = cv2.warpPerspective(big, shift, (1300, 1100), flags=cv2.INTER_CUBIC)
    fine = cv2.resize(moved[:1024, :1280], (640, 512), interpolation=cv2.INTER_AREA)
    ramp = np.linspace(0.6, 0.9, 640)
    dim = np.clip(fine * ramp + 12, 0, 255).astype(np.uint8)
    aligned = align(0, 1, [make_mips(dim), make_mips(coarse)], np.eye(3))
    assert aligned.pair is not None and aligned.agreeing > 0.9 * aligned.textured > 50
    gap = (aligned.pair.uv_fine - aligned.pair.uv_coarse) * 320
    assert np.median(gap, axis=0) == pytest.approx([0.3, -0.4], abs=0.03)
    other = make_mips(_paint((640, 512), 6)[..., 1])
    strange = align(0, 1, [other, make_mips(coarse)], np.eye(3))
    assert strange.agreeing < 0.1 * strange.textured


def test_cameras_tell_the_shape_of_the_whole() -> None:
    rng = np.random.default_rng(6)
    size = (640, 480)
    true = [
        camera_homography(
            size,
            tuple(rng.uniform(-0.3, 0.3, 2)),
            900 * 2 ** rng.uniform(0, 3),
            rng.uniform(-30, 30),
            rng.uniform(0, 5),
            rng.uniform(0, 360),
            1.2,
        )
        @ np.linalg.inv(normalising(size))
        for _ in range(30)
    ]
    oblique = np.array([[1.1, 0.15, 0.3], [-0.1, 0.9, -0.2], [0.12, -0.08, 1]])
    h = np.array([oblique @ t for t in true])
    to_field, (width, height), focal = choose_field(h, [size] * 30, range(30))
    assert min(width, height) == pytest.approx(1)
    assert focal == pytest.approx(1.2, rel=0.1)
    grid = np.array([[x, y] for x in (-1, 0, 1) for y in (-0.75, 0, 0.75)])
    put = np.concatenate([apply_homography(to_field @ a, grid) for a in h])
    real = np.concatenate([apply_homography(t, grid) for t in true])
    similar = fit_similarity(put, real, np.ones(len(put)))
    # Without the cameras, a similarity leaves a tenth of the field.
    assert np.abs(apply_homography(similar, put) - real).max() < 1e-3


@pytest.mark.parametrize(
    ("sides", "most"),
    [([0, 180], 0), ([0, 0, 90], 0), ([0, 180, 180], 180), ([90, 0, 270, 180, 0], 0)],
)
def test_photographs_from_several_sides_do_not_turn_the_field(sides: list[int], most: int) -> None:
    rng = np.random.default_rng(8)
    size = (640, 480)
    views = [
        camera_homography(
            size,
            tuple(rng.uniform(-0.3, 0.3, 2)),
            900 * 2 ** rng.uniform(0, 1),
            20 + side + rng.uniform(-2, 2),
            rng.uniform(0, 3),
            rng.uniform(0, 360),
            1.2,
        )
        @ np.linalg.inv(normalising(size))
        for side in sides
    ]
    to_field, _, _ = choose_field(np.array(views), [size] * len(views), range(len(views)))
    rolls = np.rad2deg([roll(to_field @ view) for view in views])
    off = (rolls - (np.array(sides) - most) + 180) % 360 - 180
    assert np.abs(off).max() < 5


def test_light_is_evened_where_photographs_overlap() -> None:
    scene = _paint((420, 320), 7).astype(np.float32) * 0.6 + 40
    size = np.array([320, 240])
    rng = np.random.default_rng(8)
    images, corners = [], []
    for _ in range(6):
        x, y = rng.integers(0, 100), rng.integers(0, 80)
        corners.append((int(x), int(y)))
        cut = to_linear(np.round(scene[y : y + 240, x : x + 320]).astype(np.uint8))
        at = np.stack(np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5), -1)
        r2 = (((at - size / 2) / 160) ** 2).sum(-1)
        gain = 2 ** rng.uniform(-0.5, 0.3) * np.exp(rng.normal(0, 0.05, 3))
        images.append(np.round(to_srgb(cut * (1 - 0.25 * r2)[..., None] * gain)).astype(np.uint8))
    to_uv = normalising((320, 240))
    pairs = []
    for a in range(6):
        for b in range(a + 1, 6):
            move = np.eye(3)
            move[:2, 2] = np.array(corners[a]) - corners[b]
            pairs.append((a, b, to_uv @ move @ np.linalg.inv(to_uv)))
    lights = even_light(pairs, [light_mips(i) for i in images])

    def unevenness(values: list[np.ndarray]) -> float:
        logs = []
        for (x, y), image in zip(corners, values):
            truth = to_linear(np.round(scene[y : y + 240, x : x + 320]).astype(np.uint8))
            ratio = to_linear(np.clip(np.round(image), 0, 255).astype(np.uint8)) / truth
            logs.append(np.log(cv2.resize(ratio, (8, 6), interpolation=cv2.INTER_AREA)))
        return float(np.std(np.array(logs)))

    after = unevenness([evened(i, lights[n]) for n, i in enumerate(images)])
    assert after < 0.3 * unevenness(images)
    assert evened(images[0], None) == pytest.approx(images[0])


def test_patches_are_upright_and_show_their_place(picture: ImagePyramid) -> None:
    size, density = (320, 240), 500.0
    h = camera_homography(size, (0.05, -0.02), density, 25, 4, 70, 1.2)
    level = level_of_density(density, 64)
    photo = _seen_through(picture, h, size)
    place = PhotoPlace(0, size, "placed", "", level, (0.05, -0.02), 25.0, tuple(h.ravel().tolist()))
    patches = cut_rectified(photo, place, 32, levels=(level_of_density(density, 32) - 1,))
    assert len(patches) >= 6
    for patch in patches:
        assert patch.image.shape == (32, 32, 3)
        x, y = patch.center_xy
        half = 0.5 / 2**patch.level
        window = Window((x - half, y - half), patch.level - 1, 32, 32)  # of 64-pixel patches
        true = (picture.render([window])[0].permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(patch.image - true).mean() < 6
        assert np.corrcoef(patch.image.ravel(), true.ravel())[0, 1] > 0.97


def _seen_through(picture: ImagePyramid, h: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    whole = _render(picture, (1600, 1280), (0, 0), 1280)
    to_whole = np.array([[1280, 0, 800], [0, 1280, 640], [0, 0, 1.0]])
    twice = np.diag([0.5, 0.5, 1])
    index_map = np.linalg.inv(HALF) @ to_whole @ h @ twice @ HALF
    big = cv2.warpPerspective(
        whole,
        index_map,
        (2 * size_wh[0], 2 * size_wh[1]),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
    )
    return cv2.resize(big, size_wh, interpolation=cv2.INTER_AREA)


def test_only_what_a_photograph_shows_is_cut(photographs: list[Photograph]) -> None:
    image = photographs[0].image
    size = image.shape[1], image.shape[0]
    unplaced = PhotoPlace(4, size, "unplaced", "blank")
    with pytest.raises(ValueError, match="number 4 is not placed"):
        cut_rectified(image, unplaced, 32)
    h = (1 / 500, 0.0, -0.3, 0.0, 1 / 500, -0.2, 0.0, 0.0, 1.0)
    place = PhotoPlace(0, size, "placed", "", 3.0, (0.0, 0.0), 0.0, h)
    with pytest.raises(ValueError, match=r"nothing finer than level 3\.00, got 4\.00"):
        cut_rectified(image, place, 32, levels=(4.0,))
    with pytest.raises(ValueError, match="give the same photograph"):
        cut_rectified(image[:100], place, 32)
    assert cut_rectified(image, place, 32, levels=(-3.0,)) == ()


def test_residuals_are_in_standard_deviations() -> None:
    _, pairs, _ = _synthetic_pairs()
    pair = replace(pairs[0], uv_coarse=pairs[0].uv_fine + (0.002, 0))
    assert residuals(np.tile(np.eye(3), (6, 1, 1)), pair) == pytest.approx(
        np.tile([-1.0, 0.0], (60, 1)), abs=1e-9
    )


def test_the_error_is_what_is_left_after_one_map_of_the_whole() -> None:
    rng = np.random.default_rng(12)
    points = rng.uniform(-1, 1, (200, 2))
    oblique = np.array([[1.1, 0.15, 0.3], [-0.1, 0.9, -0.2], [0.12, -0.08, 1]])
    to = apply_homography(oblique, points)
    to[:10] += 0.5  # one photograph put in a wrong place moves nothing else
    found = fit_homography(points, to, rng.uniform(0.5, 2, 200))
    assert found / found[2, 2] == pytest.approx(oblique, abs=1e-3)
    shift = PhotoPlace(0, (320, 240), "placed", homography=(0.01, 0, 1, 0, 0.01, 1, 0, 0, 1))
    truth = [Photograph(np.zeros((240, 320, 3), np.uint8), np.diag([0.02, 0.02, 1.0]), 0.0)]
    errors = placement_errors(truth, [shift], "similarity")
    assert errors[0].max() < 1e-6


def test_the_benchmark_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--image", str(tmp_path / "none.png"), "--cache", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("photographs: ") and said.count("\n") == 1
