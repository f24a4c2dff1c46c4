"""What crosses between the window and the inference thread: frozen values, errors among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explorer.tile_grid import TileGrid, TileKey
from explorer.view_links import scene_name
from model.latent import Seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


MAX_PICTURE_PX = 4096
"""Longest side of a picture for a panel, pixels."""


@dataclass(frozen=True)
class SceneInfo:
    """What the window must know of an opened scale space."""

    identity: str
    """Names the content: equal identities render equal pixels."""
    name: str
    """For the title bar."""
    path: str
    patch_size: int
    """Pixels."""
    field_size: tuple[float, float]
    """Width and height, field units."""
    level_range: tuple[float, float]
    """Octaves."""
    device: str
    """Where it renders: 'cpu' or 'cuda', as `--device` takes it."""
    has_latents: bool = False
    """Whether a seed changes the picture."""
    step: int | None = None
    """Of training, where the scene is a run that is training; its weights become newer."""
    run: str = ""
    """Folder of the training run that the weights are of; '' where they are of none."""
    no_kernels: str = ""
    """Why no GPU kernels run, and what to do; '' where they do."""

    @property
    def kept_as(self) -> str:
        """Names it where something of it is kept: a run by its folder, for its content changes."""
        return self.run or self.identity

    @property
    def kept_name(self) -> str:
        """The same, for people."""
        return scene_name(self.run or self.path)

    def continues(self, before: SceneInfo | None) -> bool:
        """Whether these are newer weights of the run of `before`: the same scene, further on."""
        if before is None or self.step is None:
            return False
        return bool(self.run) and self.run == before.run


@dataclass(frozen=True)
class ExactView:
    """A viewport's pixels, at exactly its own level and offset."""

    origin_xy: tuple[float, float]
    """Top left corner, field units, on the lattice that windows snap to."""
    level: float
    """Octaves."""
    size: tuple[int, int]
    """Width and height, pixels."""


@dataclass(frozen=True)
class RenderRequest:
    """What the window needs now, the most valuable first. The newest replaces all before it."""

    scene: str
    """`SceneInfo.identity` that it is meant for."""
    grid: TileGrid
    seed: Seed = 0
    """Names the latent."""
    tiles: tuple[TileKey, ...] = ()
    """Missing tiles, the most valuable first."""
    exact: ExactView | None = None
    """The exact frame; rendered before the tiles, but for the first of them."""
    before_exact: int = 0
    """So many tiles come before the exact frame: without them the view would show nothing new until
    that is whole."""
    moving: bool = False
    """The view moves: short batches, one core."""
    seen_batch: int = 0
    """The newest batch that the window had received when it asked."""
    issued_at: float = 0.0
    """Time of the camera that it is made for, s (perf_counter)."""


@dataclass(frozen=True)
class OpenRequest:
    """Open a scale space; the present one stays until the new one is ready."""

    path: str
    device: str = "auto"
    precision: str = "auto"
    seed: Seed = 0
    """Which latent is shown; of newer weights it stays."""


@dataclass(frozen=True)
class StillRequest:
    """Render a view and save it as an image."""

    scene: str
    exact: ExactView
    file: str
    seed: Seed = 0
    view: dict[str, Any] = field(default_factory=dict)
    """`center`, `level` and `size` of the view, which the still carries; empty: the still's own."""
    run: str = ""
    """`SceneInfo.run`: newer weights of that will do as well."""


@dataclass(frozen=True)
class Picture:
    """A window and a latent."""

    view: ExactView
    """Its pixels; at most `MAX_PICTURE_PX` a side."""
    seed: Seed = 0
    """Names the latent."""

    def __post_init__(self) -> None:
        if not all(1 <= side <= MAX_PICTURE_PX for side in self.view.size):
            raise ValueError(
                f"a picture must have 1 to {MAX_PICTURE_PX} pixels a side, got {self.view.size}."
            )


@dataclass(frozen=True)
class PictureRequest:
    """Small pictures for a panel, rendered when there is nothing else to do, in their order."""

    owner: str
    """Whose they are: the newest request of an owner replaces the one before."""
    scene: str
    """`SceneInfo.identity` that they are of."""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class PicturesReady:
    """One or several pictures of a request."""

    request: PictureRequest
    """The very request that they answer: compare it with the one that was asked last."""
    first: int
    """Number of the first of them in `request.pictures`."""
    pixels: tuple[Pixels, ...]
    """Each uint8 [H, W, 4], RGBA; not writable."""


@dataclass(frozen=True)
class TileBatch:
    """Rendered tiles of one step."""

    scene: str
    seed: Seed
    number: int
    """Rises by one with every batch of the thread."""
    keys: tuple[TileKey, ...]
    pixels: Pixels
    """uint8 [N, tile_px + 2, tile_px + 2, 4], RGBA; not writable."""
    issued_at: float
    """`RenderRequest.issued_at` of the request that it answers."""
    pixels_per_s: float
    """Measured speed while moving, pixels per second."""


@dataclass(frozen=True)
class ExactFrame:
    """The exact frame, whole."""

    scene: str
    seed: Seed
    view: ExactView
    pixels: Pixels
    """uint8 [H, W, 4], RGBA; not writable."""
    number: int
    """Of the thread's batches; the frame counts as one."""
    issued_at: float
    """`RenderRequest.issued_at` of the request that it answers."""
    render_s: float
    """From its first chunk to its last, s."""


@dataclass(frozen=True)
class Opened:
    """A scale space is ready."""

    info: SceneInfo
    root: Pixels
    """The whole field, small: uint8 [H, W, 4], RGBA; it lies below everything."""
    seed: Seed = 0
    """Of which latent that is."""


@dataclass(frozen=True)
class Progress:
    """Something that takes long goes on."""

    text: str
    fraction: float | None = None
    """0 to 1, or None where it is not known."""


@dataclass(frozen=True)
class StillSaved:
    """A still lies on the disk."""

    file: str


@dataclass(frozen=True)
class Failure:
    """Something did not work; the app goes on."""

    title: str
    """What did not work, in a few words."""
    text: str
    """What must hold, what came, what to do."""
    details: str = ""
    """For the log and 'copy details'."""
    fatal_to_scene: bool = False
    """The scene cannot be rendered any more; nothing of it is asked for again."""


Result = TileBatch | ExactFrame | PicturesReady | Opened | Progress | StillSaved | Failure
