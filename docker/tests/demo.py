"""A tiny model and some video, made by the trainer's image."""

import os
import pathlib

from build import image
from podman import RESTRICTED, podman

SYNTH = ["synth", "--out", "/demo/scenes", "--training-videos", "1", "--testing-videos", "1",
         "--frames", "60", "--height", "48", "--width", "64"]
TRAIN = ["train", "--data", "/demo/scenes", "--out", "/demo/models/camera.safetensors",
         "--side", "32", "--past-frames", "4", "--base-width", "8", "--memory-items", "10",
         "--epochs", "1"]


def trainer(folder, arguments):
    podman("run", "--rm", "--network", "none", *RESTRICTED, "--tmpfs", "/tmp", "--memory", "2g",
           "--volume", f"{folder}:/demo", image("trainer-cpu"), *arguments, timeout=600)


def make(folder):
    """Fills a folder with `scenes` and `models/camera.safetensors`."""
    folder = pathlib.Path(folder)
    folder.chmod(0o777)
    (folder / "models").mkdir()
    os.chmod(folder / "models", 0o777)
    trainer(folder, SYNTH)
    trainer(folder, TRAIN)
    (folder / "models/camera.safetensors").chmod(0o644)
    return folder
