"""What the doctor says: from the listing, the scan and the labels to findings with advice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from model.data.doctor_duplicates import joined
from model.data.doctor_scan import Scan
from model.data.doctor_spectrum import NUM_BANDS, SpectrumVerdict, judge
from model.data.labels import Problem, clean_name, printable
from model.data.patches import Patch, PatchCollection
from model.data.report import (
    ERROR,
    NOTE,
    SEVERITIES,
    WARNING,
    Count,
    Finding,
    Item,
    Octave,
    PatchFacts,
)

BLANK_SPREAD = 1.0
"""Grey levels of standard deviation below which a patch shows nothing."""
CLIPPED_SHARE = 0.5
"""Share of black or white pixels from which a patch is called clipped."""
LABELS_DIFFER = {"exact": 0.05, "near": 0.5}
"""Octaves by which labels of equal, and of nearly equal pictures may differ."""
_SAME_VIEW = 0.002
"""Octaves within which nearly equal pictures are one view, coded twice; others are two views."""
LEAST_COVERAGE = 1.5
"""How often an octave should cover the picture for every place to be seen."""
_WHOLE_LEVEL = 0.5
"""A patch at or below this level anchors all others."""

_LISTED = {
    "no label": (WARNING, "Images without a level.", "Label them, or leave them to be placed."),
    "bad label": (WARNING, "Labels that are no level.", "Mend the labels; the images are kept."),
    "bad place": (WARNING, "Places that are no places.", "Mend them; the levels are used."),
    "bad labels": (ERROR, "Label files that cannot be read.", "Mend the file; see the line."),
    "labelled twice": (WARNING, "Images with two labels.", "Keep one line for each image."),
    "labels not used": (WARNING, "More than one label file.", "Keep one."),
    "places of photographs": (
        NOTE,
        "Tables of where photographs lie, no labels.",
        "Nothing: photographs are placed anew.",
    ),
    "missing file": (WARNING, "Labels without an image.", "Copy the images, or cut the lines."),
    "duplicate name": (
        WARNING,
        "Names that clash on some systems, or stand in a zip twice.",
        "Rename one of each.",
    ),
    "no image": (NOTE, "Files that are no images by their name.", "Convert or remove them."),
    "no images": (ERROR, "There is no image here.", "Give the folder or zip with the patches."),
    "unreadable folder": (ERROR, "Folders that cannot be listed.", "Check their permissions."),
    "link loop": (WARNING, "Links to folders that are listed already.", "Remove the links."),
    "broken link": (ERROR, "Links that lead nowhere or to no file.", "Mend or remove them."),
    "no file": (WARNING, "Pipes, sockets or devices.", "Remove them."),
    "bad name": (ERROR, "Names that are no valid text.", "Rename the files."),
    "name leaves the data set": (ERROR, "Names that lead out.", "Use plain names inside the set."),
    "encrypted": (ERROR, "Encrypted files.", "Pack them without a password."),
    "zip bomb": (ERROR, "Files that unpack to absurd sizes.", "Remove them."),
}
"""What listing and labels call their problems: severity, title, advice."""


class Findings:
    """Collects findings and the names for the exclude list."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches
        self._found: list[Finding] = []
        self.excluded: set[str] = set()

    def add(
        self,
        kind: str,
        severity: str,
        title: str,
        advice: str,
        items: Iterable[Item],
        excluded: bool = False,
    ) -> None:
        """Add a finding unless it has no item."""
        found = tuple(items)
        if found:
            self._found.append(Finding(kind, severity, title, advice, found, excluded))

    def add_patches(
        self,
        kind: str,
        severity: str,
        title: str,
        advice: str,
        messages: dict[int, str],
        excluded: bool = False,
    ) -> None:
        """Add a finding about patches, by their index; `excluded` puts them on the list."""
        names = [(self._patches[index].name, message) for index, message in messages.items()]
        if excluded:
            self.excluded |= {name for name, _ in names}
        items = [Item(printable(name), message) for name, message in sorted(names)]
        self.add(kind, severity, title, advice, items, excluded)

    def sorted(self) -> tuple[Finding, ...]:
        """All findings, errors first, then by kind."""
        key = {severity: rank for rank, severity in enumerate(SEVERITIES)}
        return tuple(sorted(self._found, key=lambda f: (key[f.severity], f.kind)))


