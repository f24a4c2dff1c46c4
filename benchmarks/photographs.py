"""Photographs of one picture, made without labels, and how well they find their places.

    python -m benchmarks.photographs --image IMAGE [--crop X0 Y0 X1 Y1] [--count 60] [--json F]

Each photograph is what a pinhole camera sees that looks at a random point of the picture: a random
level (as many at each, over four octaves), rolled by up to 30 degrees, tilted by up to 5, of random
size; drawn again until 0.7 of it lies on the picture, the rest on a plain wall. The widest sees as
far as the picture's shorter side: those of the first octave cover it all, so that every other has
something to be found in. Then gain (exposure, white balance), vignette, noise and JPEG.

The error is the distance, in a photograph's own pixels, between a grid of its points and where they
were put in the picture, after one map of all photographs together: the similarity that the choice
of a field leaves open; and, beside it, the homography that matches alone leave open (a picture seen
obliquely as a whole looks the same from all its photographs; only what is known of cameras tells).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.options import add_picture, crop_of
from benchmarks.tables import facts, table, write_json

if TYPE_CHECKING:
    from model.placement.photographs import PhotoPlace
    from model.pyramid import ImagePyramid

SIZES_WH = ((640, 480), (800, 600), (960, 720), (1024, 768))
SUPERSAMPLING = 2
"""Pixels rendered per photograph pixel, along each axis."""
JPEG_QUALITY = 85
WALL = 0.7
"""Grey around the picture, in [0, 1]."""
GRID = 9
"""Points a side of a photograph at which the error is taken."""


@dataclass(frozen=True)
class Shooting:
    """What the photographs may look like."""

    octaves: float = 4.0
    """Range of levels: the closest photograph sees 2**octaves less than the widest."""
    widest: float = 1.0
    """Shorter side of the widest photograph, field units."""
    rotation_deg: float = 30.0
    """Largest roll, either way."""
    tilt_deg: float = 5.0
    """Largest angle between the optical axis and the picture's normal."""
    focal: float = 1.2
    """Focal length over the longer side of the photograph: about 45 degrees across."""
    on_picture: float = 0.7
    """Part of a photograph that must lie on the picture; beyond is a grey wall."""
    sizes_wh: tuple[tuple[int, int], ...] = SIZES_WH


@dataclass(frozen=True)
class Photograph:
    """A photograph and what is true about it."""

    image: np.ndarray
    """uint8 [H, W, 3]."""
    homography: np.ndarray
    """Photo pixel (centres at half-integers) to field units of the picture, float64 [3, 3]."""
    level: float
    """Octaves above the widest."""


def camera_homography(
    size_wh: tuple[int, int],
    center_xy: tuple[float, float],
    pixels_per_unit: float,
    roll_deg: float,
    tilt_deg: float,
    tilt_towards_deg: float,
    focal: float,
) -> np.ndarray:
    """Photo pixel to picture, float64 [3, 3], of a camera whose axis meets it at `center_xy`."""
    width, height = size_wh
    focal_px = focal * max(size_wh)
    axis = np.deg2rad(tilt_towards_deg)
    tilt = cv2.Rodrigues(np.deg2rad(tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0.0]))[0]
    roll = cv2.Rodrigues(np.deg2rad(roll_deg) * np.array([0.0, 0.0, 1.0]))[0]
    rays = (tilt @ roll) @ np.array(
        [[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, focal_px]], float
    )
    distance = focal_px / pixels_per_unit
    normal = tilt[:, 2]
    onto_plane = np.array(
        [
            [distance * normal[2], 0, -distance * normal[0]],
            [0, distance * normal[2], -distance * normal[1]],
            [0, 0, 1],
        ]
    )
    shift = np.array([[1, 0, center_xy[0]], [0, 1, center_xy[1]], [0, 0, 1]])
    h = shift @ onto_plane @ rays
    return h / h[2, 2]


