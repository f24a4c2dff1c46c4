"""From what a person asked for to a run that can train: the command and the app share it.

Importing this module is cheap; `prepare` imports torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.run_files import CONFIG, LOG, is_run

if TYPE_CHECKING:
    from model.config import GeneratorConfig
    from model.discriminator import Discriminator
    from model.distributed import Ranks
    from model.generator import Generator
    from model.presets import Preset
    from model.runs import Run
    from model.training_data import RunData
    from model.training_stages import Placing

PLACEMENTS = ("match", "none")
MAX_ASPECT = 16
_LEAST_WINDOWS = 8
"""Without places: windows a step, at least."""
_UNPLACED_CONSISTENCY = 2.2
_UNPLACED_CONSISTENCY_OVER = 0.7
"""Without places: the weight of consistency, times that of the preset, and the share of the run
over which it comes in: at full weight early on, octaves would agree in a blur."""
_SAME = 0.02
"""Two scenes are of one shape where they differ by no more."""
_UNPLACED_HELD_FROM = 0.2
_UNPLACED_MARGINALS = 8.0
"""Without places: share of the run from which paint is held to real paint, and the weight of its
neighbourhoods. Runs without them drifted (`docs/experiments.md`)."""
_UNPLACED_PENALTY = 2.0
"""Without places: weight of both gradient penalties, times that of the preset. At 1 the
discriminator became ever steeper; at 4 a run held, and learned no more."""
_UNPLACED_FALL_FROM = 0.5
"""Without places: share of the run after which the rates fall."""
_UNPLACED_LR = 2e-4
"""Without places: Adam rate of the generator."""
_UNPLACED_WAVES = 7
"""Without places: octaves of waves. All that levels up to 5 hear, and none that a finer one would
hear alone (`docs/experiments.md`)."""
_ANNEALED_FROM = 0.3
"""A scene that is trained already: share of the run after which the rates fall, as in the rounds
that improved (`docs/experiments.md`)."""
_ANNEALED_LR = 1e-4
"""The same: Adam rate of the generator."""
_ANNEALED_MARGINALS = 40.0
"""The same: weight of its neighbourhoods. With 10 about twice as much stayed off."""
_ANNEALED_DETAIL = 8.0
"""The same: how strong the discriminator sees detail. As it is, 500 steps taught a new one next to
nothing; from the beginning of a run so strong, the scene did not come (`docs/experiments.md`)."""
_ANNEALED_CONSISTENCY = 6.0
"""The same, without places: weight of consistency, times that of the preset. Where paint is held,
octaves can agree harder."""
_ANNEALED_INVENTED_CONSISTENCY = 3.0
"""The same, of a registered picture: weight of consistency of what is invented."""
_NEVER = 1.0
"""Share of the run from which a discriminator that is not wanted would speak."""
_MEETING = 4000
"""Windows in which a new discriminator gets to know a generator that is trained already."""

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
    aspect: float = 1.0
    """Width over height of the scene, where patches train without places."""
    exclude: tuple[str, ...] = ()
    """Names of patches to leave out."""
    licence: str = ""
    """Text for the checkpoint's head."""
    cache: str | None = None
    """Folder where the image's pyramid is kept; None: the user's cache, and the run's own folder
    for the picture that patches make."""
    autosave_seconds: float | None = None
    """From save to save; None: the preset's."""
    augment: str = ""
    """Before the discriminator: some of 'color,translation,cutout'; see `TrainConfig.augment`."""
    adversarial: bool = True
    """Data with places: whether a discriminator judges what is invented. Without, that blurs."""
    seed: int = 0
    start: str = ""
    """Path of a checkpoint whose weights a new run starts with; empty: with new ones."""
    resume: bool = False
    """Go on from the folder's saved state."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(
                f"placement must be one of {', '.join(PLACEMENTS)}, got {self.placement!r}."
            )
        if not 1 / MAX_ASPECT <= self.aspect <= MAX_ASPECT:
            raise ValueError(
                f"aspect must lie between 1/{MAX_ASPECT} and {MAX_ASPECT}, got {self.aspect:g}."
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


@dataclass(frozen=True)
class KnownRun:
    """A run on the disk that can go on."""

    recipe: Recipe
    """Goes on with it; `data` is empty where the run does not say what it was trained on."""
    minutes: float
    """Trained so far."""
    fraction: float
    """Of its budget that is used, 0 to 1."""


def find_run(folder: Path) -> KnownRun:
    """What the run in `folder` is; reads its small files alone.

    Raises:
        ValueError: There is none that can go on.
        OSError: A file cannot be read.
    """
    try:
        data = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["data"]
        if not is_run(folder):
            raise ValueError("nothing is saved yet")
        log = folder / LOG
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        # The last line may be cut off: a kill leaves it so.
        ticks = [json.loads(line) for line in lines[-2:] if line.endswith("}")]
        last = ticks[-1] if ticks else {"minutes": 0.0, "fraction": 0.0}
        recipe = Recipe(
            data=str(data.get("path", "")),
            folder=str(folder),
            placement=str(data.get("placement", "match")),
            aspect=float(data.get("aspect", 1.0)),
            exclude=tuple(data.get("exclude", ())),
            resume=True,
        )
        return KnownRun(recipe, float(last["minutes"]), float(last["fraction"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder} holds no training run that can go on ({error}); choose the folder in which "
            "its config.json is."
        ) from error


def prepare(
    recipe: Recipe, report: Report, tell: Tell = lambda line: None, early: bool = False
) -> Run:
    """Open the data, fit the preset to it, and make the run; nothing is trained yet.

    Whoever calls it closes `run.source.picture`, where there is one, and `run.placing`.

    Args:
        recipe: What is wanted.
        report: See `Report`.
        tell: See `Tell`; of files that were left out.
        early: Where thousands of patches have no place: return when the coarsest have theirs.
            `run.placing` then finds the others', and the caller has `run.learn` go on with them.

    Raises:
        CheckpointError: The checkpoint to start with cannot be read.
        ValueError: The data cannot be trained on, the folder holds a run already, or none where
            one should go on; one line that says what to do.
        OSError: A file cannot be read or written.
    """
    from model.distributed import join_ranks
    from model.header import read_header
    from model.opening import resolve_device
    from model.pyramid import ImagePyramid
    from model.runs import Run, check_folder

    folder = Path(recipe.folder)
    check_folder(folder, recipe.resume)
    device = resolve_device(recipe.device)
    ranks = join_ranks(device)
    if not ranks.is_first:
        report, tell = (lambda label, fraction: None), (lambda line: None)
    preset, data = _preset(recipe, folder)
    if recipe.start:
        read_header(recipe.start)  # before the data are looked at: that can take minutes
    # A checkpoint's base layer is whole: none of the first patches alone may take its place.
    early = early and ranks.count == 1 and not recipe.start
    source, placing, finest = ranks.first_then_others(
        lambda: _open(recipe, folder, preset, data, report, tell, ranks, early)
    )
    try:
        if device.type == "cuda" and isinstance(source.picture, ImagePyramid):
            source.picture.keep_on(device)
        if not recipe.resume:
            preset = _fitted(recipe, preset, source)
        report("making the networks", 0.0)
        start = discriminator = None
        if recipe.start and not recipe.resume:
            preset, start, discriminator = _started(Path(recipe.start), preset, tell)
            data["start"] = Path(recipe.start).name
        run = Run(
            folder,
            preset,
            source,
            data,
            recipe.resume,
            device,
            ranks,
            finest,
            start,
            discriminator,
            lambda fraction: report("remembering the picture", fraction),
        )
    except BaseException:
        close(source)
        if placing is not None:
            placing.close()
        raise
    run.placing = placing
    return run


def warm_up() -> None:
    """Import what `prepare` and the first step will need: seconds that nobody need wait for."""
    import torch._dynamo  # noqa: F401  # the first optimiser imports it

    import model.runs  # noqa: F401


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
        if recipe.data:  # where they were found, if they have moved
            data["path"] = str(Path(recipe.data).absolute())
        if recipe.autosave_seconds:
            train = replace(preset.train, autosave_seconds=recipe.autosave_seconds)
            preset = replace(preset, train=train)
        return with_budget(preset, recipe.minutes, recipe.kimg), data
    if recipe.preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {recipe.preset!r}.")
    preset = with_budget(PRESETS[recipe.preset], recipe.minutes, recipe.kimg)
    seconds = recipe.autosave_seconds or preset.train.autosave_seconds
    train = replace(
        preset.train, seed=recipe.seed, autosave_seconds=seconds, augment=recipe.augment
    )
    if not recipe.adversarial:
        train = replace(train, adversarial_start=_NEVER)
    data = {
        "crop": None if recipe.crop is None else list(recipe.crop),
        "licence": recipe.licence,
        "placement": recipe.placement,
        "aspect": recipe.aspect,
        "path": str(Path(recipe.data).absolute()),
        "exclude": list(recipe.exclude),
    }
    return replace(preset, train=train), data


def _fitted(recipe: Recipe, preset: Preset, source: RunData) -> Preset:
    """The preset for this scene: its field, its levels, and nothing remembered without places.

    Many scenes need a latent that tells one from the other.

    Raises:
        ValueError: There is nothing to learn from.
    """
    from model.scenes import SCENE_FEATURES, Z_DIM, ScenesData

    if not (recipe.adversarial or source.is_registered):
        raise ValueError(
            "data without places are learned from a discriminator alone; train with one, or let "
            "the patches find their places."
        )
    found = source.level_range
    low, high = recipe.levels or (0.0 if source.is_registered else found[0], found[1])
    if not low < high:
        raise ValueError(
            "training needs levels from a coarse one to a finer one, and here they go from "
            f"{low:g} to {high:g}; take a picture of more than {preset.generator.patch_size} px a "
            "side, or patches of several levels."
        )
    if not source.is_registered:
        preset = unplaced(preset)
    if isinstance(source, ScenesData):
        z_dim = preset.generator.z_dim or Z_DIM
        preset = replace(
            preset,
            generator=replace(
                preset.generator, z_dim=z_dim, scene_features=min(SCENE_FEATURES, z_dim)
            ),
        )
    return preset.for_field(source.field_size, (low, high))


def unplaced(preset: Preset) -> Preset:
    """The preset for patches without places.

    Nothing is remembered. Noise up to what a pixel can show, so that a window's finest detail is
    there for a finer window to agree with. Waves only as far as they tell where one is: see
    `GeneratorConfig.wave_octaves`. And one group of windows a step: the discriminator steps
    at every group, and a generator that steps at every fourth is left behind.
    """
    g, t = preset.generator, preset.train
    g = replace(g, base=None)
    if g.noise_features and g.noise_features % 2 == 0:
        # At whole and half levels a band ends a quarter octave below what a pixel can show.
        g = replace(g, noise_bands=2, noise_cutoff=1.0, lowest_frequency=0.5 * 2**-0.25)
    if g.wave_stages == 1:
        g = replace(g, wave_octaves=_UNPLACED_WAVES)
    groups = min(t.groups, -(-_LEAST_WINDOWS // t.group_size))
    t = replace(
        t,
        groups=groups,
        adversarial_generator_lr=_UNPLACED_LR,
        fall_from=_UNPLACED_FALL_FROM,
    )
    loss = preset.loss
    loss = replace(
        loss,
        consistency_weight=_UNPLACED_CONSISTENCY * loss.consistency_weight,
        consistency_start=_UNPLACED_CONSISTENCY_OVER,
        moments_start=_UNPLACED_HELD_FROM,
        marginals_weight=_UNPLACED_MARGINALS,
        r1_gamma=_UNPLACED_PENALTY * loss.r1_gamma,
        r2_gamma=_UNPLACED_PENALTY * loss.r2_gamma,
    )
    return replace(preset, generator=g, loss=loss, train=t)


def _started(
    path: Path, preset: Preset, tell: Tell
) -> tuple[Preset, Generator, Discriminator | None]:
    """`preset` with the networks of a checkpoint; its generator, its discriminator if it has any.

    One of a single scene without a base layer may know the coarser levels only: it grows.

    Raises:
        CheckpointError: It cannot be read.
        ValueError: It is of a scene of another shape.
    """
    import torch

    from model.checkpoints import load_generator_space
    from model.growing import can_grow, grown, with_fewer_waves

    generator = load_generator_space(path, torch.device("cpu")).generator
    config, wanted = generator.config, preset.generator
    octaves = wanted.wave_octaves
    if octaves and can_grow(config) and octaves < (config.wave_octaves or math.inf):
        generator = with_fewer_waves(generator, octaves)
        config = generator.config
    highest = wanted.level_range[1]
    grows = can_grow(config) and config.level_range[1] < highest - _SAME
    if grows:
        generator = grown(generator, highest, preset.train.seed)
        config = generator.config
    same = {
        "patches of {} pixels": (config.patch_size, wanted.patch_size),
        "a field of {:.2f} to 1": (_aspect(config), _aspect(wanted)),
        "levels up to {:.2f}": (config.level_range[1], highest),
        "a base layer: {}": (config.base is not None, wanted.base is not None),
        "many scenes: {}": (config.z_dim > 0, wanted.z_dim > 0),
    }
    for text, (its, needed) in same.items():
        if abs(its - needed) > _SAME:
            raise ValueError(
                f"{path} has {text.format(its)}, this training {text.format(needed)}; start with "
                "new weights."
            )
    # What it knows is learned already: all speak at once, and of every octave.
    train = replace(preset.train, coarse_first=1.0)
    if train.adversarial_start < _NEVER:
        train = replace(train, adversarial_start=0.0)
    loss = replace(preset.loss, consistency_start=0.0, moments_start=0.0)
    preset = replace(preset, generator=config, loss=loss, train=train)
    if not grows:
        preset = annealed(preset)
    discriminator = None if grows else _discriminator_of(path, preset, tell)
    if discriminator is None:
        steps = max(train.warm_up_steps, _MEETING // (train.groups * train.group_size))
        preset = replace(preset, train=replace(preset.train, warm_up_steps=steps))
    return preset, generator, discriminator


def _aspect(config: GeneratorConfig) -> float:
    """Width over height."""
    width, height = config.field_size
    return width / height


def annealed(preset: Preset) -> Preset:
    """The preset for a scene that is trained already: what it gets wrong is detail.

    Slower, with octaves that agree harder and neighbourhoods that are held, before a discriminator
    that sees detail well. Of many scenes only the rates fall sooner: the rest was not tried there.
    """
    preset = replace(preset, train=replace(preset.train, fall_from=_ANNEALED_FROM))
    if preset.generator.z_dim:
        return preset
    loss = replace(preset.loss, marginals_weight=_ANNEALED_MARGINALS)
    if preset.generator.base is None:
        share = _ANNEALED_CONSISTENCY / _UNPLACED_CONSISTENCY
        loss = replace(loss, consistency_weight=share * loss.consistency_weight)
    else:
        loss = replace(loss, invented_consistency_weight=_ANNEALED_INVENTED_CONSISTENCY)
    train = replace(preset.train, adversarial_generator_lr=_ANNEALED_LR)
    discriminator = replace(preset.discriminator, detail_gain=_ANNEALED_DETAIL)
    return replace(preset, loss=loss, train=train, discriminator=discriminator)


def _discriminator_of(path: Path, preset: Preset, tell: Tell) -> Discriminator | None:
    """The discriminator that lies beside a checkpoint; None where there is none that fits."""
    from model.checkpoints import discriminator_beside, load_discriminator
    from model.discriminator import Discriminator
    from model.header import CheckpointError

    beside, g = discriminator_beside(path), preset.generator
    if not beside.exists():
        return None
    discriminator = Discriminator(preset.discriminator, g.patch_size, g.level_range)
    try:
        load_discriminator(beside, discriminator)
    except CheckpointError as error:
        tell(f"{error} A new one is trained.")
        return None
    return discriminator


def _open(
    recipe: Recipe,
    folder: Path,
    preset: Preset,
    data: dict[str, Any],
    report: Report,
    tell: Tell,
    ranks: Ranks,
    early: bool,
) -> tuple[RunData, Placing | None, float | None]:
    """What the trainer learns from, what goes on to place more, and the level known until then."""
    from model.data.patches import PatchCollection, open_data
    from model.pyramid import ImagePyramid
    from model.training_data import PictureData
    from model.training_sets import placed_data, unplaced_data
    from model.training_stages import Placing

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
        return PictureData(pyramid), None, None
    if data["crop"]:
        raise ValueError("--crop is for one large image; patches are taken whole.")
    with ExitStack() as opened:
        opened.enter_context(collection)
        exclude = frozenset(recipe.exclude or (data.get("exclude", ()) if recipe.resume else ()))
        if exclude:
            collection = collection.without(exclude)
        data["scenes"] = len(collection.scenes)
        if data.get("placement") == "none" or data["scenes"] > 1:
            aspect = float(data.get("aspect", 1.0))
            if aspect != 1 and data["scenes"] > 1:
                raise ValueError("--aspect is for patches of one scene; leave it out for many.")
            if data.get("placement") != "none":
                tell(f"{data['scenes']} scenes: places are not sought, of many at once.")
            return unplaced_data(collection, patch_size, report, tell, aspect), None, None
        known = recipe.resume or not ranks.is_first
        if early:
            begin = Placing.begin
            placing = begin(collection, folder, patch_size, cache, recipe.resume, report)
            if placing is not None:
                stage = placing.first()
                opened.pop_all()  # it is still read from
                data.setdefault("early", {"patches": stage.patches, "finest": stage.finest})
                return stage.data, placing, stage.finest
        source = placed_data(collection, folder, patch_size, cache, report, known, tell)
        return source, None, None
