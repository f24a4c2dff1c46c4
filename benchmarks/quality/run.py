"""All that is done for one checkpoint: baselines, measuring, strips, film; a plain result."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.quality import pictures, search
from benchmarks.quality.encoded import EncodedPicture, missing_codec
from benchmarks.quality.measure import Job, jobs_of_baseline, jobs_of_checkpoint, measure
from benchmarks.quality.settings import (
    CODECS,
    PARTS,
    Parts,
    Settings,
    Subject,
    Truth,
    describe,
    key_of,
    slim,
)
from benchmarks.quality.work import Done, Task, run_tasks
from explorer.progress import ProgressLine
from model.header import CheckpointHeader
from model.scale import whole_levels
from model.space import ScaleSpace

STRIP_LEVELS = tuple(float(level) for level in range(9))
"""Of the strips, as far as the checkpoint has them."""


@dataclass
class Study:
    """One checkpoint, and what is found out about it."""

    checkpoint: Path
    header: CheckpointHeader
    truth: Truth
    twin: Path | None
    settings: Settings
    out: Path
    """Folder of what is not published: parts, baselines, strips with real pixels."""
    pages: Path
    """Folder of strips and film that are published."""
    target: Path
    """What the result is to replace."""
    workers: int
    only: Sequence[str] = PARTS
    bytes_of_baselines: int | None = None
    """None: those of the checkpoint, rounded up."""
    missing: dict[str, str] = field(default_factory=dict)
    """Baselines that are not there, and why."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Processor time by part, s, added up over processes."""

    def __post_init__(self) -> None:
        self.name = self.checkpoint.stem
        self.parts = Parts(self.out / "parts")
        self.size = self.checkpoint.stat().st_size
        self.budget = self.bytes_of_baselines or search.budget_for(self.size)
        if self.budget < self.size:
            raise ValueError(
                f"--budget must be at least the {self.size} bytes of {self.checkpoint.name}, got "
                f"{self.budget}."
            )
        self.real = self.truth.open()
        self.own_truth = self._gauged()
        top = min(self.header.level_range[1], self.real.level_range[1])
        self.top = top
        self.levels = whole_levels((self.header.level_range[0], top))

    def result(self, command: str) -> dict[str, Any]:
        """Do what is to be done; see the module.

        Raises:
            ValueError: What is there has figures that this would lose.
        """
        from benchmarks.machine import describe_machine

        rows = self._baselines()
        figures = self._measures(rows)
        self._refuse_loss(figures)
        places = pictures.draw_places(self.real.field_size, self.settings.seed)
        film = self._pictures(rows, places)
        density_top = self.header.patch_size * 2.0**self.top
        width, height = self.header.field_size
        training, gauge = self.header.training, self.own_truth.gauge
        return dict(
            slim(
                {
                    "name": self.name,
                    "command": command,
                    "settings": describe(self.settings),
                    "checkpoint": {
                        "bytes": self.size,
                        "content": Subject("", str(self.checkpoint), "").content(),
                        "pixels": round(width * height * density_top**2),
                        "patch_size": self.header.patch_size,
                        "level_range": self.header.level_range,
                        "training": {
                            k: training[k]
                            for k in ("minutes", "kimg", "device", "start")
                            if k in training
                        },
                    },
                    "image": {
                        "name": Path(self.truth.image).name,
                        "crop": self.truth.crop,
                        "level_range": self.real.level_range,
                    },
                    "gauge": None if gauge is None else asdict(gauge),
                    "places": places,
                    "figures": figures,
                    "budget": self.budget,
                    "candidates": rows,
                    "missing": self.missing,
                    "film": film,
                    "work_seconds": self.seconds,
                    "seconds": sum(self.seconds.values()),
                    "machine": describe_machine(),
                }
            )
        )

    def _gauged(self) -> Truth:
        """The picture as the checkpoint's figures see it: see `benchmarks.quality.gauge`."""
        if self.header.source is not None:
            return self.truth
        from benchmarks.quality.gauge import find_gauge

        space = Subject("checkpoint", str(self.checkpoint), "checkpoint").open()
        gauge = find_gauge(space, self.real, self.settings.seed)
        return replace(self.truth, gauge=gauge, field_size=self.header.field_size)

    def _baselines(self) -> list[dict[str, Any]]:
        """Encode and compare the candidates; one row each, the chosen ones marked."""
        run, folder = "baselines" in self.only, self.out / "baselines"
        identity = self.real.identity
        numbers = (
            self.budget,
            self.settings.held_out,
            self.settings.search_windows,
            self.settings.realism_from,
            self.settings.avif_speed,
            self.settings.seed,
        )
        families = [search.own_levels(self.truth)]
        source = self.out / f"source-{key_of(identity)}"
        between = search.between_level(self.real.level_range[1])
        if (run or source.is_dir()) and between >= 0:
            line, begin = ProgressLine(f"rendering level {between:g}"), time.process_time()
            try:
                families.append(search.between_levels(self.truth, source, line))
            finally:
                line.close()
            self._took("baselines", time.process_time() - begin)
        tasks = []
        for codec in CODECS:
            reason = missing_codec(codec)
            if reason:
                self.missing[codec] = reason
                continue
            for each in search.candidates(families, codec, self.budget):
                key = key_of(identity, search.candidate_key(each), numbers)
                out = folder / f"{each.name}-{key}.zip"
                arguments = (each, self.truth, self.real.field_size, out, self.settings)
                weight = sum(level.width * level.height for level in each.levels) / 1e6
                weight *= 8 if codec == "avif" else 1
                tasks.append(
                    self._encoding(each.name, key, out, search.encode_and_score, arguments, weight)
                )
        key = key_of(identity, "thumbnail", numbers)
        out = folder / f"thumbnail-{key}.zip"
        thumbnail = (self.truth, self.budget, out, self.settings)
        tasks.append(
            self._encoding("thumbnail", key, out, search.thumbnail_and_score, thumbnail, 100.0)
        )
        done = run_tasks("encoding baselines", tasks, self.parts, self.workers, run)
        self._took("baselines", *done)
        return choose([each.value for each in done if each is not None and each.value])

    def _encoding(
        self, name: str, key: str, out: Path, call: Any, arguments: tuple[Any, ...], weight: float
    ) -> Task:
        """A task whose file must be there too for it to count as done."""
        found = self.parts.find(name, key)
        if found is not None and found["value"] and not out.exists():
            self.parts.path(name, key).unlink()
        return Task(name, key, call, arguments, weight)

    def _subjects(self, rows: Sequence[dict[str, Any]]) -> list[tuple[Subject, Subject]]:
        """For each baseline the file for fidelity and the one for realism."""
        found = []
        for codec in (*CODECS, "bicubic"):
            files = {
                purpose: str(self.out / "baselines" / row["file"])
                for row in rows
                if row["codec"] == codec
                for purpose in row["chosen"]
            }
            if files:
                subjects = [Subject(codec, files[p], "encoded") for p in ("fidelity", "realism")]
                found.append((subjects[0], subjects[1]))
            else:
                self.missing.setdefault(codec, "not encoded yet")
        if self.twin is None:
            self.missing["twin"] = "not made yet"
        else:
            twin = Subject("twin", str(self.twin), "checkpoint")
            found.append((twin, twin))
        return found

    def _measures(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Figures by subject, level and metric."""
        own = Subject("checkpoint", str(self.checkpoint), "checkpoint")
        jobs = jobs_of_checkpoint(own, self.levels, self.top)
        for faithful, real in self._subjects(rows):
            jobs += jobs_of_baseline(faithful, real, self.levels, self.settings.realism_from)
        contents = {job.subject.file: job.subject.content() for job in jobs}
        identity = {truth: truth.open().identity for truth in (self.truth, self.own_truth)}
        tasks = []
        for job in jobs:
            truth = self.truth if job.subject.kind == "encoded" else self.own_truth
            key = job.key(contents[job.subject.file], truth, identity[truth], self.settings)
            name = f"{job.subject.name}-{job.level:g}"
            tasks.append(Task(name, key, measure, (job, truth, self.settings), job.weight))
        run = "measures" in self.only
        done = run_tasks(f"measuring {self.name}", tasks, self.parts, self.workers, run)
        self._took("measures", *done)
        return merged(jobs, done)

    def _refuse_loss(self, figures: dict[str, Any]) -> None:
        """Figures that took an hour are not replaced by none: `only` may have left parts out."""
        if not self.target.exists():
            return
        before = json.loads(self.target.read_text(encoding="utf-8"))["figures"]
        lost = [subject for subject in before if before[subject] and not figures.get(subject)]
        if lost:
            raise ValueError(
                f"{self.target.name} has figures of {', '.join(lost)}, of which nothing is "
                f"measured in {self.out}; measure all parts there, or remove that file first."
            )

    def _pictures(
        self, rows: Sequence[dict[str, Any]], places: Sequence[pictures.Point]
    ) -> str | None:
        """Strips and film; the command that makes the film, where there is one."""
        levels = [level for level in STRIP_LEVELS if level in self.levels]
        film = self.pages / f"{self.name}.webm"
        space = Subject("checkpoint", str(self.checkpoint), "checkpoint").open()
        if "strips" in self.only:
            begin = time.process_time()
            pictures.make_strips(space, places, levels, self.pages / f"{self.name}-strips.jpg")
            beside: list[tuple[str, ScaleSpace]] = [("real", self.real), (self.name[:13], space)]
            for _, subject in self._subjects(rows):
                beside.append((subject.name, subject.open()))
            pictures.make_strips_with_real(
                beside, places, levels, self.out / "with-real" / self.name
            )
            for _, other in beside:
                if isinstance(other, EncodedPicture):
                    other.close()
            self._took("strips", time.process_time() - begin)
        if "film" in self.only:
            begin, line = time.process_time(), ProgressLine(f"filming {film.name}")
            try:
                pictures.make_film(self.checkpoint, places[0], film, line)
            finally:
                line.close()
            self._took("film", time.process_time() - begin)
        return pictures.film_command(self.name, space, places[0]) if film.exists() else None

    def _took(self, part: str, *amounts: float | Done | None) -> None:
        """Add to the seconds of a part."""
        total = sum(a.seconds if isinstance(a, Done) else a for a in amounts if a is not None)
        self.seconds[part] = self.seconds.get(part, 0.0) + total


def choose(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark, for each codec, the best candidate for fidelity and the best for realism."""
    found = [dict(row, chosen=[]) for row in rows]
    for codec in dict.fromkeys(row["codec"] for row in found):
        own = [row for row in found if row["codec"] == codec]
        max(own, key=lambda row: row["psnr"])["chosen"].append("fidelity")
        min(own, key=lambda row: row["swd"])["chosen"].append("realism")
    return found


def merged(jobs: Sequence[Job], done: Sequence[Done | None]) -> dict[str, Any]:
    """`{subject: {level: {metric: figures}}}` of all jobs that are done, levels in order."""
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for job, each in sorted(zip(jobs, done, strict=True), key=lambda pair: pair[0].level):
        if each is not None:
            levels = figures.setdefault(job.subject.name, {})
            levels.setdefault(f"{job.level:g}", {}).update(each.value)
    return figures
