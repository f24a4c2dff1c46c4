"""Several processes train as one: real ones, over gloo."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from explorer.cli import run as run_cli
from model.checkpoints import load_generator_space
from model.distributed import Ranks, join_ranks
from model.run_files import CHECKPOINT, LOG
from tests.model import ranks as worker
from tests.model.small import small_generator

ROOT = Path(__file__).resolve().parent.parent.parent


def start(count: int, *command: str) -> list[str]:
    """Run `python -m command` in `count` processes, as torchrun would; what each prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    told = []
    try:
        for process in processes:
            out, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
            told.append(out)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return told


def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    """At the same global batch, fp32, 20 steps: each loss to 1e-4."""
    start(2, "tests.model.ranks", str(tmp_path / "two.json"))
    two = json.loads((tmp_path / "two.json").read_text())
    one = {
        "registered": worker.losses(worker.Waves(), Ranks()),
        "scenes": worker.losses(worker.many_scenes(), Ranks()),
    }
    told: dict[str, set[str]] = {}
    for kind, steps in one.items():
        assert len(two[kind]) == len(steps) == worker.STEPS
        told[kind] = set().union(*steps) - {"gradient", "diversity"}
        for step, (alone, shared) in enumerate(zip(steps, two[kind])):
            norms = shared.pop("gradient"), alone.pop("gradient")
            assert norms[0] == pytest.approx(norms[1], rel=2e-3), (kind, step)
            for losses in (shared, alone):
                losses.pop("diversity", None)  # a spread: each process sees that of its own windows
            assert shared == pytest.approx(alone, rel=1e-4, abs=2e-5), (kind, step)
    adversarial = {"adversarial", "contrast", "marginals", "discriminator", "logit_gap", "r1", "r2"}
    assert told["registered"] == adversarial | {"reconstruction", "consistency"}
    assert told["scenes"] == adversarial | {"consistency"}


def test_the_command_trains_in_two_processes_and_goes_on_in_one(tmp_path: Path) -> None:
    """One log, one checkpoint, one line of output; the number of processes may change."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (128, 160, 3), np.uint8)).save(tmp_path / "p.png")
    run = tmp_path / "run"
    command = ["train", str(tmp_path / "p.png"), "--out", str(run), "--device", "cpu"]
    command += ["--cache", str(tmp_path / "cache")]
    told = start(2, "explorer", *command, "--kimg", "0.064")
    assert told == [f"{run / CHECKPOINT}\n", ""]
    assert run_cli([*command, "--kimg", "0.096", "--resume"]) == 0
    steps = [json.loads(line)["step"] for line in (run / LOG).read_text().splitlines()]
    assert steps == [2, 3]
    space = load_generator_space(run / CHECKPOINT, torch.device("cpu"))
    assert space.render_view((0.0, 0.0), 0.0, (40, 30)).shape == (30, 40, 3)


def test_only_what_lies_on_the_device_is_sent_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A base layer keeps its code on the CPU, and nccl takes nothing from there."""
    generator = small_generator()
    assert generator.base is not None
    code = generator.base.get_extra_state()
    sent: list[torch.Tensor] = []

    def broadcast(tensor: torch.Tensor, source: int) -> None:
        sent.append(tensor)
        tensor.zero_()

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    Ranks(1, 2).copy_first(generator)
    assert len(sent) == len([*generator.parameters(), *generator.buffers()])
    assert not any(p.any() for p in generator.parameters())
    assert torch.equal(generator.base.get_extra_state(), code)


@pytest.mark.parametrize("error", [None, MemoryError("full"), OSError("gone")])
def test_who_fails_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """The others are in an exchange that it can no more join."""
    left: list[bool] = []

    class Training:
        source = SimpleNamespace(picture=None)
        trainer = SimpleNamespace(
            ranks=SimpleNamespace(is_first=False, leave=lambda: left.append(True))
        )

        def train(self, *_args: object) -> None:
            if error is not None:
                raise error

    monkeypatch.setattr("model.training_setup.prepare", lambda *_args: Training())
    code = run_cli(["train", "x.png", "--out", str(tmp_path / "run")])
    assert code == (0 if error is None else 1) and left == ([True] if error is None else [])


def test_a_group_is_shared_evenly_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [Ranks(rank, 4).part(8) for rank in range(4)]
    assert [index for share in shares for index in range(8)[share]] == list(range(8))
    with pytest.raises(ValueError, match="group of 8 windows cannot be shared by 3"):
        Ranks(0, 3).part(8)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = join_ranks(torch.device("cpu"))
    assert alone == Ranks() and alone.is_first
    values = {"loss": 0.1}
    assert alone.average(values) is values and alone.any(True) and not alone.any(False)
