"""Training data of any form: which patches there are, their labels, their pixels."""

from __future__ import annotations

import errno
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np
from PIL import Image

from model.data.images import ImageError, ImageInfo, decode_with_info
from model.data.labels import (
    DATASET_JSON,
    IMAGE_SUFFIXES,
    TEXT_SUFFIXES,
    Label,
    LabelTable,
    Problem,
    clean_name,
    duplicate_names,
    is_chunk,
    labels_of_csv,
    labels_of_json,
    name_key,
    octave_of,
    printable,
)
from model.data.large import LargeImage, find_large_image
from model.data.listing import FolderStorage, Storage, ZipStorage

__all__ = [
    "LargeImage",
    "Patch",
    "PatchCollection",
    "Problem",
    "UnfitError",
    "open_data",
    "open_patches",
    "read_excludes",
]

MAX_THREADS = 8
LEAST_PHOTOGRAPH_PX = 128
"""Shorter side from which a photograph without a level can find its place."""


class UnfitError(ImageError):
    """A picture that is no patch: not square, or too small."""


@dataclass(frozen=True)
class Patch:
    """One image of a training set, and what is known of it."""

    name: str
    """'/'-separated path inside the data set, unique in it."""
    level: float | None
    """log2_zoom, octaves; None: unknown."""
    center_xy: tuple[float, float] | None
    """Field units; None: unknown."""
    scene: str = ""
    """'' where there is one scene."""


class PatchCollection:
    """What a folder or zip of patches is, whatever its form. Safe to read from several threads."""

    def __init__(
        self,
        path: Path,
        storage: Storage,
        patches: tuple[Patch, ...],
        problems: tuple[Problem, ...],
        form: str,
        prefix: str = "",
    ) -> None:
        """Use `open_patches` or `open_data`."""
        self.path = path
        self.patches = patches
        """Sorted by name; labels applied; not yet decoded."""
        self.problems = problems
        """What listing and labels already showed."""
        self.form = form
        """'dataset.json', 'csv', 'octave folders', 'unlabelled', or several joined by ' + '."""
        self._storage = storage
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self.patches)

    def __enter__(self) -> PatchCollection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of an open zip."""
        self._storage.close()

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes, sorted; ('',) where there is one."""
        return tuple(sorted({patch.scene for patch in self.patches}))

    def read_bytes(self, index: int) -> bytes:
        """The file of patch `index` as it is stored, bounded.

        Raises:
            ImageError: It cannot be read; one line with its name.
        """
        name = self.patches[index].name
        try:
            return self._storage.read(self._prefix + name)
        except ImageError as error:
            raise ImageError(f"{printable(name)} {error}") from error

    def image(self, index: int) -> np.ndarray:
        """Patch `index`, uint8 [H, W, 3], upright sRGB, in its own size.

        Raises:
            ImageError: It gives no picture; one line with its name.
        """
        return self.decoded(index)[0]

    def decoded(self, index: int) -> tuple[np.ndarray, ImageInfo]:
        """Patch `index` as `image` gives it, and what its file says of itself."""
        data = self.read_bytes(index)
        try:
            return decode_with_info(data)
        except ImageError as error:
            raise ImageError(f"{printable(self.patches[index].name)} {error}") from error

    def images(
        self, indices: Sequence[int] | np.ndarray, patch_size: int, threads: int | None = None
    ) -> np.ndarray:
        """Many patches at once, uint8 [N, P, P, 3]; larger square ones are averaged to P.

        Args:
            indices: Which patches. [N].
            patch_size: P, pixels.
            threads: None takes one a core, at most 8.

        Raises:
            ImageError: One gives no picture.
            UnfitError: One is not square, or is smaller than P.
        """
        order = [int(index) for index in indices]
        out = np.empty((len(order), patch_size, patch_size, 3), np.uint8)

        def fill(begin: int, end: int) -> None:
            for slot in range(begin, end):
                out[slot] = self._fitted(order[slot], patch_size)

        if threads is None:
            threads = min(MAX_THREADS, os.cpu_count() or 1)
        if threads < 2 or len(order) < 2 * threads:
            fill(0, len(order))
            return out
        bounds = np.linspace(0, len(order), threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads, "patches") as pool:
            for done in [pool.submit(fill, a, b) for a, b in zip(bounds, bounds[1:])]:
                done.result()
        return out

    def without(self, names: Collection[str]) -> PatchCollection:
        """The same collection less the patches of these names; it shares the open files."""
        left = tuple(patch for patch in self.patches if patch.name not in names)
        return self._with(left, self.problems, self.form)

    def with_labels(self, path: Path) -> PatchCollection:
        """The same patches, labelled by a CSV elsewhere (what `place` wrote) and by it alone.

        Raises:
            ValueError: The file labels no patch of this collection.
            OSError: It cannot be read.
        """
        table = labels_of_csv(path.read_bytes(), path.name)
        labels, problems = _match(table, [patch.name for patch in self.patches], path.name)
        if not labels:
            reason = problems[0].message if problems else "it is empty."
            raise ValueError(f"{path} labels no patch of {self.path}: {reason}")
        patches = tuple(
            Patch(p.name, label.level, label.center_xy, label.scene or p.scene)
            for p in self.patches
            for label in [labels.get(p.name, Label())]
        )
        return self._with(patches, (*self.problems, *problems), "csv")

    def _with(
        self, patches: tuple[Patch, ...], problems: tuple[Problem, ...], form: str
    ) -> PatchCollection:
        return PatchCollection(self.path, self._storage, patches, problems, form, self._prefix)

    def _fitted(self, index: int, size: int) -> np.ndarray:
        pixels = self.image(index)
        height, width = pixels.shape[:2]
        if (width, height) == (size, size):
            return pixels
        if width != height or width < size:
            raise UnfitError(
                f"{printable(self.patches[index].name)} has {width} x {height} px; a patch must be "
                f"square and have at least {size} x {size} px; exclude it."
            )
        shrunk = Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX)
        return np.asarray(shrunk)


