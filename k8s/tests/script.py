"""training/recalibrate/recalibrate.sh, run on folders of this machine with a trainer that pretends."""

import datetime
import os
import pathlib
import subprocess
import tempfile

import render

SCRIPT = render.K8S / "training/recalibrate/recalibrate.sh"
# Appends the scene to the checkpoint, or fails for the scene `broken`.
TRAINER = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    --checkpoint) checkpoint=$2 ;;
    --scene) scene=$2 ;;
    --out) out=$2 ;;
    esac
    shift
done
[ "$scene" = broken ] && exit 1
{ cat "$checkpoint" && echo "$scene"; } >"$out"
"""


class Night:
    """A night on a machine: yesterday's scenes, the checkpoint before, and what the script did."""

    def __init__(self, folder, scenes):
        self.root = pathlib.Path(folder)
        yesterday = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1)
        for scene in scenes:
            (self.root / "video" / str(yesterday) / scene).mkdir(parents=True)
        (self.root / "models").mkdir()
        self.served = self.root / "models/camera.safetensors"
        self.served.write_text("trained\n")
        self.status = self.run()

    def run(self):
        (self.root / "bin").mkdir()
        trainer = self.root / "bin/protoguard-trainer"
        trainer.write_text(TRAINER)
        trainer.chmod(0o755)
        text = SCRIPT.read_text()
        for place in ("/models", "/video"):
            text = text.replace(place, f"{self.root}{place}")
        path = f"{self.root}/bin:{os.environ['PATH']}"
        done = subprocess.run(["sh", "-c", text], check=False, capture_output=True, text=True,
                              env={"PATH": path, "MODEL": "camera"})
        return done.returncode

    @property
    def kept(self):
        """Checkpoints of the nights before."""
        return [path.read_text() for path in (self.root / "models/.previous").glob("*")]

    @property
    def rest(self):
        return [path.name for path in (self.root / "models").glob(".recalibrate*")]


def problems():
    for scenes, status, served, kept in (
        (["hall", "yard"], 0, "trained\nhall\nyard\n", ["trained\n"]),
        (["broken", "yard"], 1, "trained\n", []),
        ([], 1, "trained\n", []),
    ):
        with tempfile.TemporaryDirectory() as folder:
            night = Night(folder, scenes)
            found = (night.status, night.served.read_text(), night.kept, night.rest)
            if found != (status, served, kept, []):
                yield f"scenes {scenes}: {found}, expected {(status, served, kept, [])}"
