"""One set of patches in every form is one collection; what is wrong is found, nothing raises."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data import listing
from model.data.images import ImageError
from model.data.patches import Patch, PatchCollection, open_data, open_patches, read_excludes

LEVELS = {"000000.png": 0.0, "000001.png": 2.5, "000002.png": 1.0, "000003.png": 2.5}
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")


def pixels(seed: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def png(seed: int, size: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed, size)).save(stream, "PNG")
    return stream.getvalue()


PNGS = {name: png(seed) for seed, name in enumerate(LEVELS)}


def fill(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def pack(path: Path, files: dict[str, bytes | str], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def dataset_json(levels: dict[str, float], as_lists: bool = False) -> str:
    return json.dumps({"labels": [[n, [v] if as_lists else v] for n, v in levels.items()]})


def labels_csv(levels: dict[str, float], delimiter: str = ",") -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerow(["file", "log2_zoom"])
    for name, value in levels.items():
        writer.writerow([name, str(value).replace(".", "," if delimiter == ";" else ".")])
    return stream.getvalue()


def kinds(data: PatchCollection) -> list[tuple[str, str]]:
    for problem in data.problems:
        assert problem.message.endswith(".") and "\n" not in problem.message
    return sorted((problem.name, problem.kind) for problem in data.problems)


def opened(path: Path) -> PatchCollection:
    data = open_data(path)
    assert isinstance(data, PatchCollection)
    return data


FORMS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda d: fill(d / "a", {**PNGS, "dataset.json": dataset_json(LEVELS)}),
    "lists": lambda d: fill(d / "a", {**PNGS, "dataset.json": dataset_json(LEVELS, True)}),
    "zip": lambda d: pack(d / "a.zip", {**PNGS, "dataset.json": dataset_json(LEVELS)}),
    "zip of the folder": lambda d: pack(
        d / "a.zip",
        {f"a/{n}": c for n, c in {**PNGS, "dataset.json": dataset_json(LEVELS)}.items()},
    ),
    "deflated zip, other name": lambda d: pack(
        d / "data", {**PNGS, "dataset.json": dataset_json(LEVELS)}, zipfile.ZIP_DEFLATED
    ),
    "csv": lambda d: fill(d / "a", {**PNGS, "labels.csv": labels_csv(LEVELS)}),
    "csv of Excel": lambda d: fill(
        d / "a", {**PNGS, "some.csv": "\ufeff" + labels_csv(LEVELS, ";")}
    ),
    "csv in a zip": lambda d: pack(d / "a.zip", {**PNGS, "x.csv": labels_csv(LEVELS)}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_set_in_every_form(tmp_path: Path, form: str) -> None:
    with opened(FORMS[form](tmp_path)) as data:
        assert data.patches == tuple(Patch(n, v, None) for n, v in LEVELS.items())
        assert data.problems == ()
        assert data.form == ("csv" if "csv" in form else "dataset.json")
        for index, name in enumerate(LEVELS):
            assert data.read_bytes(index) == PNGS[name]
            np.testing.assert_array_equal(data.image(index), pixels(index))


@pytest.mark.parametrize("pattern", ["{:g}", "octave-{:g}", "level_{:g}", "zoom{:g}"])
@pytest.mark.parametrize("zipped", [False, True])
def test_folders_named_by_octave(tmp_path: Path, pattern: str, zipped: bool) -> None:
    files = {f"{pattern.format(LEVELS[n])}/{n}": content for n, content in PNGS.items()}
    data = opened(pack(tmp_path / "a.zip", files) if zipped else fill(tmp_path / "a", files))
    found = {patch.name.rpartition("/")[2]: patch.level for patch in data.patches}
    assert (found, data.problems, data.form) == (LEVELS, (), "octave folders")
    data.close()


def test_folders_of_many_files_mean_nothing(tmp_path: Path) -> None:
    levels = {f"0000{i}/{n}": v for i, (n, v) in enumerate(LEVELS.items())}
    files = {name: PNGS[name[6:]] for name in levels}
    data = opened(fill(tmp_path, {**files, "dataset.json": dataset_json(levels)}))
    assert data.patches == tuple(Patch(n, v, None) for n, v in levels.items())
    assert data.scenes == ("",) and data.problems == ()


def test_one_octave_keeps_its_level(tmp_path: Path) -> None:
    data = opened(fill(tmp_path, {"2/a.png": PNGS["000000.png"]}))
    assert data.patches == (Patch("2/a.png", 2.0, None),)


def test_scenes_by_folder_each_in_a_form_of_its_own(tmp_path: Path) -> None:
    image = PNGS["000000.png"]
    files: dict[str, bytes | str] = {
        "moon/a.png": image,
        "moon/dataset.json": dataset_json({"a.png": 1}),
        "spain/a.png": image,
        "spain/x.csv": labels_csv({"a.png": 2}),
        "sun/octave-3/a.png": image,
        "new/a.png": image,
    }
    data = opened(fill(tmp_path, files))
    assert data.patches == (
        Patch("moon/a.png", 1.0, None, "moon"),
        Patch("new/a.png", None, None, "new"),
        Patch("spain/a.png", 2.0, None, "spain"),
        Patch("sun/octave-3/a.png", 3.0, None, "sun"),
    )
    assert data.scenes == ("moon", "new", "spain", "sun") and data.problems == ()
    assert data.form == "csv + dataset.json + octave folders + unlabelled"


def test_scenes_by_the_names_in_one_label_file(tmp_path: Path) -> None:
    image = PNGS["000000.png"]
    levels = {"moon/a.png": 1.0, "sun/a.png": 2.0}
    files = dict.fromkeys(levels, image)
    data = opened(fill(tmp_path / "a", {**files, "dataset.json": dataset_json(levels)}))
    assert [(p.level, p.scene) for p in data.patches] == [(1.0, "moon"), (2.0, "sun")]
    text = "file,log2_zoom,scene\nmoon/a.png,1,A\nsun/a.png,2,\n"
    data = opened(fill(tmp_path / "b", {**files, "labels.csv": text}))
    assert [(p.level, p.scene) for p in data.patches] == [(1.0, "A"), (2.0, "sun")]


def test_an_overview_without_a_label_is_no_scene(tmp_path: Path) -> None:
    """With two scenes the patches would not be placed."""
    files = {**PNGS, "overview/whole.png": PNGS["000000.png"]}
    data = opened(fill(tmp_path / "a", {**files, "dataset.json": dataset_json(LEVELS)}))
    assert data.scenes == ("",)
    assert ("overview/whole.png", "no label") in kinds(data)


def test_places_are_read(tmp_path: Path) -> None:
    text = "file,log2_zoom,x,y,scene,status\na.png,1,0.25,-0.5,,placed\nb.png,2,,,,refused\n"
    files = {"a.png": png(0), "b.png": png(1), "places.csv": text}
    data = opened(fill(tmp_path, files))
    assert [p.center_xy for p in data.patches] == [(0.25, -0.5), None]
    assert data.problems == ()


def test_unlabelled_patches(tmp_path: Path) -> None:
    data = opened(fill(tmp_path, dict(PNGS)))
    assert data.patches == tuple(Patch(n, None, None) for n in LEVELS)
    assert (data.form, data.problems) == ("unlabelled", ())


def test_labels_elsewhere_replace_the_own(tmp_path: Path) -> None:
    data = opened(FORMS["folder"](tmp_path))
    text = "file,log2_zoom,x,y\n000000.png,0.125,0,0.5\n000003.png,2,,\nnone.png,1,0,0\n"
    (tmp_path / "places.csv").write_text(text)
    placed = data.with_labels(tmp_path / "places.csv")
    assert placed.patches == (
        Patch("000000.png", 0.125, (0.0, 0.5)),
        Patch("000001.png", None, None),
        Patch("000002.png", None, None),
        Patch("000003.png", 2.0, None),
    )
    assert kinds(placed) == [("none.png", "missing file")]
    np.testing.assert_array_equal(placed.image(2), pixels(2))
    (tmp_path / "other.csv").write_text("file,log2_zoom\nnone.png,1\n")
    with pytest.raises(ValueError, match="labels no patch"):
        data.with_labels(tmp_path / "other.csv")


def test_every_fault_of_labels_is_found(tmp_path: Path) -> None:
    content = {
        "labels": [
            ["000000.png", float("nan")],
            ["000001.png", 1e9],
            ["000002.png", 2],
            ["gone.png", 1],
            ["../secret.png", 1],
            ["000002.png", 3],
        ]
    }
    files = {**PNGS, "dataset.json": json.dumps(content), "labels.csv": labels_csv(LEVELS)}
    data = opened(fill(tmp_path, files))
    assert [patch.level for patch in data.patches] == [None] * 4
    assert kinds(data) == [
        ("../secret.png", "name leaves the data set"),
        ("000000.png", "bad label"),
        ("000001.png", "bad label"),
        ("000002.png", "labelled twice"),
        ("000003.png", "no label"),
        ("gone.png", "missing file"),
        ("labels.csv", "labels not used"),
    ]


def test_labels_that_cannot_be_used_leave_the_next_form(tmp_path: Path) -> None:
    files = {**PNGS, "dataset.json": "{", "labels.csv": labels_csv(LEVELS)}
    data = opened(fill(tmp_path / "a", files))
    assert {p.name: p.level for p in data.patches} == LEVELS and data.form == "csv"
    assert kinds(data) == [("dataset.json", "bad labels")]
    data = opened(fill(tmp_path / "b", {"1/a.png": png(0), "dataset.json": '{"labels": null}'}))
    assert data.patches == (Patch("1/a.png", 1.0, None),)


def test_names_that_differ_in_unicode_form_only_are_matched(tmp_path: Path) -> None:
    name = "caf\u00e9 画.png"
    other = unicodedata.normalize("NFD", name)
    data = opened(
        fill(tmp_path, {other: png(0), "A.PNG": png(1),
                        "dataset.json": dataset_json({name: 1, "a.png": 2})})
    )  # fmt: skip
    levels = {unicodedata.normalize("NFC", patch.name): patch.level for patch in data.patches}
    assert levels == {name: 1.0, "A.PNG": 2.0} and data.problems == ()


def test_names_that_are_one_elsewhere_are_found(tmp_path: Path) -> None:
    files = {"a.png": png(0), "A.png": png(1)}
    data = opened(pack(tmp_path / "a.zip", {**files, "dataset.json": dataset_json({"a.PNG": 1})}))
    assert kinds(data) == [
        ("A.png", "no label"),
        ("a.PNG", "missing file"),
        ("a.png", "duplicate name"),
        ("a.png", "no label"),
    ]
    data.close()


def test_hidden_files_are_none_of_ours(tmp_path: Path) -> None:
    hidden = [".DS_Store", "__MACOSX/._000000.png", ".git/a.png", "Thumbs.db", "0/.hidden.png"]
    files = {**dict.fromkeys([*hidden, "0/desktop.ini", "readme.txt"], "x"), "0/a.png": png(0)}
    for data in (opened(fill(tmp_path / "a", files)), opened(pack(tmp_path / "a.zip", files))):
        assert data.patches == (Patch("0/a.png", 0.0, None),)
        assert data.problems == ()
        data.close()


def test_other_files_are_named(tmp_path: Path) -> None:
    data = opened(fill(tmp_path, {"a.png": png(0), "film.mp4": "x", "inner.zip": "x", "raw": "x"}))
    assert [patch.name for patch in data.patches] == ["a.png"]
    assert kinds(data) == [(n, "no image") for n in ("film.mp4", "inner.zip", "raw")]


def test_an_empty_folder_and_an_empty_zip(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "a", pack(tmp_path / "a.zip", {})):
        data = opened(path)
        assert data.patches == () and kinds(data) == [(".", "no images")]
        data.close()


@posix
def test_links_pipes_and_bytes(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", {"0/a.png": png(0), "1/b.png": png(1)})
    (folder / "1" / "up").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "0" / "gone.png").symlink_to("nowhere.png")
    (folder / "1" / "other.png").symlink_to(folder / "0" / "a.png")
    os.mkfifo(folder / "0" / "pipe.png")
    os.mkdir(os.fsencode(folder) + b"/bad\xff")
    data = opened(folder)
    assert [(p.name, p.level) for p in data.patches] == [
        ("0/a.png", 0.0),
        ("1/b.png", 1.0),
        ("1/other.png", 1.0),
    ]
    assert kinds(data) == [
        ("0/gone.png", "broken link"),
        ("0/pipe.png", "no file"),
        ("1/up", "link loop"),
        ("bad\\udcff", "bad name"),
        ("self", "broken link"),
    ]


@posix
def test_a_folder_goes_by_its_own_name_and_not_by_that_of_a_link_to_it(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", {"images/a.png": png(0), "z/b.png": png(1)})
    (folder / "dataset.json").write_text(dataset_json({"images/a.png": 2.0, "z/b.png": 3.0}))
    for link in ("first", "latest"):
        (folder / link).symlink_to(folder / "images")
    data = opened(folder)
    assert [(p.name, p.level) for p in data.patches] == [("images/a.png", 2.0), ("z/b.png", 3.0)]
    assert kinds(data) == [("first", "link loop"), ("latest", "link loop")]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "a", {"0/a.png": png(0), "1/b.png": png(1)})
    scandir = os.scandir

    def forbidden(path: Path) -> object:
        if Path(path).name == "1":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", forbidden)  # for root no folder is unreadable
    data = opened(folder)
    assert [p.name for p in data.patches] == ["0/a.png"]
    assert kinds(data) == [("1", "unreadable folder")]
    assert "Permission denied" in data.problems[0].message


def test_a_file_that_goes_away_is_one_line(tmp_path: Path) -> None:
    data = opened(fill(tmp_path, {"a.png": png(0), "b.png": png(1)[:40], "c.png": ""}))
    (tmp_path / "a.png").unlink()
    for index, reason in enumerate(["cannot be read", "cannot be decoded", "empty"]):
        with pytest.raises(ImageError, match=rf"^{'abc'[index]}\.png .*{reason}") as caught:
            data.image(index)
        assert "\n" not in str(caught.value)


def test_a_zip_cannot_lead_out_blow_up_or_ask_for_a_password(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ok.png", "../out.png", "/abs.png", "C:\\x.png", "locked.png", "x/../y.png"):
            archive.writestr(name, png(0))
        archive.writestr("bomb.png", bytes(1 << 25))
        archive.writestr("blank.png", bytes(1 << 20))  # small enough to be let in
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("ok.png", png(1))
        archive.getinfo("locked.png").flag_bits |= 1
        archive.writestr("odd.png", png(0), compress_type=zipfile.ZIP_BZIP2)
    data = opened(path)
    assert [p.name for p in data.patches] == ["blank.png", "ok.png"]
    assert kinds(data) == [
        ("../out.png", "name leaves the data set"),
        ("/abs.png", "name leaves the data set"),
        ("C:\\x.png", "name leaves the data set"),
        ("bomb.png", "zip bomb"),
        ("link.png", "broken link"),
        ("locked.png", "encrypted"),
        ("odd.png", "unknown packing"),
        ("ok.png", "duplicate name"),
        ("x/../y.png", "name leaves the data set"),
    ]
    np.testing.assert_array_equal(data.image(1), pixels(0))
    data.close()


@pytest.mark.parametrize("codec", ["utf-8", "cp437"])
def test_names_in_a_zip_may_be_utf8_without_saying_so_and_folders_end_in_a_backslash(
    tmp_path: Path, codec: str
) -> None:
    levels = {"ä/naïve.png": 1.0, "ä/été.png": 2.0}
    coded = [name.encode(codec) for name in (*levels, "ä/more\\")]
    # Python says that a name is UTF-8 where it is: these are written as ASCII, and then changed.
    plain = [letter * len(name) for letter, name in zip("QXZ", coded)]
    contents = [png(0), png(1), b"", dataset_json(levels)]
    raw = pack(tmp_path / "a", dict(zip([*plain, "dataset.json"], contents))).read_bytes()
    for old, new in zip(plain, coded):
        raw = raw.replace(old.encode(), new)
    (tmp_path / "a.zip").write_bytes(raw)
    with opened(tmp_path / "a.zip") as data:
        assert {patch.name: patch.level for patch in data.patches} == levels
        assert kinds(data) == []
        np.testing.assert_array_equal(data.image(0), pixels(0))


def test_a_damaged_member_leaves_the_others(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", dict(PNGS))
    raw = bytearray(path.read_bytes())
    raw[raw.index(PNGS["000001.png"]) + 40] ^= 0xFF
    path.write_bytes(raw)
    with opened(path) as data:
        with pytest.raises(ImageError, match=r"^000001\.png cannot be unpacked"):
            data.image(1)
        np.testing.assert_array_equal(data.image(2), pixels(2))
    with pytest.raises(ImageError, match=r"^000002\.png cannot be read"):
        data.image(2)


def test_no_zip_is_one_line(tmp_path: Path) -> None:
    for name, content in [("a.zip", b"PK\3\4 no zip at all"), ("b.zip", b""), ("c", b"PK\3\4")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="make the zip again") as caught:
            open_data(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("zipped", [False, True])
def test_many_images_at_once(tmp_path: Path, threads: int | None, zipped: bool) -> None:
    files = {f"{i:03d}.png": png(i) for i in range(40)}
    data = open_patches(pack(tmp_path / "a.zip", files) if zipped else fill(tmp_path, files))
    order = [*range(39, -1, -1), 7, 7]
    found = data.images(order, 16, threads)
    np.testing.assert_array_equal(found, np.stack([pixels(i) for i in order]))
    assert data.images([], 16).shape == (0, 16, 16, 3)
    data.close()


def test_larger_patches_are_averaged_and_others_refused(tmp_path: Path) -> None:
    wide = io.BytesIO()
    Image.fromarray(pixels(0, 64)[:32]).save(wide, "PNG")
    files = {"a.png": png(0, 64), "b.png": png(1, 16), "c.png": wide.getvalue()}
    data = opened(fill(tmp_path, files))
    means = pixels(0, 64).reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(data.images([0], 32)[0] - means).max() <= 1  # rounded once an axis
    for index, size in [(1, "16 x 16"), (2, "64 x 32")]:
        with pytest.raises(ImageError, match=size):
            data.images([0, index], 32)


def test_excluded_patches(tmp_path: Path) -> None:
    data = opened(FORMS["folder"](tmp_path))
    (tmp_path / "x.txt").write_text(
        "\ufeff# blurred\n000001.png\n\n .\\000003.png \nother\n", "utf-8"
    )
    names = read_excludes(tmp_path / "x.txt")
    assert names == {"000001.png", "000003.png", "other"}
    left = data.without(names)
    assert [p.name for p in left.patches] == ["000000.png", "000002.png"]
    np.testing.assert_array_equal(left.image(1), pixels(2))
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="UTF-8"):
        read_excludes(tmp_path / "x.txt")
