"""The quality page: bounds are judged by the figures, and it says what the results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.quality import bounds, curves, settings
from benchmarks.quality.__main__ import ROOT, write_page
from benchmarks.quality.latents import load_latents
from benchmarks.quality.page import diagrams, load_results, page


def figure(value: float, **others: float) -> dict[str, float]:
    return {"value": value, **others}


def made_up(name: str = "starry-night", psnr: float = 37.0, swd: float = 60.0) -> dict:
    """A result of a checkpoint with levels 0 to 8, everything as promised."""
    own, jpeg = {}, {}
    for level in range(9):
        own[f"{level}"] = {
            "fidelity": {
                "psnr": figure(psnr if level < 7 else 22.0),
                "psnr_worst": figure(20.0),
                "high_band": figure(-1.5),
            },
            "swd": {"real": figure(swd, reference=40.0, ratio=swd / 40, ratio_half=0.1)},
            "consistency": {
                "1": figure(33.0, reference=58.0),
                "1_free": figure(31.0, reference=34.0),
            },
            "flicker": {"rms": figure(2.0, reference=1.6, ratio=1.25)},
            "layout": {"correlation": figure(0.9)},
        }
        jpeg[f"{level}"] = {"fidelity": {"psnr": figure(34.0), "high_band": figure(-9.0)}}
        if level > 4:
            jpeg[f"{level}"]["swd"] = {"real": figure(90.0, reference=40.0, ratio=2.25)}
    return {
        "name": name,
        "command": "python -m benchmarks.quality --image a.jpg --publish",
        "settings": settings.describe(settings.Settings()),
        "checkpoint": {
            "bytes": 16 << 20,
            "content": "0",
            "pixels": 10**9,
            "patch_size": 64,
            "level_range": [0.0, 8.0],
            "training": {"minutes": 70.0, "kimg": 139.1, "device": "cpu"},
        },
        "image": {"name": "a.jpg", "crop": None, "level_range": [0.0, 8.5]},
        "places": [[0.1, -0.2], [0.0, 0.3], [-0.4, 0.1]],
        "figures": {"checkpoint": own, "jpeg": jpeg},
        "budget": 16 << 20,
        "candidates": [
            {
                "codec": "jpeg",
                "top": 8.0,
                "quality": 21,
                "bytes": 16_000_000,
                "psnr": 34.0,
                "swd": 2.2,
                "chosen": ["fidelity", "realism"],
            }
        ],
        "missing": {"twin": "not made yet"},
        "film": None,
        "seconds": 1200.0,
        "machine": {"cpu": "AMD EPYC", "cores": 2},
    }


def test_what_is_promised_is_judged_by_the_figures() -> None:
    verdicts = bounds.judge(made_up(), {})
    assert [v.holds for v in verdicts] == [True, True, None, True, True, True]
    assert "closest: jpeg at 7, 1.50 times ours" in verdicts[2].measured
    assert "twin" in verdicts[2].measured
    bad = made_up(psnr=35.9, swd=120.0)
    bad["figures"]["checkpoint"]["3"]["fidelity"]["high_band"]["value"] = -2.4
    bad["figures"]["checkpoint"]["8"]["flicker"]["rms"]["ratio"] = 1.6
    bad["figures"]["checkpoint"]["2"]["consistency"]["1_free"]["value"] = 29.0
    verdicts = bounds.judge(bad, {})
    assert [v.holds for v in verdicts] == [False] * 6
    assert "at levels 0, 1, 2, 3, 4" in verdicts[0].measured
    assert verdicts[1].measured.startswith("worst 3.00")
    assert verdicts[3].measured == "furthest -2.4 dB, at 3; not at level 3"
    assert verdicts[5].measured == "most 1.60, at 8; not at level 8"


def test_a_smaller_picture_is_held_against_the_same_bytes_where_it_ends() -> None:
    small = made_up()
    small["checkpoint"]["level_range"] = [0.0, 7.0]
    for levels in small["figures"].values():
        del levels["8"]
    for name in ("avif", "bicubic", "twin"):
        small["figures"][name] = small["figures"]["jpeg"]
    verdict = bounds.judge(small, {})[2]
    assert verdict.holds and verdict.measured == "closest: jpeg at 7, 1.50 times ours"
    small["checkpoint"]["level_range"] = [0.0, 7.998]  # as where patches were placed: 8, nearly
    assert bounds.judge(small, {})[2].holds is None
    small["checkpoint"]["level_range"] = [0.0, 7.0]
    del small["figures"]["twin"]
    assert bounds.judge(small, {})[2].holds is None


def test_the_others_promise_other_things() -> None:
    model = made_up()
    near = bounds.judge(made_up("starry-night-from-patches", psnr=35.5), {"starry-night": model})
    assert near[0].holds and near[0].measured.startswith("furthest behind 1.5 dB")
    far = bounds.judge(made_up("starry-night-from-patches", psnr=34.5), {"starry-night": model})
    assert far[0].holds is False
    alone = bounds.judge(made_up("starry-night-adversarial", swd=70.0), {})
    assert [v.holds for v in alone] == [True, True, True]
    assert alone[0].measured == "1.75"
    assert bounds.judge(made_up("x-adversarial", swd=90.0), {})[0].holds is False


def test_what_was_not_measured_is_not_judged() -> None:
    empty = made_up()
    empty["figures"] = {}
    assert {v.holds for v in bounds.judge(empty, {})} == {None}


# What is drawn and written.


def test_ticks_are_round_and_hold_all_values() -> None:
    assert curves._ticks(19.7, 36.2) == [15, 20, 25, 30, 35, 40]
    assert curves._ticks(0.0, 0.0)[0] <= 0 < curves._ticks(0.0, 0.0)[-1]
    assert curves._log_ticks([0.9, 14.0]) == [0.5, 1, 2, 5, 10, 20]


def test_a_diagram_is_plain_svg_with_every_curve() -> None:
    from xml.etree import ElementTree

    text = diagrams(made_up())
    root = ElementTree.fromstring(text)
    paths = [e for e in root.iter() if e.tag.endswith("path") and e.get("stroke") == "#d1495b"]
    assert len(paths) == 5  # the legend, and one in each of four panels
    assert "JPEG pyramid" in text and "nan" not in text
    assert text == diagrams(made_up())


def test_the_page_says_what_the_result_says() -> None:
    text = page([made_up()])
    assert (
        "| 4 | 37.0 | 20.0 | -1.5 | 60.0 | 40.0 | 1.50 ±0.10 | 31.0 | 34.0 | 2.00 | 1.60 | 1.25 |"
        in text
    )
    assert "- Levels 0 to 6: remembered.\n- Levels 7 to 8: invented." in text
    assert "| JPEG pyramid | 8.00 | 21 | 95.4% | 34.0 | 2.2 | fidelity and realism |" in text
    assert "regression-only twin: not there; not made yet." in text
    assert "Training: 70 minutes and 139,100 windows on cpu." in text
    assert "nan" not in text and "None" not in text
    both = page([made_up(), made_up("starry-night-from-patches")])
    assert "## Side by side" in both
    rock = made_up("rock") | {"image": made_up()["image"] | {"name": "rock.png"}}
    other = page([made_up(), rock])
    assert "## Side by side" not in other and "Not shipped" in other
    assert "Not shipped" not in both


def test_the_page_tells_of_many_scenes_what_was_found(tmp_path: Path) -> None:
    found = {
        "settings": {"scenes": 3, "sides": [1800, 2600], "count": 300, "octaves": 4},
        "likeness": {"median": 0.42, "real_scenes_highest": 0.62},
        "latents_by_scene": [1, 0, 2],
        "no_scene": 61,
        "consistency_db": {"1": {"own": 26.04, "another": 12.6}},
        "minutes": 46.7,
        "kimg": 28.0,
        "machine": {"cores": 2, "cpu": "chip"},
        "diversity": 0.713,
    }
    (tmp_path / "many-scenes-brushwork.json").write_text(json.dumps(found))
    (tmp_path / "many-scenes-starry-night.json").write_text("{}")  # an experiment: ships nothing
    text = page([made_up()], load_latents(tmp_path))
    assert "| 1 | 26.0 | 12.6 |" in text and "28,000\nwindows" in text
    assert "3 of 64 latents show one" in text and "0.71 times" in text
    assert "quality/brushwork-latents.jpg" in text and "## brushwork" not in page([made_up()])


def test_results_come_in_the_order_of_the_page(tmp_path: Path) -> None:
    for name in ("brushwork", "starry-night-adversarial", "starry-night"):
        (tmp_path / f"quality-{name}.json").write_text(json.dumps(made_up(name)))
    names = [result["name"] for result in load_results(tmp_path)]
    assert names == ["starry-night", "starry-night-adversarial", "brushwork"]


def test_the_page_of_the_repository_is_what_its_results_give(tmp_path: Path) -> None:
    results = ROOT / "benchmarks" / "results"
    if not load_results(results):
        pytest.skip("no checkpoint has been measured yet")
    write_page(tmp_path, results)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 1 + len(load_results(results))
    for path in made:
        kept = ROOT / "docs" / path.relative_to(tmp_path)
        assert kept.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), kept