def add_listing(found: Findings, problems: Iterable[Problem]) -> None:
    """What listing and labels already showed."""
    by_kind: dict[str, list[Item]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(Item(problem.name, problem.message))
    for kind, items in by_kind.items():
        known = (WARNING, f"{kind.capitalize()}.", "See each line.")
        severity, title, advice = _LISTED.get(kind, known)
        key = kind.replace(" ", "-")
        found.add(key, severity, title, advice, sorted(items, key=lambda i: (i.name, i.message)))


def add_files(found: Findings, collection: PatchCollection, scan: Scan) -> None:
    """Unreadable files, sizes, and modes that were converted."""
    names = [printable(patch.name) for patch in collection.patches]
    found.add_patches(
        "unreadable",
        ERROR,
        "Files that give no picture.",
        "Copy or save them again, or train without them: they are on the exclude list.",
        {i: text.removeprefix(f"{names[i]} ") for i, text in scan.failures.items()},
        excluded=True,
    )
    size, least = scan.patch_size, scan.least
    small: dict[int, str] = {}
    oblong: dict[int, str] = {}
    larger: dict[int, str] = {}
    for index in np.flatnonzero(scan.read).tolist():
        width, height = scan.sizes[index].tolist()
        text = f"has {width} x {height} px"
        if min(width, height) < least:
            small[index] = f"{text}, at least {least} x {least} are needed; save it larger."
        elif scan.photographs:
            continue
        elif width != height:
            oblong[index] = f"{text}; cut a square from it, or exclude it."
        elif width > size:
            larger[index] = f"{text}; training sees it averaged to {size} px."
    found.add_patches(
        "too-small",
        ERROR,
        f"Photographs of less than {least} px a side, too small to find a place."
        if scan.photographs
        else f"Images smaller than the {least} px that training needs.",
        f"Exclude them, or give photographs of {least} px or more a side."
        if scan.photographs
        else "Exclude them, or save them larger.",
        small,
        excluded=True,
    )
    found.add_patches(
        "not-square",
        ERROR,
        "Images that are no square patches.",
        "Cut squares from them, or exclude them.",
        oblong,
        excluded=True,
    )
    found.add_patches(
        "larger",
        NOTE,
        f"Patches larger than {size} px; their level counts for the averaged patch.",
        "Nothing, if the labels mean the whole patch.",
        larger,
    )
    _add_modes(found, scan)
    odd = {i: "rename it." for i, patch in enumerate(collection.patches) if not _listable(patch)}
    found.add_patches(
        "odd-name",
        WARNING,
        "Names that no list can hold: line breaks, spaces at an end, or a leading '#'.",
        "Rename the files, or the exclude list cannot name them.",
        odd,
    )


def _listable(patch: Patch) -> bool:
    """Whether a line of the exclude list can name this patch."""
    name = patch.name
    one_line = name.splitlines() == [name] and not name.startswith("#")
    return one_line and clean_name(name) == name


def _add_modes(found: Findings, scan: Scan) -> None:
    """Files whose pixels were changed on reading."""
    kinds: dict[str, dict[int, str]] = defaultdict(dict)
    for index, info in scan.infos.items():
        if info.frames > 1:
            kinds["animated"][index] = f"has {info.frames} frames or pages, the first is taken."
        if "alpha" in info.mode:
            kinds["transparent"][index] = f"is {info.mode}; it was laid on white."
        if info.bits > 8:
            kinds["deep"][index] = f"has {info.bits} bits a value; 8 are kept."
        if info.turned:
            kinds["turned"][index] = "asks to be turned or mirrored (EXIF), and was."
        if info.mode.split(" +")[0] not in ("RGB", "grey", "palette"):
            kinds["colours"][index] = f"is {info.mode}; it was converted to sRGB."
    texts = {
        "animated": ("Animations and files of several pages.", "Save each picture by itself."),
        "transparent": ("Transparent images.", "Save them on the ground that they should have."),
        "deep": ("More than 8 bits.", "Keep them as they are: the generator works in 8 bits."),
        "turned": ("Images that are turned on reading.", "Look whether they stand upright."),
        "colours": ("Colour spaces other than RGB.", "Look at the colours; or save as sRGB."),
    }
    for kind, messages in sorted(kinds.items()):
        severity = WARNING if kind in ("animated", "transparent") else NOTE
        found.add_patches(kind, severity, *texts[kind], messages)


def add_content(found: Findings, scan: Scan) -> np.ndarray:
    """Blank and clipped patches; returns which are blank, bool [N]."""
    blank = scan.read & (scan.spread < BLANK_SPREAD)
    found.add_patches(
        "blank",
        WARNING,
        f"Patches of one colour (standard deviation below {BLANK_SPREAD:g} of 255).",
        "They have no place and teach nothing; take their lines from the exclude list if the "
        "picture really has such areas.",
        {i: f"varies by {scan.spread[i]:.2f} of 255." for i in np.flatnonzero(blank).tolist()},
        excluded=True,
    )
    clipped = scan.read & ~blank & (scan.clipped > CLIPPED_SHARE)
    found.add_patches(
        "clipped",
        WARNING,
        f"More than {CLIPPED_SHARE:.0%} of the pixels are black or white.",
        "Expose them again if the picture is not like that; they are not excluded.",
        {
            i: f"is black or white in {scan.clipped[i]:.0%} of its pixels."
            for i in np.flatnonzero(clipped).tolist()
        },
    )
    return np.asarray(blank)


def _apart(patches: Sequence[Patch], group: Sequence[int] | np.ndarray) -> float:
    """How far the known levels of a group are apart, octaves."""
    levels = [level for i in group if (level := patches[int(i)].level) is not None]
    return max(levels) - min(levels) if levels else 0.0


def add_duplicates(
    found: Findings,
    patches: Sequence[Patch],
    exact: list[list[int]],
    near: np.ndarray,
    keep_near: bool,
) -> None:
    """Patches that show the same; one of each group is kept, or all with `keep_near`.

    Args:
        found: Gets what is found.
        patches: All of them.
        exact: Groups of equal pixels.
        near: Pairs of nearly equal ones, int64 [M, 2]. From one pair to the next a zoom goes on:
            its levels are not held against each other.
        keep_near: Of photographs of one thing there are many.
    """
    messages: dict[str, dict[int, str]] = {"exact": {}, "near": {}, "unlike": {}}
    unlike = np.array([_apart(patches, pair) > LABELS_DIFFER["near"] for pair in near], bool)
    groups = [("exact", group, _apart(patches, group) > LABELS_DIFFER["exact"]) for group in exact]
    groups += [("near", pair.tolist(), True) for pair in near[unlike]]
    groups += [("near", group, False) for group in joined(near[~unlike])]
    for kind, group, is_wrong in groups:
        first = printable(patches[group[0]].name)
        same = "the same pixels as" if kind == "exact" else "nearly the same pixels as"
        if is_wrong:
            for index in group:
                other = first if index != group[0] else printable(patches[group[1]].name)
                messages["unlike"][index] = (
                    f"has {same} {other}, and another level; keep the one whose level is right."
                )
        else:
            for index in group[1:]:
                if kind == "near" and not _same_level(patches[index], patches[group[0]]):
                    continue
                messages[kind][index] = f"has {same} {first}; remove one."
    found.add_patches(
        "exact-duplicate",
        WARNING,
        "Equal pixels, the first by name is kept. Certain.",
        "Train without them: they are on the exclude list.",
        messages["exact"],
        excluded=True,
    )
    found.add_patches(
        "near-duplicate",
        WARNING,
        "The same picture coded twice, or with a little noise or light added, and no other "
        "level. Likely.",
        "Look at them." if keep_near else "Train without them: they are on the exclude list.",
        messages["near"],
        excluded=not keep_near,
    )
    found.add_patches(
        "duplicate-unlike-labels",
        WARNING,
        "The same picture with levels that are far apart: one is wrong.",
        "Mend the labels; until then all of them are on the exclude list.",
        messages["unlike"],
        excluded=True,
    )


def _same_level(one: Patch, two: Patch) -> bool:
    """Whether labels allow that both are the same view."""
    return one.level is None or two.level is None or abs(one.level - two.level) <= _SAME_VIEW


def add_spectrum(found: Findings, patches: Sequence[Patch], scan: Scan, skip: np.ndarray) -> None:
    """Labels that contradict content, as far as a spectrum can tell; `skip` bool [N]."""
    levels = np.array([np.nan if p.level is None else p.level for p in patches], float)
    judged = np.flatnonzero(scan.fits & ~skip & np.isfinite(levels))
    if scan.photographs or not len(judged) or scan.patch_size < 4 * NUM_BANDS:
        return
    verdict: SpectrumVerdict = judge(scan.bands[judged], levels[judged])
    found.add_patches(
        "soft",
        WARNING,
        "No detail at the fine end, unlike the other patches of their level: magnified, out of "
        "focus, or labelled finer than they are. Likely: of patches magnified twice 87 in 100 are "
        "found, and no sharp one in 3,000 was. A sharp patch with a wrong level is not found.",
        "Train without them: they are on the exclude list. Look at a few first.",
        {
            int(judged[i]): f"is labelled {levels[judged[i]]:.2f}; its detail ends about "
            f"{octaves:g} octaves too early; check the label, or exclude it."
            for i, octaves in verdict.soft.items()
        },
        excluded=True,
    )
    found.add_patches(
        "harsh",
        NOTE,
        "Far more fine detail than the other patches of their level: noise, text, "
        "over-sharpening, or reduced without averaging. Possible, no more.",
        "Look at them; they are not excluded.",
        {int(judged[i]): "stands out in its octave; look at it." for i in verdict.sharp},
    )
    found.add(
        "empty-octave",
        WARNING,
        "Octaves whose patches hold no detail of their own, in the median: their source was "
        "magnified, or is not as sharp as the labels say. Likely.",
        "Train with --levels that end below them, or take a finer source.",
        [
            Item(f"octave {octave}", f"{count:,} patches that are soft in the median.")
            for octave, count in sorted(verdict.empty_octaves.items())
        ],
    )


def add_octaves(found: Findings, patches: Sequence[Patch], octaves: Sequence[Octave]) -> None:
    """Gaps and thin octaves, where patches of one scene have yet to find their places."""
    if not octaves or len({patch.scene for patch in patches}) > 1:
        return
    if all(patch.center_xy is not None for patch in patches if patch.level is not None):
        return
    found.add(
        "octave-gap",
        WARNING,
        "Octaves without a patch, between others.",
        "Add patches there: placement goes from coarse to fine and may not cross the gap.",
        [Item(f"octave {o.octave}", "has no patch.") for o in octaves if not o.count],
    )
    found.add(
        "thin-octave",
        NOTE,
        f"Octaves that cover a square picture less than {LEAST_COVERAGE:g} times.",
        "Add patches, or expect bare places there; a wider picture needs more still.",
        [
            Item(
                f"octave {o.octave}",
                f"{o.count:,} patches cover it {o.coverage:.2f} times; about "
                f"{round(o.count * (LEAST_COVERAGE / o.coverage - 1)):,} more would do.",
            )
            for o in octaves
            if o.count and o.coverage < LEAST_COVERAGE
        ],
    )
    coarsest = min(patch.level for patch in patches if patch.level is not None)
    if coarsest > _WHOLE_LEVEL:
        text = "is the coarsest, and level 0 shows the picture's shorter side; add a patch of 0."
        found.add(
            "no-anchor",
            WARNING,
            "No patch shows the whole picture.",
            "Add one, or placement builds the coarsest view from its parts.",
            [Item(f"level {coarsest:.2f}", text)],
        )


def add_training(found: Findings, patches: Sequence[Patch], scan: Scan) -> None:
    """What no preset can train on, however good each file is; after all that excludes any."""
    kept = [patch for patch in patches if patch.name not in found.excluded]
    scenes = sorted({patch.scene for patch in kept})
    labelled = [patch for patch in kept if patch.level is not None]
    levels = {patch.level for patch in labelled}
    if len(serving := kept if scan.photographs else labelled) == 1:
        found.add(
            "too-few",
            ERROR,
            "One image is left: it has no other to be placed by.",
            "Add images that show parts of it; or train on the file itself, as one large image.",
            [Item(printable(serving[0].name), "is the only one.")],
        )
    if len(scenes) > 1 and not levels:
        found.add(
            "no-level",
            ERROR,
            "Many scenes, and no image with a level: places are sought in one scene alone.",
            "Label the images with their log2_zoom, or train on the folder of one scene.",
            [Item(printable(scene), "has no image with a level; label some.") for scene in scenes],
        )
    if len(scenes) > 1 and len(levels) == 1:
        found.add(
            "one-level",
            ERROR,
            "Many scenes, and every image has the same level: there is nothing to zoom through.",
            "Add images of other levels, or mend the labels.",
            [Item(f"level {levels.pop():g}", "is the only one; at least two are needed.")],
        )


def octaves_of(patches: Iterable[Patch]) -> tuple[Octave, ...]:
    """The histogram over octaves, gaps included."""
    counts: Counter[int] = Counter()
    areas: dict[int, float] = defaultdict(float)
    for patch in patches:
        if patch.level is not None:
            octave = int(np.floor(patch.level))
            counts[octave] += 1
            areas[octave] += 4.0**-patch.level
    if not counts:
        return ()
    every = range(min(counts), max(counts) + 1)
    return tuple(Octave(o, counts[o], round(areas[o], 6)) for o in every)


def facts_of(
    collection: PatchCollection, scan: Scan, octaves: tuple[Octave, ...], excluded: set[str]
) -> PatchFacts:
    """The numbers at the head of the report."""
    patches = collection.patches
    sizes = Counter(f"{w} x {h}" for w, h in scan.sizes[scan.read].tolist())
    return PatchFacts(
        num_listed=len(patches),
        num_checked=int(scan.checked.sum()),
        num_read=int(scan.read.sum()),
        num_usable=sum(patch.name not in excluded for patch in patches),
        num_trainable=sum(
            patch.name not in excluded and (scan.photographs or patch.level is not None)
            for patch in patches
        ),
        num_labelled=sum(patch.level is not None for patch in patches),
        num_placed=sum(p.level is not None and p.center_xy is not None for p in patches),
        num_scenes=len(collection.scenes),
        patch_size=scan.patch_size,
        photographs=scan.photographs,
        octaves=octaves,
        sizes=_ranked(sizes),
        modes=_ranked(scan.modes),
    )


def _ranked(counts: Counter[str]) -> tuple[Count, ...]:
    """Most frequent first, then by name."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Count(what, count) for what, count in ranked)
