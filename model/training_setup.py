"""From what a person asked for to a run that can train: the command and the app share it.

Importing this module is cheap; `prepare` imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.distributed import Ranks
    from model.presets import Preset
    from model.runs import Run
    from model.training_data import RunData

PLACEMENTS = ("match", "none")

Report = Callable[[str, float], None]
"""Called with what is being done and its share in [0, 1]; whatever it raises cancels."""
Tell = Callable[[str], None]
"""Called with one line that a person should read."""


@dataclass(frozen=True)
class Recipe:
    """One training run as a person asks for it: plain values, also as JSON."""

    data: str
    """Path of a large image, or of a folder or zip of patches."""
    folder: str
    """Of the run."""
    preset: str = "laptop"
    minutes: float | None = None
    """Budget, minutes; None: the preset's, or that of the run that goes on."""
    kimg: float | None = None
    """Budget in thousands of windows; None: `minutes` decides."""
    levels: tuple[float, float] | None = None
    """Levels to learn, octaves; None: all that the data hold."""
    crop: tuple[int, int, int, int] | None = None
    """Part of the image: x0, y0, x1, y1 in its pixels; None: all of it."""
    placement: str = "match"
    """Patches: 'match' finds their places, 'none' trains without."""
    exclude: tuple[str, ...] = ()
    """Names of patches to leave out."""
    licence: str = ""
    """Text for the checkpoint's head."""
    cache: str | None = None
    """Folder where the image's pyramid is kept; None: the user's cache."""
    autosave_seconds: float | None = None
    """From save to save; None: the preset's."""
    augment: str = ""
    """Before the discriminator: some of 'color,translation,cutout'; see `TrainConfig.augment`."""
    seed: int = 0
    resume: bool = False
    """Go on from the folder's saved state."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(
                f"placement must be one of {', '.join(PLACEMENTS)}, got {self.placement!r}."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values; see `recipe_from_json`."""
        return asdict(self)


def recipe_from_json(values: dict[str, Any]) -> Recipe:
    """What `Recipe.to_json` gave, after a trip through JSON.

    Raises:
        ValueError: It is not a recipe.
    """
    known = {f.name for f in fields(Recipe)}
    kept: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known
    }
    try:
        return Recipe(**kept)
    except TypeError as error:
        raise ValueError(f"this is no recipe of a training run ({error}).") from error


def prepare(recipe: Recipe, report: Report, tell: Tell = lambda line: None) -> Run:
    """Open the data, fit the preset to it, and make the run; nothing is trained yet.

    Whoever calls it closes `run.source.picture`, where there is one.

    Args:
        recipe: What is wanted.
        report: See `Report`.
        tell: See `Tell`; of files that were left out.

    Raises:
        ValueError: The data cannot be trained on, the folder holds a run already, or none where
            one should go on; one line that says what to do.
        OSError: A file cannot be read or written.
    """
    from model.distributed import join_ranks
    from model.opening import resolve_device
    from model.runs import Run

    folder = Path(recipe.folder)
    device = resolve_device(recipe.device)
    ranks = join_ranks(device)
    if not ranks.is_first:
        report, tell = (lambda label, fraction: None), (lambda line: None)
    preset, data = _preset(recipe, folder)
    source = ranks.first_then_others(
        lambda: _open(recipe, folder, preset, data, report, tell, ranks)
    )
    try:
        if not recipe.resume:
            preset = _fitted(recipe, preset, source)
        report("making the networks", 0.0)
        return Run(folder, preset, source, data, recipe.resume, device, ranks)
    except BaseException:
        close(source)
        raise


def close(source: RunData) -> None:
    """Close the files of what was learned."""
    picture: Any = source.picture
    if picture is not None:
        picture.close()


def _preset(recipe: Recipe, folder: Path) -> tuple[Preset, dict[str, Any]]:
    """Preset and data description: as asked for, or those of the run that goes on."""
    from model.presets import PRESETS
    from model.runs import load_config, with_budget

    if recipe.resume:
        preset, data = load_config(folder)
        return with_budget(preset, recipe.minutes, recipe.kimg), data
    if recipe.preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {recipe.preset!r}.")
    preset = with_budget(PRESETS[recipe.preset], recipe.minutes, recipe.kimg)
    seconds = recipe.autosave_seconds or preset.train.autosave_seconds
    train = replace(
        preset.train, seed=recipe.seed, autosave_seconds=seconds, augment=recipe.augment
    )
    data = {
        "crop": None if recipe.crop is None else list(recipe.crop),
        "licence": recipe.licence,
        "placement": recipe.placement,
    }
    return replace(preset, train=train), data


def _fitted(recipe: Recipe, preset: Preset, source: RunData) -> Preset:
    """The preset for this scene: its field, its levels, and no memory of places without places.

    Many scenes need a latent that tells one from the other.
    """
    from model.scenes import COMPARED, Z_DIM, ScenesData

    found = source.level_range
    low, high = recipe.levels or (0.0 if source.is_registered else found[0], found[1])
    if not source.is_registered:
        preset = replace(preset, generator=replace(preset.generator, memory=None))
    if isinstance(source, ScenesData):
        z_dim = preset.generator.z_dim or Z_DIM
        preset = replace(
            preset,
            generator=replace(preset.generator, z_dim=z_dim),
            discriminator=replace(preset.discriminator, compared=COMPARED),
        )
    return preset.for_field(source.field_size, (low, high))


def _open(
    recipe: Recipe,
    folder: Path,
    preset: Preset,
    data: dict[str, Any],
    report: Report,
    tell: Tell,
    ranks: Ranks,
) -> RunData:
    """What the trainer learns from."""
    from model.data.patches import PatchCollection, open_data
    from model.pyramid import ImagePyramid
    from model.training_data import PictureData
    from model.training_sets import placed_data, unplaced_data

    patch_size = preset.generator.patch_size
    cache = None if recipe.cache is None else Path(recipe.cache)
    label = f"reading {Path(recipe.data).name}"
    collection = open_data(recipe.data)
    if not isinstance(collection, PatchCollection):
        pyramid = ImagePyramid.open(
            recipe.data,
            crop=tuple(data["crop"]) if data["crop"] else None,
            patch_size=patch_size,
            cache_dir=cache,
            progress=lambda fraction: report(label, fraction),
        )
        data["source"] = pyramid.source
        return PictureData(pyramid)
    if data["crop"]:
        raise ValueError("--crop is for one large image; patches are taken whole.")
    with collection:
        if recipe.exclude:
            collection = collection.without(frozenset(recipe.exclude))
        data["scenes"] = len(collection.scenes)
        if data.get("placement") == "none" or data["scenes"] > 1:
            return unplaced_data(collection, patch_size, report, tell)
        known = recipe.resume or not ranks.is_first
        return placed_data(collection, folder, patch_size, cache, report, known, tell)
