"""docs/features.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path("tests", "explorer")


def test_every_row_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)(?:::(test_\w+))?`", row)
        assert named, f"no test in: {row}"
        for file, test in named:
            path = ROOT / (file if file.startswith("tests/") else HERE / file)
            assert path.exists(), file
            assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), (file, test)
