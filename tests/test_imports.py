"""The arrows between the packages: kernels <- model <- explorer, and what stays plain Python."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kernels", "model", "explorer", "benchmarks")

MAY_IMPORT = {
    "kernels": {"kernels"},
    "model": {"kernels", "model"},
    "explorer": {"model", "explorer", "benchmarks"},
    "benchmarks": {"kernels", "model", "explorer", "benchmarks"},
}
"""Which of our packages the modules of each may import."""

LIGHT_MODEL = {
    "model",
    "model.allocator",
    "model.scale",
    "model.header",
    "model.latent",
    "model.run_files",
    "model.config",
    "model.data",
    "model.data.labels",
    "model.data.report",
    "model.data.report_text",
    "model.training_setup",
}
"""Modules of `model` without torch, which anything in the explorer may import."""

HEAVY_EXPLORER = {
    "explorer.chunk_renderer",
    "explorer.inference_thread",
    "explorer.exact_frame",
    "explorer.truth",
    "explorer.training_thread",
    "explorer.doctor_thread",
}
"""With the commands and the offline renderer, the modules of `explorer` that may import torch."""

PURE = (
    "model.scale",
    "model.header",
    "model.latent",
    "model.run_files",
    "model.config",
    "model.data.labels",
    "model.data.report",
    "model.data.report_text",
    "explorer.config",
    "explorer.camera",
    "explorer.view_state",
    "explorer.camera_path",
    "explorer.director",
    "explorer.tile_grid",
    "explorer.tile_cache",
    "explorer.tile_stream",
    "explorer.tile_uploads",
    "explorer.camera_limits",
    "explorer.drag",
    "explorer.view_links",
    "explorer.history",
    "explorer.bookmarks",
    "explorer.messages",
    "explorer.truth_messages",
    "explorer.truth_paths",
    "explorer.octave_views",
    "explorer.mailbox",
    "explorer.side_thread",
    "explorer.priority",
    "explorer.meter",
)
FRAMEWORKS = {"torch", "PySide6", "shiboken6", "moderngl", "numpy", "PIL", "av", "pyvips", "cupy"}
CODE_IN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def module_name(path: Path) -> str:
    """`model/scale.py` is `model.scale`; a package's `__init__.py` is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    """Every module of the four packages."""
    return {module_name(p): p for package in PACKAGES for p in (ROOT / package).rglob("*.py")}


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Modules that the file imports when it runs; `everywhere=False` leaves out its functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: write the absolute import."
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += ast.iter_child_nodes(node)
    return found


def heads(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_one_way(package: str) -> None:
    wrong = [
        f"{name} imports {', '.join(sorted(bad))}"
        for name, path in sources().items()
        if name.partition(".")[0] == package
        and (bad := heads(imports(path)) & set(PACKAGES) - MAY_IMPORT[package])
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("package", ["kernels", "model"])
def test_no_window_below_the_explorer(package: str) -> None:
    for name, path in sources().items():
        if name.partition(".")[0] == package:
            assert not heads(imports(path)) & {"PySide6", "shiboken6", "moderngl"}, name


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_are_plain_python(name: str) -> None:
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    assert path.exists(), f"{name} is in the list of pure modules and does not exist."
    found = imports(path)
    assert not heads(found) & FRAMEWORKS, f"{name} imports {sorted(heads(found) & FRAMEWORKS)}"
    ours = {n for n in found if n.partition(".")[0] in PACKAGES and n in sources()}
    free = {"model", "model.data", "explorer"}
    assert ours <= set(PURE) | free, f"{name} imports {sorted(ours)}"


def test_only_the_workers_of_the_explorer_import_torch_or_heavy_model() -> None:
    for name, path in sources().items():
        if not name.startswith("explorer") or name in HEAVY_EXPLORER:
            continue
        found = imports(path, everywhere=not name.startswith(("explorer.commands", "explorer.api")))
        heavy = {n for n in found if n.startswith("model.") and n in sources()} - LIGHT_MODEL
        assert "torch" not in heads(found) and not heavy, f"{name}: torch, {sorted(heavy)}"


def test_nothing_reads_files_that_can_run_code() -> None:
    for name, path in sources().items():
        assert not heads(imports(path)) & CODE_IN_DATA, name
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"torch\.(load|save)\(|allow_pickle\s*=\s*True", text), name


def test_starting_the_app_imports_no_torch() -> None:
    code = "import sys, explorer.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_our_kernels_package_is_the_one_that_is_imported() -> None:
    import kernels

    assert Path(str(kernels.__file__)).parent == ROOT / "kernels"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for lines in extras for line in lines)]
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in wanted}
    assert "kernels" not in names


def test_every_package_folder_is_listed_in_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {module_name(p) for p in sources().values() if p.name == "__init__.py"}
    assert set(settings["tool"]["setuptools"]["packages"]) == folders


def test_every_pure_module_and_the_kernels_are_type_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    expected = {"kernels"} | {name.replace(".", "/") + ".py" for name in PURE}
    files = settings["tool"]["mypy"]["files"]
    missing = {e for e in expected if not any(e == f or e.startswith(f"{f}/") for f in files)}
    assert not missing
