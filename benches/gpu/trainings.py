"""Whole training runs on Ped2: one of the full size, or several small ones at once."""

import concurrent.futures
import dataclasses
import json
import math
import os
import pathlib
import tarfile
import threading
import time
import tomllib

from clock import Clock, Failed

PROBE_EPOCHS = 2
# The last epochs may take longer than the first did.
SLACK = 1.05


@dataclasses.dataclass
class Run:
    """One training: `settings` are keys of the trainer's configuration, the last of a key counts."""

    name: str
    data: pathlib.Path
    config: pathlib.Path | None
    settings: list
    most_epochs: int
    motion: bool = False


def flat(table, prefix=""):
    """`a = {b = 1}` as `a.b=1`."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value) if isinstance(value, bool) else value}"


def epochs_asked(settings, default):
    asked = [int(value) for key, _, value in (s.partition("=") for s in settings) if key == "training.epochs"]
    return asked[-1] if asked else default


class Trainer:
    """A run within a time: as many epochs as fit, found by training two, which leave a first result."""

    def __init__(self, lab, run, clock):
        self.lab, self.run, self.clock = lab, run, clock
        self.folder = lab.work / "runs" / run.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"{run.name}.jsonl"
        self.exported = self.folder / f"{run.name}.safetensors"

    def train(self, epochs):
        """Seconds of every epoch, and of all around them."""
        started, out = time.monotonic(), self.folder / "checkpoint"
        flags = ["--data", self.run.data, "--out", out, "--log-out", self.log, "--overwrite"]
        flags += ["--config", self.run.config] if self.run.config else []
        settings = [f"training.device={self.lab.args.device}", "training.log_steps=50", "training.save_minutes=0"]
        settings += [*self.run.settings, f"training.epochs={epochs}"]
        flags += [word for setting in settings for word in ("--set", setting)]
        self.lab.shell.run(self.lab.program("protoguard-trainer", "train", *flags), self.clock)
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        seconds = [line["seconds"] for line in lines if line["event"] == "epoch"]
        return lines, seconds, time.monotonic() - started - sum(seconds)

    def export(self):
        started, made = time.monotonic(), self.folder / "exported"
        flags = ["--checkpoint", self.folder / "checkpoint", "--out", made, "--f16", "--overwrite"]
        flags += [] if self.run.motion else ["--without-motion"]
        self.lab.shell.run(self.lab.program("protoguard-trainer", "export", *flags), self.clock)
        made.replace(self.exported)
        return time.monotonic() - started

    def all(self, found, keep):
        """Trains; `keep` is called whenever there is something better to keep."""
        lines, seconds, around = self.train(min(PROBE_EPOCHS, self.run.most_epochs))
        found["epochs"], found["seconds_an_epoch"] = len(seconds), seconds[-1]
        found["seconds_around"], found["data"] = around, lines[0].get("data")
        exporting = self.export()
        keep()
        left = self.clock.left() - around - 1.5 * exporting - 2
        epochs = min(self.run.most_epochs, math.floor(left / (SLACK * seconds[-1])))
        if epochs <= len(seconds):
            found["note"] = f"no time for more epochs than the first {len(seconds)}"
            return
        lines, seconds, _ = self.train(epochs)
        self.export()
        found["epochs"], found["seconds_an_epoch"] = len(seconds), sum(seconds) / len(seconds)
        last = [line for line in lines if line["event"] == "epoch"][-1]
        found["last_epoch"] = {key: last[key] for key in ("held_out_psnr_db", "training", "memory")}
        keep()


def ped2(lab, clock, found):
    """A run of the size in question, its inference weights and its log."""
    if lab.args.ped2 is None:
        raise Failed("--ped2 names no folder")
    config, chosen = lab.args.config, lab.args.preset_set
    size = [] if config else [f"model.shape.side={lab.args.side}", f"model.base_width={lab.args.base_width}"]
    settings = [*size, *chosen]
    run = Run("ped2", lab.args.ped2.resolve(), config, settings, epochs_asked(settings, lab.args.epochs))
    trainer = Trainer(lab, run, clock)
    found["settings"] = settings

    def keep():
        for old in lab.out.glob("ped2.safetensors*"):
            old.unlink()
        found["files"] = lab.bring_back(trainer.exported) + lab.bring_back(trainer.log)

    trainer.all(found, keep)


def grid_of(lab):
    """The runs of a grid file, how many run at once, and seconds each, if it says so.

    `parallel = 3`, `seconds = 120`, then `[[run]]` with `name`, `set = { training.epochs = 20, ... }` and,
    where wanted, `data` (a folder), `config` (a TOML file of the trainer) and `motion = true`.
    """
    with lab.args.grid.open("rb") as file:
        grid = tomllib.load(file)
    parallel = int(grid.get("parallel", 2))
    threads = max(1, len(os.sched_getaffinity(0)) // parallel)
    runs = []
    for entry in grid["run"]:
        config = entry.get("config", grid.get("config", lab.args.config))
        settings = [f"training.threads={threads}", *lab.args.preset_set]
        settings += [*flat(grid.get("set", {})), *flat(entry.get("set", {}))]
        data = pathlib.Path(entry.get("data", grid.get("data", lab.args.ped2))).resolve()
        most = epochs_asked(settings, lab.args.epochs)
        config = pathlib.Path(config) if config else None
        runs.append(Run(entry["name"], data, config, settings, most, bool(entry.get("motion"))))
    return runs, parallel, grid.get("seconds")


def grid(lab, clock, found):
    """Several runs at once, a process each; all exported weights and logs in one archive."""
    if lab.args.grid is None:
        raise Failed("--grid names no file")
    runs, parallel, seconds = grid_of(lab)
    share = min(seconds or math.inf, (clock.left() - 5) / math.ceil(len(runs) / parallel))
    lock = threading.Lock()

    def keep():
        with lock:
            path = lab.work / "grid.tar"
            with tarfile.open(path, "w") as tar:
                for file in sorted((lab.work / "runs").glob("*/*.*")):
                    if file.stem == file.parent.name:
                        tar.add(file, file.name)
            for old in lab.out.glob("grid.tar*"):
                old.unlink()
            found["files"] = lab.bring_back(path)

    def one(run):
        of = found[run.name] = {"settings": run.settings}
        try:
            Trainer(lab, run, Clock(share, clock)).all(of, keep)
        except Exception as failure:  # noqa: BLE001: nothing may end the others
            of["error"] = f"{type(failure).__name__}: {failure}"[:2500]

    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        list(pool.map(one, runs))