def open_data(path: str | os.PathLike[str]) -> PatchCollection | LargeImage:
    """What `path` is: a folder or zip of patches, one large image, or a Zoomify or DZI pyramid.

    Raises:
        ValueError: It is none of them, or its zip, image or pyramid is damaged; one line.
        OSError: It does not exist or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.is_file():
        with path.open("rb") as file:
            if path.suffix.lower() == ".zip" or file.read(4) in (b"PK\3\4", b"PK\5\6"):
                return open_patches(path)
    return find_large_image(path) or open_patches(path)


def open_patches(path: Path) -> PatchCollection:
    """List the patches of a folder or zip and apply their labels; decodes nothing.

    Raises:
        ValueError: A file that is no zip.
        OSError: It does not exist or cannot be read at all.
    """
    storage: Storage = FolderStorage(path) if path.is_dir() else ZipStorage(path)
    prefix = _common_folder(storage.names)
    reader = _Reader(storage, prefix)
    reader.read_all()
    problems = tuple(storage.problems + reader.problems)
    form = " + ".join(sorted(reader.forms)) or "unlabelled"
    return PatchCollection(path, storage, tuple(reader.patches), problems, form, prefix)


def read_excludes(path: Path) -> frozenset[str]:
    """Names of patches to leave out: one a line, '#' begins a comment, UTF-8.

    Raises:
        ValueError: The file is no UTF-8 text.
        OSError: It cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; write one name a line.") from error
    names = (clean_name(line) for line in lines if line.strip() and not line.startswith("#"))
    return frozenset(name for name in names if name is not None)


