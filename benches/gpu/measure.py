r"""What a GPU does for Protoguard, on a machine that needs no Rust toolchain and no person beside it.

    python3 benches/gpu/measure.py --binaries FOLDER --out FOLDER --only runs,inference,training,compiled

FOLDER holds `protoguard`, `protoguard-server` and `protoguard-trainer` as `cargo build --release` made them on
a machine like this one; `pack.py` makes a folder `.gpu` of them and of Ped2 that travels. libtorch is that of
this Python's own torch package (2.11.0). Stages, each of which checks what was computed before it times it:

    runs       results on the GPU against the CPU's
    inference  forward passes by batch size, beside eager PyTorch and the rate of a large matrix product
    training   a step beside eager PyTorch's
    compiled   both beside torch.compile's, which takes its time to compile
    serving    the server against its bare forward pass, with one and two workers
    ped2       a training run on Ped2 (--ped2): as many of --epochs as fit; weights in f16, in pieces
    grid       several training runs at once (--grid FILE.toml, see trainings.py)

Each stage has a share of the time (`--share runs=60`, seconds) and all together have `--limit`. A stage stops
by itself, keeps what it has, and fails alone: its error is a result. After every one the results so far are in
`gpu-DATE-STAGES.json` and `.md`; what the programs said is in `measure.log`; weights lie beside, in pieces of at
most 15 MiB. `--config FILE` and `--preset-set model.base_width=48` choose the network of ped2 and grid.
`--device cpu --side 32 --base-width 8 --batches 1,2` tries all of it out.

Two runs of a machine with a time limit, from the repository's root with `.gpu` in it, results in OUT:

    python3 -m tarfile -e .gpu/programs.tar.xz /tmp && python3 benches/gpu/measure.py --binaries /tmp/programs \
        --out OUT --only runs,inference,training,compiled --limit 290
    python3 -m tarfile -e .gpu/programs.tar.xz /tmp && python3 -m tarfile -e .gpu/ped2-256.tar /tmp/ped2 && \
        python3 benches/gpu/measure.py --binaries /tmp/programs --out OUT --only ped2 --ped2 /tmp/ped2 \
        --limit 440 --preset-set training.precision=bf16 --preset-set training.tf32=true
"""

import time

STARTED = time.monotonic()

import argparse  # noqa: E402: what is imported below takes seconds, which count
import datetime  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import pathlib  # noqa: E402
import platform  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402

import torch  # noqa: E402

import comparisons  # noqa: E402
import trainings  # noqa: E402
from clock import SPARE_S, Clock  # noqa: E402
from lab import Lab  # noqa: E402

STAGES = {
    "runs": (comparisons.runs, 60),
    "inference": (comparisons.inference, 130),
    "training": (comparisons.training, 80),
    "compiled": (comparisons.compiled, 180),
    "serving": (comparisons.serving, 120),
    "ped2": (trainings.ped2, 450),
    "grid": (trainings.grid, 400),
}


def machine(device):
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    gpu = None
    if device != "cpu":
        try:
            gpu = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip()
        except (OSError, subprocess.TimeoutExpired) as failure:
            gpu = f"unknown: {failure}"
    cores = len(os.sched_getaffinity(0))
    return {"gpu": gpu, "cores": cores, "torch": torch.__version__, "python": platform.python_version()}


def table(results):
    """The numbers of every stage, a row each."""
    rows = []

    def walk(path, value):
        if isinstance(value, dict) and "clips_per_second" in value and "median_ms" in value:
            value = f"{value['clips_per_second']:.1f} clips/s, {value['median_ms']:.2f} ms"
        if isinstance(value, dict):
            for key, inner in value.items():
                walk([*path, str(key)], inner)
        elif not isinstance(value, list):
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            shown = " ".join(shown.replace("|", "/").split())[:300]
            rows.append(f"| {' / '.join(path)} | {shown} |")

    walk([], {"summary": results["summary"]} | results["stages"])
    head = f"# On {results['machine']['gpu'] or 'the CPU'}, {results['date']}\n\nSettings: `{results['settings']}`.\n"
    return "\n".join([head, "| what | measured |", "|---|---|", *rows, ""])


class Report:
    """Results so far, in both forms, after every stage."""

    def __init__(self, lab, stages):
        args, self.lab = lab.args, lab
        date = datetime.date.today().isoformat()
        kept = ("side", "base_width", "batches", "repetitions", "limit", "share", "preset_set")
        settings = {name: getattr(args, name) for name in kept}
        self.path = lab.out / f"gpu-{date}-{'-'.join(stages)}"
        self.results = {"date": date, "machine": machine(args.device), "settings": settings}
        self.results |= {"summary": {}, "stages": {}, "stage_seconds": {}}

    def write(self):
        try:
            self.results["summary"] = comparisons.summary(self.results["stages"], self.lab.args)
        except Exception as failure:  # noqa: BLE001: the numbers themselves matter more
            self.results["summary"] = {"error": str(failure)}
        self.path.with_suffix(".json").write_text(json.dumps(self.results, indent=1) + "\n")
        self.path.with_suffix(".md").write_text(table(self.results))

    def stage(self, name, whole):
        print(f"== {name}, {whole.left():.0f} s left", file=sys.stderr, flush=True)
        measure, share = STAGES[name]
        started, found = time.monotonic(), {}
        self.results["stages"][name] = found
        clock = whole.part(self.lab.args.share.get(name, share))
        try:
            measure(self.lab, clock, found)
        except Exception as failure:  # noqa: BLE001: the next stage goes on
            found["error"] = f"{type(failure).__name__}: {failure}"[:2500]
        self.results["stage_seconds"][name] = round(time.monotonic() - started, 1)
        self.write()


def shares(texts):
    pairs = (text.partition("=") for text in texts)
    return {name: float(seconds) for name, _, seconds in pairs}


def arguments():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, help="folder for what does not come back; a new one if absent")
    parser.add_argument("--only", default="runs,inference,training,compiled,serving")
    parser.add_argument("--limit", type=float, default=3600, help="seconds, all together")
    parser.add_argument("--share", action="append", default=[], metavar="STAGE=SECONDS")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--batches", default="1,2,4,8,16,32,64")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--ped2", type=pathlib.Path, help="folder of the training half")
    parser.add_argument("--epochs", type=int, default=60, help="at most; training.epochs in the settings wins")
    parser.add_argument("--config", type=pathlib.Path, help="TOML of the trainer, for ped2 and grid")
    parser.add_argument("--preset-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--grid", type=pathlib.Path, help="TOML of several runs")
    args = parser.parse_args()
    args.stages, args.share = args.only.split(","), shares(args.share)
    args.batches = [int(batch) for batch in args.batches.split(",")]
    unknown = sorted({*args.stages, *args.share} - set(STAGES))
    if unknown:
        parser.error(f"{', '.join(unknown)} is no stage; {', '.join(STAGES)} are")
    return args


def main():
    args = arguments()
    spent = time.monotonic() - STARTED
    whole = Clock(args.limit - spent - SPARE_S)
    report = Report(Lab(args), args.stages)
    for stage in args.stages:
        report.stage(stage, whole)
    print(report.path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
