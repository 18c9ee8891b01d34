"""The programs, where they run, and what they measure themselves on."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import time

import torch

from clock import Failed, Shell, end

PIECE = 15 << 20
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/lib64/nvidia")


def library_path():
    """libtorch's folder and CUDA's beside it before what this process was given, which may hold the driver."""
    torch_lib = pathlib.Path(torch.__file__).parent / "lib"
    folders = [torch_lib, *sorted(torch_lib.parent.parent.glob("nvidia/*/lib"))]
    given = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    driver = [folder for folder in DRIVER_FOLDERS if os.path.isdir(folder)]
    return torch_lib, os.pathsep.join([*map(str, folders), *filter(None, given), *driver])


class Lab:
    def __init__(self, args):
        self.args, self.out = args, args.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.work = pathlib.Path(args.work or tempfile.mkdtemp(prefix="measure-")).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        torch_lib, path = library_path()
        environment = os.environ | {
            "LD_LIBRARY_PATH": path,
            "PROTOGUARD_LIBTORCH": str(torch_lib),
            "PROTOGUARD_CACHE": str(self.work / "frames"),
        }
        self.shell = Shell(environment, self.out / "measure.log")
        self.size = ["--side", str(args.side), "--base-width", str(args.base_width)]

    def program(self, name, *arguments):
        return [str(self.args.binaries.resolve() / name), *map(str, arguments)]

    def json(self, command, clock, more=None):
        lines = self.shell.run(command, clock, more).splitlines()
        return json.loads(lines[-1]) if lines else {}

    def checkpoint(self, clock):
        """A network of the size in question, trained briefly on drawn scenes."""
        path, data = self.work / "measured.safetensors", self.work / "data"
        if path.exists():
            return path
        few = ("--training-videos", 1, "--testing-videos", 1, "--frames", 60)
        if not data.exists():
            self.shell.run(self.program("protoguard-trainer", "synth", "--out", data, *few), clock)
        train = ("train", "--data", data, "--out", path, "--past-frames", 4, "--epochs", 1, *self.size)
        try:
            device = ("--device", self.args.device)
            self.shell.run(self.program("protoguard-trainer", *train, *device), clock)
        except Failed as failure:
            # What the GPU cannot train it may still score.
            self.shell.note(f"trained on the CPU instead: {failure}")
            self.shell.run(self.program("protoguard-trainer", *train, "--overwrite"), clock)
        return path

    def bare(self, precision, device, clock, *more):
        """`tf32` is f32 as GPUs multiply it by themselves; `f32` forbids that."""
        strict = {"NVIDIA_TF32_OVERRIDE": "0"} if precision == "f32" else {}
        precision = "f32" if precision == "tf32" else precision
        model = ("--model", self.checkpoint(clock), "--precision", precision, "--devices", device)
        return self.json(self.program("protoguard-server", "bare", *model, *more), clock, strict)

    @contextlib.contextmanager
    def server(self, workers, clock):
        """The address of a server, which is told to stop at the end."""
        most = max(self.args.batches)
        flags = ("--listen", "127.0.0.1:0", "--devices", self.args.device)
        flags += ("--workers-per-device", workers, "--max-batch-size", most)
        flags += ("--max-queue-clips", 64 * most, "--log-format", "json")
        command = self.program("protoguard-server", "--model", self.checkpoint(clock), *flags)
        log = self.work / f"server-{workers}.log"
        with log.open("wb") as lines:
            server, own = self.shell.start(command, stdout=lines, stderr=lines)
        try:
            yield "http://" + wait_for_address(server, log, clock)
        finally:
            end(server, 20)
            self.shell.words(own)

    def load(self, address, clock, *more):
        quick = ("--warm-up-ms", 1500, "--window-ms", 1500, "--stable-windows", 2, "--max-windows", 4)
        asked = ("bench", "--address", address, "--format", "json", *quick, *more)
        return self.json(self.program("protoguard", *asked), clock)

    def bring_back(self, path, name=None):
        """Copies a file among the results, in pieces if it is large: `cat NAME.0* > NAME` joins them."""
        name, data = name or path.name, path.read_bytes()
        if len(data) <= PIECE:
            shutil.copyfile(path, self.out / name)
            return [name]
        names = []
        for number, start in enumerate(range(0, len(data), PIECE)):
            names.append(f"{name}.{number:02}")
            (self.out / names[-1]).write_bytes(data[start : start + PIECE])
        return names


def wait_for_address(server, log, clock):
    while clock.left() > 0:
        found = re.search(r"listening.*?(127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
        if server.poll() is not None:
            raise Failed(f"the server ended with {server.returncode}: {log.read_text()[-1500:]}")
        time.sleep(0.1)
    raise Failed(f"the server did not listen in time: {log.read_text()[-1500:]}")