def apply_homography(h: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] through `h`."""
    moved = points @ h[:, :2].T + h[:, 2]
    return moved[..., :2] / moved[..., 2:]


def grid_points(size_wh: tuple[int, int]) -> np.ndarray:
    """`GRID` x `GRID` points of a photograph, borders included, pixels. float64 [GRID**2, 2]."""
    x, y = np.meshgrid(*(np.linspace(0, side, GRID) for side in size_wh))
    return np.column_stack([x.ravel(), y.ravel()])


def shoot(
    picture: ImagePyramid, count: int, seed: int, shooting: Shooting | None = None
) -> list[Photograph]:
    """`count` photographs of `picture`, in random order of levels."""
    shooting = shooting or Shooting()
    rng = np.random.default_rng(seed)
    levels = (rng.permutation(count) + rng.random(count)) / count * shooting.octaves
    return [_photograph(picture, float(level), shooting, rng) for level in levels]


def _photograph(
    picture: ImagePyramid, level: float, shooting: Shooting, rng: np.random.Generator
) -> Photograph:
    field = np.array(picture.field_size)
    for _ in range(10_000):
        width, height = shooting.sizes_wh[rng.integers(len(shooting.sizes_wh))]
        density = min(width, height) * 2**level / shooting.widest
        h = camera_homography(
            (width, height),
            tuple(rng.uniform(-field / 2, field / 2)),
            density,
            rng.uniform(-1, 1) * shooting.rotation_deg,
            rng.random() * shooting.tilt_deg,
            rng.random() * 360,
            shooting.focal,
        )
        seen = apply_homography(h, grid_points((width, height)))
        if (np.abs(seen) < field / 2).all(-1).mean() >= shooting.on_picture:
            break
    else:
        raise ValueError(f"no photograph at level {level:.2f} fits the picture; lower `widest`.")
    corners = apply_homography(h, np.array([[0, 0], [width, 0], [width, height], [0, height]]))
    image = _exposed(_seen(picture, h, (width, height), corners, density), rng)
    return Photograph(image, h, level)


def _seen(
    picture: ImagePyramid,
    h: np.ndarray,
    size_wh: tuple[int, int],
    corners: np.ndarray,
    pixels_per_unit: float,
) -> np.ndarray:
    """The picture through `h`: float32 [H, W, 3] in [0, 1]; rendered finer, then averaged."""
    from model.scale import Lattice, level_of_density
    from model.space import Window

    fine = SUPERSAMPLING * pixels_per_unit * 1.05
    margin = 4 / fine
    origin = corners.min(0) - margin
    extent = np.ceil((np.ptp(corners, 0) + 2 * margin) * fine).astype(int)
    level = level_of_density(fine, picture.patch_size)
    window = Window((float(origin[0]), float(origin[1])), level, int(extent[1]), int(extent[0]))
    image = picture.render([window])[0].permute(1, 2, 0).numpy()
    rendered = np.ascontiguousarray(image / 2 + 0.5)
    # The window's pixels snap to a lattice: where its first pixel's edge really lies.
    edges = [(lat.first + lat.phase) / fine for lat in (Lattice.at(float(o), fine) for o in origin)]
    to_window = np.array([[fine, 0, -fine * edges[0]], [0, fine, -fine * edges[1]], [0, 0, 1]])
    # cv2 counts from pixel centres; everything here from pixel edges.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    shrink = np.diag([1 / SUPERSAMPLING, 1 / SUPERSAMPLING, 1])
    _paint_wall(rendered, edges, fine, picture.field_size)
    index_map = np.linalg.inv(half) @ to_window @ h @ shrink @ half
    big = cv2.warpPerspective(
        rendered,
        index_map,
        (size_wh[0] * SUPERSAMPLING, size_wh[1] * SUPERSAMPLING),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cv2.resize(big, size_wh, interpolation=cv2.INTER_AREA)


def _paint_wall(
    rendered: np.ndarray,
    edges_xy: Sequence[float],
    pixels_per_unit: float,
    field_size: tuple[float, float],
) -> None:
    """Make what lies beyond the picture grey."""
    for axis, (edge, length) in enumerate(zip(edges_xy, field_size, strict=True)):
        at = edge + (np.arange(rendered.shape[1 - axis]) + 0.5) / pixels_per_unit
        outside = np.abs(at) > length / 2
        if axis == 0:
            rendered[:, outside] = WALL
        else:
            rendered[outside] = WALL


def _exposed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain, white balance, vignette (in linear light), noise and JPEG: uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    linear = np.clip(image, 0, 1) ** 2.2
    x = (np.arange(width) + 0.5 - width / 2) / (math.hypot(width, height) / 2)
    y = (np.arange(height) + 0.5 - height / 2) / (math.hypot(width, height) / 2)
    r2 = y[:, None] ** 2 + x[None] ** 2
    vignette = 1 - rng.uniform(0.1, 0.45) * r2 - rng.uniform(0, 0.1) * r2**2
    gain = 2 ** rng.uniform(-0.5, 0.3) * np.exp(rng.normal(0, 0.05, 3))
    seen = np.clip(linear * gain * vignette[..., None], 0, 1) ** (1 / 2.2)
    noisy = seen * 255 + rng.normal(0, rng.uniform(1, 4), image.shape)
    plain = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", plain[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1])


def fit_homography(points: np.ndarray, to: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The homography that takes `points` [M, 2] `to` [M, 2]; Gauss-Newton from a similarity.

    Residuals count `weights` [M] times, those beyond twice their median little.
    """
    h = fit_similarity(points, to, weights)
    size = np.abs(points).max()
    units = np.diag([size, size, 1.0])
    for _ in range(30):
        u = np.column_stack([points / size, np.ones(len(points))])
        w = u @ (h @ units).T
        q = w / w[:, 2:]
        rest = (to - q[:, :2]) * weights[:, None]
        jacobian = np.zeros((len(u), 2, 3, 3))
        inverse = (weights / w[:, 2])[:, None]
        jacobian[:, 0, 0] = jacobian[:, 1, 1] = u * inverse
        jacobian[:, :, 2] = -q[:, :2, None] * (u * inverse)[:, None]
        robust = _robust(rest)
        rows = (jacobian.reshape(len(u), 2, 9)[..., :8] * robust[:, None, None]).reshape(-1, 8)
        step = np.linalg.lstsq(rows, (rest * robust[:, None]).ravel(), rcond=None)[0]
        h = (h @ units + np.append(step, 0).reshape(3, 3)) @ np.linalg.inv(units)
    return h