class _Reader:
    """Finds out which form each folder has, and makes the patches."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix
        self.patches: list[Patch] = []
        self.problems: list[Problem] = []
        self.forms: set[str] = set()
        names = [n.removeprefix(prefix) for n in storage.names if n.startswith(prefix)]
        self._images = []
        self._tables: dict[str, list[str]] = defaultdict(list)
        for name in names:
            suffix = PurePosixPath(name).suffix.lower()
            folder, slash, last = name.rpartition("/")
            if suffix in IMAGE_SUFFIXES:
                self._images.append(name)
            elif last == DATASET_JSON or suffix == ".csv":
                self._tables[folder + slash].append(name)
            elif suffix not in TEXT_SUFFIXES:
                self._problem(
                    name,
                    "no image",
                    "is no image by its name and is left out; convert it to PNG or remove it.",
                )

    def read_all(self) -> None:
        """Fill `patches` and `problems`."""
        scenes = self._scene_folders()
        if scenes:
            for scene, images in scenes.items():
                self._read_folder(f"{scene}/", scene, images)
        else:
            self._read_folder("", "", self._images)
        if len({patch.scene for patch in self.patches}) == 1:
            self.patches = [Patch(p.name, p.level, p.center_xy) for p in self.patches]
        self.patches.sort(key=lambda patch: patch.name)
        self.problems += duplicate_names(self._images)
        if not self._images:
            self._problem(
                ".", "no images", "holds no image; give the folder or zip with the patches in it."
            )

    def _scene_folders(self) -> dict[str, list[str]]:
        """Images by top folder, where each is a scene: no labels and no images beside them."""
        folders: dict[str, list[str]] = defaultdict(list)
        for name in self._images:
            folders[name.partition("/")[0] if "/" in name else ""].append(name)
        plain = {f for f in folders if not f or is_chunk(f) or octave_of(f) is not None}
        return {} if plain or self._tables.get("") else folders

    def _read_folder(self, folder: str, scene: str, images: list[str]) -> None:
        table, source = self._labels(folder)
        if table is not None:
            self._apply(table, source, folder, images, scene)
            return
        inner = {name: name[len(folder) :].partition("/") for name in images}
        levels = {name: octave_of(part[0]) for name, part in inner.items() if part[1]}
        found = any(level is not None for level in levels.values())
        self.forms.add("octave folders" if found else "unlabelled")
        for name in images:
            level = levels.get(name)
            if found and level is None:
                self._problem(name, "no label", "lies in no octave's folder; move it into one.")
            self.patches.append(Patch(name, level, None, scene))

    def _labels(self, folder: str) -> tuple[LabelTable | None, str]:
        """The labels of `folder`, of the first file there that has any."""
        used: LabelTable | None = None
        source = ""
        files = sorted(self._tables.get(folder, []), key=_label_rank)
        for name in files:
            if used is not None:
                self._problem(
                    name,
                    "labels not used",
                    f"is not read, because {source} has the labels; remove one of them.",
                )
                continue
            try:
                data = self._storage.read(self._prefix + name)
            except ImageError as error:
                self._problem(name, "bad labels", str(error))
                continue
            table = (labels_of_csv if name.lower().endswith(".csv") else labels_of_json)(data, name)
            if table.labels:
                used, source = table, name
            else:
                self.problems += table.problems
        return used, source

    def _apply(
        self, table: LabelTable, source: str, folder: str, images: list[str], scene: str
    ) -> None:
        self.forms.add("dataset.json" if source.endswith(".json") else "csv")
        labels, problems = _match(table, [n[len(folder) :] for n in images], source)
        self.problems += problems
        chosen = {n: labels.get(n[len(folder) :]) for n in images}
        for name, label in chosen.items():
            if label is None:
                self._problem(name, "no label", f"is not named in {source}; add its log2_zoom.")
            # A folder names a scene by its labelled files: an overview in one is no scene.
            own = "" if label is None else label.scene or scene or _folder_scene(name)
            label = label or Label()
            self.patches.append(Patch(name, label.level, label.center_xy, own))

    def _problem(self, name: str, kind: str, message: str) -> None:
        self.problems.append(Problem(printable(name), kind, message))


def _label_rank(name: str) -> tuple[bool, bool, str]:
    """dataset.json before labels.csv before other tables."""
    return name.lower().endswith(".csv"), not name.lower().endswith("labels.csv"), name


def _folder_scene(name: str) -> str:
    """The scene that the first folder of a labelled file names; '' for chunks and octaves."""
    folder, slash, _ = name.partition("/")
    return "" if not slash or is_chunk(folder) or octave_of(folder) is not None else folder


def _match(
    table: LabelTable, names: Iterable[str], source: str
) -> tuple[dict[str, Label], list[Problem]]:
    """The labels of `table` by the names of files that are there, and all that is wrong."""
    there = dict.fromkeys(names)
    count = Counter(name_key(name) for name in there)
    by_key = {key: name for name in there if count[key := name_key(name)] == 1}
    labels: dict[str, Label] = {}
    problems = list(table.problems)
    for written, label in table.labels.items():
        name = written if written in there else by_key.get(name_key(written))
        if name is None:
            problems.append(
                Problem(
                    printable(written),
                    "missing file",
                    f"is labelled in {source}, and there is no such image; copy it there or remove "
                    "the line.",
                )
            )
        else:
            labels.setdefault(name, label)
    return labels, problems


def _common_folder(names: Sequence[str]) -> str:
    """'top/' where all lies in one folder that means nothing, as zips are often packed."""
    prefix = ""
    while names:
        rest = {name[len(prefix) :].partition("/")[:2] for name in names}
        (folder, slash), *more = rest
        if more or not slash or octave_of(folder) is not None or is_chunk(folder):
            break
        prefix += f"{folder}/"
    return prefix
