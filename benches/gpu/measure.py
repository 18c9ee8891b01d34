"""What a GPU does for Protoguard, in one command on a machine that needs no Rust toolchain.

    python3 benches/gpu/measure.py --binaries FOLDER --out FOLDER [--ped2 FOLDER] [--only runs,inference]

FOLDER holds `protoguard`, `protoguard-server` and `protoguard-trainer` as `cargo build --release`
made them on a machine like this one. libtorch is the one of this Python's own torch package.

Stages, each of which checks what was computed before it times it:

    runs       results on the GPU against the CPU's
    inference  forward passes by batch size, beside PyTorch and the rate of a large matrix product
    serving    the server against its bare forward pass, with one and two workers
    training   a step beside PyTorch's
    ped2       a whole training run on Ped2, if its folder is given

After each the results so far are in `gpu-DATE.json` and `gpu-DATE.md`. `--device cpu` with a small
`--side` and `--base-width` tries the program itself out.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
STAGES = ("runs", "inference", "serving", "training", "ped2")
# GFLOP of a clip at 256 pixels and width 64, by what is asked for; METHOD.md's count, twice the MACs.
FULL_SIZE_GFLOP = {"full": 135.2, "scores": 88.4}
INFERENCE_PEERS = ("pytorch_f32_channels_last", "pytorch_bf16_folded", "inductor_bf16")
# Relative departure from the CPU in f32 that TF32 and bf16 may have.
TOLERANCE = {"f32": 1e-3, "bf16": 1e-2}


class Lab:
    """The programs, where they run, and a folder for what they need."""

    def __init__(self, args):
        self.args = args
        self.work = args.out.resolve() / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        torch_lib = pathlib.Path(torch.__file__).parent / "lib"
        folders = [torch_lib, *sorted(torch_lib.parent.parent.glob("nvidia/*/lib"))]
        path = os.pathsep.join(map(str, folders))
        self.environment = os.environ | {
            "LD_LIBRARY_PATH": path,
            "PROTOGUARD_LIBTORCH": str(torch_lib),
        }
        self.size = ["--side", str(args.side), "--base-width", str(args.base_width)]

    def program(self, name, *arguments):
        return [str(self.args.binaries.resolve() / name), *map(str, arguments)]

    def run(self, command):
        """Standard output of a command that must succeed."""
        print("$", *command, file=sys.stderr, flush=True)
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{command[0]} ended with {done.returncode}")
        return done.stdout

    def json(self, command):
        return json.loads(self.run(command).splitlines()[-1])

    def checkpoint(self):
        """A network of the size in question, trained briefly on drawn scenes."""
        path, data = self.work / "measured.safetensors", self.work / "data"
        if not path.exists():
            few = ("--training-videos", 1, "--testing-videos", 1, "--frames", 60)
            if not data.exists():
                self.run(self.program("protoguard-trainer", "synth", "--out", data, *few))
            train = ("train", "--data", data, "--out", path, "--past-frames", 4, "--epochs", 1)
            device = ("--set", f"training.device={self.args.device}")
            self.run(self.program("protoguard-trainer", *train, *device, *self.size))
        return path

    def bare(self, precision, device, *more):
        model = ("--model", self.checkpoint(), "--precision", precision, "--devices", device)
        return self.json(self.program("protoguard-server", "bare", *model, *more))

    @contextlib.contextmanager
    def server(self, workers):
        """The address of a server, which is told to stop at the end."""
        flags = ("--listen", "127.0.0.1:0", "--devices", self.args.device)
        flags += ("--workers-per-device", workers, "--max-batch-size", max(self.args.batches))
        flags += ("--max-queue-clips", 64 * max(self.args.batches), "--log-format", "json")
        command = self.program("protoguard-server", "--model", self.checkpoint(), *flags)
        log = self.work / "server.log"
        with log.open("wb") as lines:
            server = subprocess.Popen(command, env=self.environment, stdout=lines, stderr=lines)
        try:
            yield "http://" + self.wait_for_address(server, log)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)

    @staticmethod
    def wait_for_address(server, log, patience=600):
        for _ in range(10 * patience):
            found = re.search(r"listening.*?(127\.0\.0\.1:\d+)", log.read_text())
            if found:
                return found[1]
            if server.poll() is not None:
                sys.exit(f"the server ended with {server.returncode}: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        sys.exit(f"the server did not listen within {patience} s")

    def load(self, address, *more):
        return self.json(self.program("protoguard", "bench", "--address", address, "--format", "json", *more))


def departure(found, expected):
    """Relative, by root mean square."""
    size = expected.float().square().mean().sqrt().clamp_min(1e-12)
    return ((found.float() - expected.float()).square().mean().sqrt() / size).item()


def runs(lab):
    cases = {}
    for device, precision in (("cpu", "f32"), (lab.args.device, "f32"), (lab.args.device, "bf16")):
        case = lab.work / f"case-{device.replace(':', '-')}-{precision}.safetensors"
        lab.bare(precision, device, "--batch-sizes", 1, "--repetitions", 1, "--case", case)
        cases[device, precision] = load_file(case)
    expected, found = cases["cpu", "f32"], {}
    for precision in ("f32", "bf16"):
        case = cases[lab.args.device, precision]
        found[precision] = {name: departure(case[name], expected[name]) for name in expected if name != "clip"}
        for name, relative in found[precision].items():
            if name != "rgb_difference" and relative > TOLERANCE[precision]:
                print(f"{name} in {precision} departs from the CPU's by {relative:.2g}", file=sys.stderr)
    return found


def matrix_tflops(device):
    """TFLOP/s of a bf16 matrix product: what nothing that multiplies can exceed."""
    side = 8192 if device != "cpu" else 1024
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    times = []
    for _ in range(20):
        wait()
        started = time.perf_counter()
        a @ b
        wait()
        times.append(time.perf_counter() - started)
    return 2 * side**3 / min(times) / 1e12


class Peer:
    """A program of benches/peers that answers a line with a line."""

    def __init__(self, lab, name, case):
        command = [sys.executable, str(PEERS / "forward.py"), name, str(lab.checkpoint()), str(case)]
        command += ["--device", lab.args.device]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, outputs, batch, repetitions):
        asked = {"outputs": outputs, "batch": batch, "repetitions": repetitions}
        print(json.dumps(asked), file=self.program.stdin, flush=True)
        line = self.program.stdout.readline()
        return statistics.median(json.loads(line)["seconds"]) if line else None

    def close(self):
        self.program.stdin.close()
        self.program.wait(60)


def inference(lab):
    case = lab.work / "case-inference.safetensors"
    lab.bare("f32", "cpu", "--batch-sizes", 1, "--repetitions", 1, "--case", case)
    batches, repetitions = ",".join(map(str, lab.args.batches)), lab.args.repetitions
    timed = ("--batch-sizes", batches, "--repetitions", repetitions, "--warm-up", 3)
    clips_per_second = {}
    for precision in ("f32", "bf16"):
        bare = lab.bare(precision, lab.args.device, *timed)
        for outputs in ("scores", "full"):
            rates = {cell["batch_size"]: cell["clips_per_second"] for cell in bare[outputs]}
            clips_per_second[f"protoguard_{precision}, {outputs}"] = rates
    for name in INFERENCE_PEERS:
        peer = Peer(lab, name, case)
        for outputs in ("scores", "full"):
            rates = {}
            for batch in lab.args.batches:
                seconds = peer.seconds(outputs, batch, repetitions)
                if seconds:
                    rates[batch] = batch / seconds
            clips_per_second[f"{name}, {outputs}"] = rates
        peer.close()
    found = {"clips_per_second": clips_per_second, "matrix_tflops": matrix_tflops(lab.args.device)}
    scale = (lab.args.side / 256 * lab.args.base_width / 64) ** 2
    for outputs, gflop in FULL_SIZE_GFLOP.items():
        ceiling = found["matrix_tflops"] * 1e3 / (gflop * scale)
        best = max(clips_per_second[f"protoguard_bf16, {outputs}"].values())
        others = [
            max(rates.values())
            for name, rates in clips_per_second.items()
            if rates and not name.startswith("protoguard") and name.endswith(outputs)
        ]
        found[f"{outputs}_share_of_ceiling"] = best / ceiling
        found[f"{outputs}_vs_fastest_peer"] = best / max(others) if others else None
    return found


def serving(lab):
    batches = ",".join(map(str, lab.args.batches))
    bare = lab.bare("auto", lab.args.device, "--batch-sizes", batches, "--scores-only")
    lone_ms = next(cell["median_ms"] for cell in bare["scores"] if cell["batch_size"] == 1)
    found, many = {}, 4 * max(lab.args.batches)
    for workers in (1, 2):
        with lab.server(workers) as address:
            lone = lab.load(address, "--clients", 1)
            crowd = ("--clients", many, "--connections", 4)
            raw, jpeg = lab.load(address, *crowd), lab.load(address, *crowd, "--payload", "jpeg")
            busy = lab.load(address, "--rate", 0.7 * raw["clips_per_second"], "--connections", 4)
            over = ("--rate", 2 * raw["clips_per_second"], "--connections", 4, "--deadline-ms", 1000)
            overload = lab.load(address, *over)
        found[f"{workers} workers"] = {
            "clips_per_second": raw["clips_per_second"],
            "jpeg_clips_per_second": jpeg["clips_per_second"],
            "E1": raw["clips_per_second"] / bare["best_clips_per_second"],
            "E3_ms": lone["latency_ms"]["p50"] - lone_ms,
            "E5": busy["latency_ms"]["p99"] / busy["latency_ms"]["p50"],
            "E6": overload["goodput_per_second"] / raw["clips_per_second"],
        }
    return found


def training(lab):
    case, few = lab.work / "case-training.safetensors", ("--check", 2, "--steps", lab.args.repetitions)
    device = ("--device", lab.args.device)

    def ours(*more):
        return lab.json(lab.program("protoguard-trainer", "step", *lab.size, *few, *device, *more))

    def pytorch(*more):
        script = [sys.executable, PEERS / "training_step.py", case, *few, *device, "--fused-adam", *more]
        return lab.json(list(map(str, script)))

    bf16 = ("--precision", "bf16")
    measured = {
        "protoguard_f32": ours("--case", case),
        "pytorch_f32": pytorch(),
        "pytorch_f32_channels_last": pytorch("--channels-last"),
        "protoguard_bf16": ours(*bf16),
        "pytorch_bf16_channels_last": pytorch("--channels-last", *bf16),
        "pytorch_bf16_compiled": pytorch("--channels-last", "--compile", *bf16),
    }
    first = measured["protoguard_f32"]["losses"][0]
    for name, of in measured.items():
        departs = abs(of["losses"][0][1] - first[1]) / first[1]
        if departs > (2e-2 if "bf16" in name else 2e-3):
            sys.exit(f"{name} finds the prediction loss {of['losses'][0][1]}; ours is {first[1]}")
    seconds = {name: statistics.median(of["seconds"]) for name, of in measured.items()}

    def ratio(kind):
        peers = [of for name, of in seconds.items() if name.startswith(f"pytorch_{kind}")]
        return min(peers) / seconds[f"protoguard_{kind}"]

    waiting = sum(measured["protoguard_bf16"]["waiting"]) / sum(measured["protoguard_bf16"]["seconds"])
    ratios = {"f32_vs_pytorch": ratio("f32"), "bf16_vs_pytorch": ratio("bf16")}
    return {"seconds": seconds, "waiting_for_the_loader": waiting} | ratios


def ped2(lab):
    if lab.args.ped2 is None:
        return {"skipped": "no --ped2"}
    out, exported = lab.work / "ped2.safetensors", lab.args.out / "ped2-weights.safetensors"
    flags = ("--data", lab.args.ped2.resolve(), "--out", out, "--past-frames", 4, *lab.size)
    settings = (f"training.device={lab.args.device}", f"training.epochs={lab.args.epochs}")
    chosen = [word for setting in settings for word in ("--set", setting)]
    log = lab.work / "ped2.jsonl"
    started = time.perf_counter()
    lab.run(lab.program("protoguard-trainer", "train", *flags, *chosen, "--log-out", log, "--overwrite"))
    export = ("export", "--checkpoint", out, "--out", exported, "--f16", "--without-motion", "--overwrite")
    lab.run(lab.program("protoguard-trainer", *export))
    return {"seconds": time.perf_counter() - started, "epochs": lab.args.epochs}


def machine(device):
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    gpu = None
    if device != "cpu":
        gpu = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    return {"gpu": gpu, "cores": cores, "torch": torch.__version__, "python": platform.python_version()}


def table(results):
    """The numbers of every stage, a row each."""
    rows = []

    def walk(path, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk([*path, str(key)], inner)
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            rows.append(f"| {' / '.join(path)} | {shown} |")

    walk([], results["stages"])
    head = f"# On {results['machine']['gpu'] or 'the CPU'}, {results['date']}\n\nSettings: `{results['settings']}`.\n"
    return "\n".join([head, "| what | measured |", "|---|---|", *rows, ""])


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", default=",".join(STAGES))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")], default="1,2,4,8,16,32,64")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--ped2", type=pathlib.Path, help="folder of the training half")
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    stages = args.only.split(",")
    unknown = sorted(set(stages) - set(STAGES))
    if unknown:
        parser.error(f"--only names {', '.join(unknown)}; of {', '.join(STAGES)} some are expected")
    lab = Lab(args)
    date = datetime.date.today().isoformat()
    settings = {"side": args.side, "base_width": args.base_width, "batches": args.batches}
    results = {"date": date, "machine": machine(args.device), "settings": settings, "stages": {}}
    for stage in stages:
        print(f"== {stage}", file=sys.stderr, flush=True)
        results["stages"][stage] = globals()[stage](lab)
        (args.out / f"gpu-{date}.json").write_text(json.dumps(results, indent=1) + "\n")
        (args.out / f"gpu-{date}.md").write_text(table(results))
    print(json.dumps(results["stages"]))


if __name__ == "__main__":
    main()
