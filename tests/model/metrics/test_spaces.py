"""Measures of a scale space against itself and its scene, on pictures with a known fault."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.metrics import consistency
from model.metrics.consistency import consistency_windows, pan_error, seam_error
from model.metrics.fidelity import psnr_of_mse
from model.metrics.layout import best_shift, measure_layout
from model.metrics.windows import (
    CollectionWindows,
    SceneWindows,
    random_windows,
    render_all,
    windows_like,
)
from model.scale import density


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def consistency_db(space, octaves: float, free: bool = False) -> float:
    views = consistency_windows(space, 3.0, octaves, 12, rng(), free)
    return psnr_of_mse(float(consistency.scale_consistency(space, *views).mean()))


def test_windows_lie_inside_the_field_everywhere_in_it(scene) -> None:
    for level in (0.0, 2.5):
        windows = random_windows(scene, level, 400, rng())
        extent = 2.0**-level
        for axis in range(2):
            at = np.array([w.origin_xy[axis] for w in windows])
            free = scene.field_size[axis] - extent
            assert at.min() >= -scene.field_size[axis] / 2 - 1e-9
            assert at.max() <= scene.field_size[axis] / 2 - extent + 1e-9
            if free > 0.1:
                shares = np.histogram(at, 4, (-(free + extent) / 2, (free - extent) / 2))[0]
                assert shares.min() > 60  # of 100 each; groups of 16 share a position modulo 16


def test_windows_come_in_groups_that_a_generator_renders_together(scene) -> None:
    windows = random_windows(scene, 3.0, 64, rng())
    d = density(3.0, scene.patch_size)
    residues = {round(w.origin_xy[0] * d * 256) % (16 * 256) for w in windows}
    assert len(residues) <= 4


def test_windows_are_not_the_same_few_where_there_is_little_room(scene) -> None:
    """At level 0 a group that agrees modulo 16 pixels would be one window 16 times over."""
    windows = random_windows(scene, 0.0, 256, rng())
    assert scene.field_size == (1.25, 1.0)
    assert len({w.origin_xy for w in windows}) > 200


def test_render_all_keeps_the_order_of_windows(scene) -> None:
    windows = windows_like(scene, [1.0, 2.01, 1.0, 3.0, 2.0], rng())
    assert [w.level for w in windows] == [1.0, 2.0, 1.0, 3.0, 2.0]
    img = render_all(scene, windows)
    for image, window in zip(img, windows, strict=True):
        assert torch.equal(image, scene.render([window])[0].clamp(-1, 1))


def test_a_pyramid_agrees_with_itself_and_shifted_levels_do_not(scene, changed) -> None:
    assert consistency_db(scene, 1.0) > 55
    assert 25 < consistency_db(scene, 1.0, free=True) < 50
    assert consistency_db(scene, 0.5, free=True) > 25
    sliding = changed(scene, shift=lambda w: (0.05 * w.level, 0.0))
    assert consistency_db(sliding, 1.0) < 20
    wrong = changed(scene, lambda img, w: img + 0.1 * (w.level == 3.0))
    assert consistency_db(wrong, 1.0) == pytest.approx(psnr_of_mse(0.01), abs=0.1)


def test_flicker_is_the_known_change_between_frames(changed, scene) -> None:
    centers = [(0.0, 0.0), (0.1, -0.1)]
    own = consistency.zoom_flicker(scene, (2.0, 2.25), centers, 32)
    assert own.shape == (8, 2)
    assert float(own.max()) < 0.01
    blinking = changed(scene, lambda img, w: img * 0 + 0.1 * (round(w.level * 32) % 2))
    values = consistency.zoom_flicker(blinking, (2.0, 2.25), centers, 32)
    assert torch.allclose(values, torch.full((8, 2), 0.01, dtype=torch.float64), atol=1e-6)
    frozen = changed(scene, lambda img, w: img * 0 + 0.3)
    assert float(consistency.zoom_flicker(frozen, (2.0, 2.25), centers, 32).max()) < 1e-12


def test_pan_of_a_pyramid_is_exact_and_screen_fixed_texture_is_found(scene, changed) -> None:
    windows = random_windows(scene, 2.0, 6, rng(), inset=0.05)
    own = pan_error(scene, windows, rng())
    assert own.whole_max_abs < 1e-5
    stuck = torch.randn(1, 3, 32, 32) * 0.1
    error = pan_error(changed(scene, lambda img, w: img + stuck), windows, rng())
    assert error.whole_max_abs > 0.1
    assert float(error.part_mse.mean()) > float(own.part_mse.mean()) + 0.01


def test_tiles_of_a_pyramid_meet_and_those_of_a_zero_padded_control_do_not(scene, changed) -> None:
    assert seam_error(scene, 2.3, 3, seed=1) < 1e-5
    padded = changed(scene, lambda img, w: F.avg_pool2d(img, 3, 1, 1))
    assert seam_error(padded, 2.3, 3, seed=1) > 0.05
    holes = changed(scene, lambda img, w: img if w.width > 64 else img * float("nan"))
    error = seam_error(holes, 2.3, 1, seed=1)
    assert error != error


def test_layout_of_a_shifted_copy_is_found_and_is_one(scene, changed) -> None:
    shift = (9 / 128, -5 / 128)
    copy = changed(scene, shift=lambda w: shift)
    found = best_shift(copy, scene)
    assert found == pytest.approx(shift, abs=1e-9)
    for level in (0.0, 2.0):
        layout = measure_layout(copy, scene, level, found, 24, rng())
        assert layout.correlation()[0] == pytest.approx(1, abs=1e-3)
        unshifted = measure_layout(copy, scene, level, (0.0, 0.0), 24, rng())
        assert unshifted.correlation()[0] < 0.9


def test_layout_sees_no_brightness_and_no_brushwork(scene, changed) -> None:
    darker = changed(scene, lambda img, w: 0.5 * img - 0.2 + 0.05 * torch.randn(img.shape))
    layout = measure_layout(darker, scene, 1.0, (0.0, 0.0), 16, rng())
    assert layout.correlation()[0] > 0.98


def test_layout_of_another_picture_is_about_nothing(scene, other_scene) -> None:
    layout = measure_layout(other_scene, scene, 2.0, best_shift(other_scene, scene), 64, rng())
    assert abs(layout.correlation()[0]) < 0.4
    layout = measure_layout(other_scene, scene, 3.0, (0.0, 0.0), 64, rng())
    assert abs(layout.correlation()[0]) < 0.25


def test_resampled_correlation_is_that_of_the_windows_drawn(scene, other_scene) -> None:
    layout = measure_layout(other_scene, scene, 2.0, (0.0, 0.0), 6, rng())
    counts = np.array([[1.0, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0]])
    both = layout.correlation(counts)
    assert both[0] == pytest.approx(layout.correlation()[0])
    repeated = type(layout)(layout.sums[[0, 0, 2, 3, 3, 3]])
    assert both[1] == pytest.approx(repeated.correlation()[0])


def test_a_draw_of_a_scene_is_what_lies_at_its_windows(scene) -> None:
    draw = SceneWindows(scene).draw(2.0, 20, rng())
    assert draw.windows is not None and len(draw) == 20
    assert torch.equal(draw.img[3], scene.render([draw.windows[3]])[0].clamp(-1, 1))


class FakeCollection:
    """Patches whose pixels are their index."""

    def __init__(self, levels: list[float | None]) -> None:
        self.patches = [type("Patch", (), {"level": level})() for level in levels]

    def images(self, indices, patch_size: int) -> np.ndarray:
        values = np.asarray(indices, np.uint8).reshape(-1, 1, 1, 1)
        return np.broadcast_to(values, (len(values), patch_size, patch_size, 3)).copy()


def test_a_draw_of_a_collection_holds_patches_of_the_octave_once_each() -> None:
    levels = [None, *(0.25 * i for i in range(16))]
    draw = CollectionWindows(FakeCollection(levels), 8).draw(2.0, 100, rng())
    assert sorted(draw.levels) == [1.5, 1.75, 2.0, 2.25, 2.5]
    shown = ((draw.img[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert [levels[i] for i in shown] == list(draw.levels)
    assert draw.windows is None


def test_a_collection_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="add labels"):
        CollectionWindows(FakeCollection([None]), 8)