def fit_similarity(points: np.ndarray, to: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `fit_homography`, with one scale, one angle and one shift."""
    x, y = points.T
    one, zero = np.ones(len(x)), np.zeros(len(x))
    rows = np.stack([np.stack([x, -y, one, zero], -1), np.stack([y, x, zero, one], -1)], 1)
    robust = np.ones(len(x))
    for _ in range(30):
        each = (weights * robust)[:, None]
        a, b, tx, ty = np.linalg.lstsq(
            (rows * each[..., None]).reshape(-1, 4), (to * each).ravel(), rcond=None
        )[0]
        h = np.array([[a, -b, tx], [b, a, ty], [0, 0, 1]])
        robust = _robust((to - apply_homography(h, points)) * weights[:, None])
    return h


def _robust(rest: np.ndarray) -> np.ndarray:
    lengths = np.hypot(*rest.T)
    return 1 / np.sqrt(1 + (lengths / max(2 * float(np.median(lengths)), 1e-12)) ** 2)


def placement_errors(
    photographs: Sequence[Photograph], places: Sequence[PhotoPlace], gauge: str
) -> dict[int, np.ndarray]:
    """Errors of each placed photograph at its grid, in its own pixels; [GRID**2] by index.

    Args:
        gauge: 'similarity' or 'homography': what all photographs together are moved by first.
    """
    put, true, weights = [], [], []
    placed = [p for p in places if p.homography is not None]
    for place in placed:
        points = grid_points(place.size_wh)
        put.append(apply_homography(np.array(place.homography).reshape(3, 3), points))
        true.append(apply_homography(photographs[place.index].homography, points))
        span = np.hypot(*(true[-1][-1] - true[-1][0]))
        weights.append(np.full(len(points), np.hypot(*place.size_wh) / span))
    fit = {"similarity": fit_similarity, "homography": fit_homography}[gauge]
    whole = fit(np.concatenate(put), np.concatenate(true), np.concatenate(weights))
    errors = {}
    for place, at in zip(placed, put, strict=True):
        back = np.linalg.inv(photographs[place.index].homography) @ whole
        errors[place.index] = np.hypot(*(apply_homography(back, at) - grid_points(place.size_wh)).T)
    return errors


def light_spread(
    photographs: Sequence[Photograph], places: Sequence[PhotoPlace], picture: ImagePyramid
) -> tuple[float, float]:
    """How uneven the photographs' light is, before and after it is evened.

    The standard deviation, over cells of 1/8 of the photographs' sides, of the logarithm of their
    mean linear light over the picture's own there.
    """
    from model.placement.photo_light import evened, to_linear

    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    for place in places:
        if place.homography is None:
            continue
        photo = photographs[place.index]
        scene = _seen_small(picture, photo)
        for image, logs in ((photo.image, before), (evened(photo.image, place.light), after)):
            rounded = np.clip(np.round(image), 0, 255).astype(np.uint8)
            cells = cv2.resize(to_linear(rounded), (8, 8), interpolation=cv2.INTER_AREA)
            logs.append(np.log(np.maximum(cells, 1e-4) / np.maximum(scene, 1e-4)))
    return float(np.std(np.array(before))), float(np.std(np.array(after)))


def _seen_small(picture: ImagePyramid, photo: Photograph) -> np.ndarray:
    """Mean linear light of the true view in 8 x 8 cells, float32 [8, 8, 3]."""
    from model.placement.photo_light import to_linear

    height, width = photo.image.shape[:2]
    corners = apply_homography(
        photo.homography, np.array([[0, 0], [width, 0], [width, height], [0, height]])
    )
    small = photo.homography @ np.diag([width / 128, height / 96, 1.0])
    span = np.hypot(*(corners[1] - corners[0]))
    view = _seen(picture, small, (128, 96), corners, 128 / span)
    linear = to_linear(np.clip(np.round(view * 255), 0, 255).astype(np.uint8))
    return cv2.resize(linear, (8, 8), interpolation=cv2.INTER_AREA)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the JSON: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs", description=__doc__)
    add_picture(parser)
    parser.add_argument("--count", type=int, default=60, help="photographs (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures here too")
    options = parser.parse_args(arguments)
    try:
        return _report(options)
    except (ValueError, OSError) as error:
        print(f"photographs: {error}", file=sys.stderr)
        return 1


def _report(options: argparse.Namespace) -> int:
    from model.placement.photographs import place_photographs
    from model.pyramid import ImagePyramid

    crop = crop_of(options)
    picture = ImagePyramid.open(options.image, crop=crop, cache_dir=options.cache)
    start = time.perf_counter()
    photographs = shoot(picture, options.count, options.seed)
    made, worked = time.perf_counter(), time.process_time()
    places = place_photographs([p.image for p in photographs])
    seconds, cpu_seconds = time.perf_counter() - made, time.process_time() - worked
    placed = [p for p in places if p.status == "placed"]
    result: dict[str, Any] = {
        "image": options.image.name,
        "count": options.count,
        "seed": options.seed,
        "shooting": asdict(Shooting()),
        "placed": len(placed),
        "seconds": seconds,
        "cpu seconds of all cores": cpu_seconds,
        "seconds to make them": made - start,
    }
    if placed:
        for gauge in ("similarity", "homography"):
            errors = placement_errors(photographs, places, gauge)
            result[gauge] = _figures(photographs, errors)
            rows = [tuple(row.values()) for row in result[gauge]]
            head = ("octave", "photographs", "median px", "95 % px", "worst px")
            print(table(f"error after one {gauge} for all", head, rows))
        before, after = light_spread(photographs, places, picture)
        result["light spread before"], result["light spread after"] = before, after
    plain = {k: v for k, v in result.items() if not isinstance(v, (dict, list))}
    print(facts(f"{len(placed)} of {options.count} photographs placed", plain))
    for place in places:
        if place.status != "placed":
            print(f"  {place.index}: {place.reason}")
    if options.json:
        write_json(options.json, {**result, "machine": describe_machine()})
        print(f"wrote {options.json}")
    return 0


def _figures(
    photographs: Sequence[Photograph], errors: dict[int, np.ndarray]
) -> list[dict[str, Any]]:
    """Rows of errors, by octave and of all."""
    octave = {i: str(int(photographs[i].level)) for i in errors}
    rows = []
    for name in [*sorted(set(octave.values())), "all"]:
        some = np.concatenate([e for i, e in errors.items() if name in ("all", octave[i])])
        rows.append(
            {
                "octave": name,
                "photographs": len(some) // GRID**2,
                "median_px": float(np.median(some)),
                "p95_px": float(np.percentile(some, 95)),
                "worst_px": float(some.max()),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
