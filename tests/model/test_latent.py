"""Latents between seeds: text and value are one to one, and blends are straight ways in w."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from model.checkpoints import header_of
from model.generator import Generator
from model.generator_space import GeneratorSpace
from model.latent import (
    PLANE_COLUMNS,
    Latent,
    Seed,
    blend,
    in_short,
    mix,
    parse_seed,
    parts_of,
    plane_latent,
    plane_point,
    plane_seed,
    psi_of,
    seed_from_json,
    seed_to_json,
    truncated,
)
from model.rendering import render_view
from model.space import Window
from model.styles import Styles, draw_z
from tests.model.small import small_generator


@pytest.mark.parametrize(
    ("text", "parts", "psi"),
    [
        ("12", ((12, 1.0),), 1.0),
        ("12~37@0.25", ((12, 0.75), (37, 0.25)), 1.0),
        ("37@.25~12", ((12, 0.75), (37, 0.25)), 1.0),
        ("12@0.75~37@0.25", ((12, 0.75), (37, 0.25)), 1.0),
        ("3~4@0.25~103@0.5", ((3, 0.25), (4, 0.25), (103, 0.5)), 1.0),
        ("12~psi0.7", ((12, 1.0),), 0.7),
        ("12~37@0.25~psi0", ((12, 0.75), (37, 0.25)), 0.0),
        ("12~37@1", ((37, 1.0),), 1.0),
        ("12~12@0.5", ((12, 1.0),), 1.0),
        (" 7 ", ((7, 1.0),), 1.0),
    ],
)
def test_text_means_parts_and_psi(
    text: str, parts: tuple[tuple[int, float], ...], psi: float
) -> None:
    seed = parse_seed(text)
    assert (parts_of(seed), psi_of(seed)) == (parts, psi)
    assert parse_seed(str(seed)) == seed


def test_a_seed_alone_stays_a_number() -> None:
    assert parse_seed("12") == 12 and isinstance(parse_seed("12~psi1"), int)
    assert str(parse_seed("37@0.25~12~psi0.7")) == "12~37@0.25~psi0.7"
    assert seed_to_json(12) == 12 and seed_to_json(mix([(1, 0.5), (2, 0.5)])) == "1~2@0.5"
    assert [in_short(s) for s in (5, mix([(5, 1)], 0.5), mix([(5, 1), (9, 3)]))] == ["5", "5", "9~"]


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1.5", "1~2", "1@0.5", "1@0.5~2@0.6", "1~2@-0.5", "1~2@1.5", "psi0.5"]
    + ["1~psi2.5", "1~psi-1", "1~psinan", "1~2@nan", "1~~2@0.5", "1~2@0.5~psi0.5~psi0.5", "1 2"],
)
def test_what_is_no_latent_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_seed(text)


@pytest.mark.parametrize("value", [-1, 1.5, True, None, [1], "x", {"seed": 1}])
def test_json_that_is_no_latent_is_an_error(value: object) -> None:
    with pytest.raises(ValueError):
        seed_from_json(value)


@pytest.mark.parametrize(
    "parts",
    [(), ((2, 0.5), (1, 0.5)), ((1, 0.5), (1, 0.5)), ((1, 0.5),), ((1, 1.0),), ((-1, 1.0),)],
)
def test_a_latent_has_one_form(parts: tuple[tuple[int, float], ...]) -> None:
    with pytest.raises(ValueError):
        Latent(parts)


def random_seed(chance: random.Random) -> Seed:
    count = chance.choice([1, 1, 2, 4, 7])
    parts = [(chance.randrange(40), chance.random()) for _ in range(count)]
    return mix(parts, chance.choice([1.0, 1.0, 0.0, 0.3, 1.5, chance.random()]))


@pytest.mark.parametrize("number", range(20))
def test_what_is_made_comes_back_from_text_and_json(number: int) -> None:
    chance = random.Random(number)
    for _ in range(50):
        a, b = random_seed(chance), random_seed(chance)
        made = blend(a, b, chance.choice([0, 1, 0.5, chance.random(), 1e-12]))
        assert parse_seed(str(made)) == made
        assert seed_from_json(seed_to_json(made)) == made
        assert math.isclose(sum(w for _, w in parts_of(made)), 1, abs_tol=1e-9)


def test_the_plane_is_bilinear_and_seeds_lie_on_its_grid() -> None:
    assert plane_latent(7, 3) == 307 == plane_seed(7, 3)
    assert dict(parts_of(plane_latent(7.25, 3.5))) == {
        307: 0.375,
        308: 0.125,
        407: 0.375,
        408: 0.125,
    }
    assert str(plane_latent(7.25, 3)) == "307~308@0.25"
    assert plane_latent(-5, -5) == 0 and plane_latent(1e9, 0) == PLANE_COLUMNS - 1
    assert plane_seed(-1, 0) is None and plane_seed(PLANE_COLUMNS, 0) is None
    chance = random.Random(0)
    for _ in range(300):
        x, y = round(chance.uniform(0, 99), 3), round(chance.uniform(0, 50), 3)
        found = plane_point(plane_latent(x, y, chance.choice([1.0, 0.6])))
        assert found is not None and math.dist(found, (x, y)) < 1e-9
    assert plane_point(mix([(0, 0.5), (37, 0.5)])) is None
    assert plane_point(mix([(0, 0.5), (101, 0.5)])) is None


def space_of(generator: Generator) -> GeneratorSpace:
    return GeneratorSpace(generator, header_of(generator.config, {}, ""), "g", torch.float32)


def generative(seed: int = 0) -> GeneratorSpace:
    return space_of(small_generator(seed, base=None, z_dim=8, scene_features=4))


def picture(space: GeneratorSpace, seed: Seed, level: float = 1.25) -> torch.Tensor:
    return space.render([Window((-0.2, -0.1), level, 24, 40, seed)])[0]


def test_blends_are_straight_in_w_and_begin_and_end_at_their_seeds() -> None:
    space = generative()
    mapping = space.generator.mapping
    styles = Styles(mapping, torch.device("cpu"))
    level = 1.25
    with torch.inference_mode():
        a, b = (mapping(level, draw_z(s, 8)) for s in (12, 37))
    mean = styles.mean(level)
    assert torch.equal(a[:, -4:], mapping(4.0, draw_z(12, 8))[:, -4:])  # one scene at all levels
    for latent, expected in (
        (blend(12, 37, 0.25), 0.75 * a + 0.25 * b),
        (truncated(12, 0.7), mean + 0.7 * (a - mean)),
        (truncated(37, 0.0), mean),
        (blend(truncated(12, 0.5), 37, 0.5), 0.5 * (mean + 0.5 * (a - mean)) + 0.5 * b),
        (blend(truncated(12, 0.0), 37, 0.25), 0.75 * mean + 0.25 * b),
    ):
        assert isinstance(latent, Latent)
        torch.testing.assert_close(styles.of(level, latent), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(picture(space, 12), picture(space, blend(12, 37, 0.0)))
    near = (picture(space, blend(12, 37, 1e-4)) - picture(space, 12)).abs().max()
    half = (picture(space, blend(12, 37, 0.5)) - picture(space, 12)).abs().max()
    assert near < 0.01 * half


def test_the_mean_is_that_of_many_and_the_same_in_another_process() -> None:
    space = generative()
    mean = Styles(space.generator.mapping, torch.device("cpu")).mean(2.0)
    with torch.inference_mode():
        many = space.generator.mapping(2.0, torch.cat([draw_z(s, 8) for s in range(2000)]))
    assert (mean - many.mean(0)).abs().max() < 0.2 * many.std(0).max()
    assert torch.equal(picture(space, truncated(3, 0.0)), picture(space, truncated(9, 0.0)))
    assert torch.equal(picture(space, truncated(3, 0.4)), picture(generative(), truncated(3, 0.4)))


def test_a_blend_is_the_same_from_tiles_and_in_one_go() -> None:
    space = generative()
    latent = plane_latent(7.25, 3.5, 0.8)
    whole = space.render_view((0.05, 0.0), 2.25, (90, 70), latent)
    tiled = render_view(space, (0.05, 0.0), 2.25, (90, 70), latent, tile_px=32)
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 1


def test_one_scene_ignores_blends() -> None:
    space = space_of(small_generator())
    assert torch.equal(picture(space, 0), picture(space, plane_latent(0.5, 0.5)))
