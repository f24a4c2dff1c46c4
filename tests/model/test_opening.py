"""What `open_scale_space` makes of a path: image, checkpoint, run folder, or one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from model import load_scale_space, open_scale_space
from model.header import METADATA_KEY, CheckpointError, CheckpointHeader
from model.opening import newest_checkpoint, resolve_device
from model.pyramid import ImagePyramid


def write_checkpoint(path: Path, **metadata: str) -> Path:
    """A whole safetensors file whose head is as given, by default a good one."""
    head = CheckpointHeader(64, (1.0, 1.0), (0.0, 5.0), {})
    save_file({"w": torch.zeros(4)}, path, metadata or {METADATA_KEY: head.to_json()})
    return path


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_an_image_opens_as_a_pyramid(picture: Path) -> None:
    space = open_scale_space(str(picture))
    assert isinstance(space, ImagePyramid)
    frame = load_scale_space(picture).render_view((0.0, 0.0), 0.0, (30, 20))
    assert frame.shape == (20, 30, 3)
    assert frame.dtype == np.uint8


def test_a_run_folder_opens_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    old, new = write_checkpoint(tmp_path / "b.safetensors"), tmp_path / "checkpoints"
    new.mkdir()
    new = write_checkpoint(new / "a.safetensors")
    broken = tmp_path / "c.safetensors"
    broken.write_bytes(b"half")
    state = write_checkpoint(tmp_path / "state.safetensors", other="resumable state")
    for age, file in enumerate((old, new, broken, state)):
        os.utime(file, (1_000_000 + age, 1_000_000 + age))
    assert newest_checkpoint(tmp_path) == new
    new.unlink()
    assert newest_checkpoint(tmp_path) == old
    old.unlink()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        open_scale_space(tmp_path)


@pytest.mark.parametrize("name", ["none.safetensors", "foreign.safetensors", "pickle.pt"])
def test_what_is_no_checkpoint_is_one_clear_line(tmp_path: Path, name: str) -> None:
    if name != "none.safetensors":
        (tmp_path / name).write_bytes(b"\x80\x04 nothing that we know" * 9)
    with pytest.raises(CheckpointError) as caught:
        open_scale_space(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="device must be one of"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA GPU"):
            resolve_device("cuda")


@pytest.mark.parametrize("users", [None, "5"])
def test_threads_of_torch_do_not_spin_for_long(users: str | None) -> None:
    environment = {n: v for n, v in os.environ.items() if n != "GOMP_SPINCOUNT"}
    environment |= {} if users is None else {"GOMP_SPINCOUNT": users}
    script = "import os, sys, model; print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    command = [sys.executable, "-c", script]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", users or "30000"]
