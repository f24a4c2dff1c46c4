"""The parts of placement, each against what is known exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from model.placement.adjust import adjusted
from model.placement.canvas import Canvas, Patches, Poses, build_canvases, halved
from model.placement.correlate import Index, masked_peaks
from model.placement.links import measure, overlapping
from model.placement.refine import fit_to_canvas
from model.placement.search import _distinct
from model.placement.workers import Workers
from tests.model.placement.conftest import SIDE, Cut


class Stopped(Exception):
    """What a person's Cancel raises."""


def nothing() -> None:
    """Nobody cancels."""


def poses_of(cut: Cut, rows: np.ndarray | None = None) -> Poses:
    index = np.arange(len(cut.levels)) if rows is None else rows
    return Poses(
        torch.from_numpy(index),
        torch.from_numpy(cut.center_xy[index]),
        torch.from_numpy(cut.levels[index]),
    )


def canvas_of(image: np.ndarray) -> Canvas:
    """A canvas of level 0, covered whole."""
    height, width = image.shape[:2]
    covered = torch.ones(height, width, dtype=torch.bool)
    return Canvas(0, 32.0, (-width // 2, -height // 2), torch.from_numpy(image), covered)


@pytest.fixture
def own(cut: Callable[..., Cut]) -> Cut:
    return cut()


@pytest.fixture
def canvases(own: Cut) -> dict[int, Canvas]:
    with Workers(nothing) as workers:
        patches = Patches(own.images, torch.device("cpu"))
        return build_canvases(patches, poses_of(own), [0, 1, 2], workers)


def test_canvases_show_the_picture(own: Cut, canvases: dict[int, Canvas]) -> None:
    for level, canvas in canvases.items():
        factor = 400 / (SIDE * 2**level)
        width, height = canvas.size_wh
        middle = canvas.image[height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8]
        x0 = (canvas.first_xy[0] + width // 2 - 8) * factor + 240
        y0 = (canvas.first_xy[1] + height // 2 - 8) * factor + 200
        size = 16 * factor
        part = own.picture[round(y0) : round(y0 + size), round(x0) : round(x0 + size)]
        assert np.abs(part.mean((0, 1)) - middle.float().mean((0, 1)).numpy()).max() < 4
        assert canvas.covered[height // 2 - 8 : height // 2 + 8, 4:-4].all()


def test_halving_keeps_places(canvases: dict[int, Canvas]) -> None:
    fine, coarse = canvases[1], halved(canvases[1])
    assert coarse.level == 0
    place = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    assert torch.allclose(
        fine.pixel_of(place) / 2,
        coarse.pixel_of(place)
        + torch.tensor(
            [[coarse.first_xy[i] - fine.first_xy[i] / 2 for i in (0, 1)]], dtype=torch.float64
        ),
    )
    x, y = (int(v) for v in coarse.pixel_of(place)[0])
    fx, fy = ((np.array((x, y)) + coarse.first_xy) * 2 - fine.first_xy).tolist()
    mean = fine.image[fy : fy + 2, fx : fx + 2].float().mean((0, 1))
    assert torch.allclose(coarse.image[y, x].float(), mean, atol=0.51)


def test_windows_beyond_the_canvas_are_not_covered() -> None:
    canvas = canvas_of(np.full((10, 12, 3), 7, np.uint8))
    colours, covered = canvas.windows(torch.tensor([[-2, -3], [9, 8]]), 5)
    assert covered[0, 0, :3].sum() == 0
    assert covered[0, 0, 3:, 2:].min() == 1
    assert covered[1, 0].sum() == 3 * 2
    assert (colours == 7).all()


def test_a_template_is_found_beyond_the_edge_of_a_canvas() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    canvas = canvas_of(image[:, :36])
    template = torch.from_numpy(image[10:26, 28:44]).float().mean(-1)[None]
    peaks = masked_peaks(canvas, template, torch.ones(1, 16, 16), 4, 0.35)
    assert torch.allclose(peaks.center_xy[0, 0], torch.tensor([36.0, 18.0]).double(), atol=0.3)
    assert peaks.score[0, 0] > 0.95
    assert peaks.score[0, 1] < 0.7


def test_the_index_finds_every_window(canvases: dict[int, Canvas]) -> None:
    canvas = canvases[2]
    first = torch.tensor([[30, 20], [90, 70], [61, 45]])
    windows, covered = canvas.windows(first, 8)
    assert covered.min() == 1
    with Workers(nothing) as workers:
        index = Index(canvas, 8, torch.float32, workers)
    peaks = index.peaks(windows * 0.7 + 20, 5)
    assert torch.equal(peaks.center_xy[:, 0], first + 4.0)
    assert (peaks.score[:, 0] > 0.999).all()
    assert (peaks.score[:, 1:] < 0.999).all()


def test_a_fit_finds_a_fraction_of_a_pixel_and_of_an_octave(
    own: Cut, canvases: dict[int, Canvas]
) -> None:
    rows = np.flatnonzero(own.levels > 2.4)[:40]
    truth = poses_of(own, rows)
    rng = np.random.default_rng(2)
    off = torch.from_numpy(rng.uniform(-1, 1, (len(rows), 2)) / canvases[2].density)
    level = truth.level + torch.from_numpy(rng.uniform(-0.1, 0.1, len(rows)))
    start = Poses(truth.indices, truth.center_xy + off, level)
    patches = Patches(own.images, torch.device("cpu"))
    fit = fit_to_canvas(canvases[2], patches, start, 0.2, 5)
    error = (fit.center_xy - truth.center_xy).norm(dim=1) * canvases[2].density
    assert error.median() < 0.1
    assert (fit.level - truth.level).abs().median() < 0.02
    assert fit.detail.median() > 0.8
    far = Poses(truth.indices, -truth.center_xy, truth.level)
    assert fit_to_canvas(canvases[2], patches, far, 0.2, 5).detail.median() < 0.4


def test_many_candidates_at_one_place_are_one() -> None:
    rng = np.random.default_rng(0)
    level = torch.full((20,), 2.0, dtype=torch.float64)
    center = torch.zeros(20, 2, dtype=torch.float64)
    center[:12] = torch.from_numpy(rng.uniform(-0.02, 0.02, (12, 2)))  # spans are 0.25
    center[12:16, 0] = torch.tensor([0.06, 0.12, -0.3, 0.3], dtype=torch.float64)
    rows = torch.tensor([0] * 16 + [1] * 4)  # those of another row are no reason
    score = torch.linspace(2.0, 1.0, 20)
    poses = Poses(torch.zeros(20, dtype=torch.int64), center, level)
    shuffled = torch.from_numpy(rng.permutation(20))
    kept = _distinct(rows[shuffled], poses[shuffled], score[shuffled])
    assert shuffled[kept].tolist() == [0, *range(12, 16), 16]


def test_adjusting_takes_out_what_overlaps_contradict(own: Cut) -> None:
    truth = poses_of(own)
    rng = np.random.default_rng(4)
    pixel = 2.0 ** -truth.level[:, None] / SIDE
    off = torch.from_numpy(rng.normal(0, 0.3, (len(truth), 2))) * pixel
    level = truth.level + torch.from_numpy(rng.normal(0, 0.005, len(truth)))
    poses = Poses(truth.indices, truth.center_xy + off, level)
    patches = Patches(own.images, torch.device("cpu"))
    fixed = truth.level < 0.5
    poses.center_xy[fixed] = truth.center_xy[fixed]
    poses.level[fixed] = truth.level[fixed]
    with Workers(nothing) as workers:
        a, b = overlapping(poses, SIDE)
        links = measure(patches, poses, a, b, workers)
        after = adjusted(poses, links, SIDE, fixed, workers)
    assert torch.equal(after.center_xy[fixed], truth.center_xy[fixed])
    moved = ~fixed
    before_px = ((poses.center_xy - truth.center_xy) / pixel)[moved].norm(dim=1).median()
    after_px = ((after.center_xy - truth.center_xy) / pixel)[moved].norm(dim=1).median()
    assert before_px > 0.25
    assert after_px < 0.05


def test_pairs_overlap_and_come_once(own: Cut) -> None:
    poses = poses_of(own)
    a, b = overlapping(poses, SIDE)
    assert len(a) > 4 * len(poses)
    assert (poses.level[a] <= poses.level[b]).all()
    span = 2.0**-poses.level
    apart = (poses.center_xy[a] - poses.center_xy[b]).abs().amax(1)
    assert (apart < (span[a] + span[b]) / 2).all()
    assert len({(i, j) for i, j in zip(a.tolist(), b.tolist())}) == len(a)
    assert (a != b).all()


def test_workers_keep_order_and_cancel() -> None:
    threads = torch.get_num_threads()
    with Workers(nothing) as workers:
        assert list(workers.map(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Stopped

    with pytest.raises(Stopped), Workers(stop) as workers:
        list(workers.map(lambda x: x, range(50)))
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match="entered"):
        list(Workers(nothing).map(lambda x: x, range(2)))
