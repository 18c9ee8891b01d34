"""The stages that compare: with the CPU, with PyTorch, with the matrix units' own rate.

A stage fills `found` as it goes, so that what it has measured is kept when it fails or its time ends.
"""

import statistics
import time

import torch
from safetensors.torch import load_file

import peers
from clock import Failed

# GFLOP of a clip at 256 pixels and width 64, by what is asked for: twice the multiplications.
FULL_SIZE_GFLOP = {"full": 135.2, "scores": 88.4}
# Relative departure from the CPU in f32 that each may have.
TOLERANCE = {"f32": 1e-3, "tf32": 1e-3, "bf16": 1e-2}
KINDS = ("scores", "full")


def attempt(found, key, measure):
    """Measures one thing; a failure is a result too."""
    try:
        found[key] = measure()
    except Exception as failure:  # noqa: BLE001: nothing may end the others
        found[key] = {"error": f"{type(failure).__name__}: {failure}"[:2500]}
        return None
    return found[key]


def departure(found, expected):
    """Relative, by root mean square."""
    size = expected.float().square().mean().sqrt().clamp_min(1e-12)
    return ((found.float() - expected.float()).square().mean().sqrt() / size).item()


def case_of(lab, precision, device, clock, more=()):
    path = lab.work / f"case-{device.replace(':', '-')}-{precision}.safetensors"
    if not path.exists():
        once = ("--batch-sizes", 1, "--repetitions", 1, "--warm-up", 0, "--case", path)
        lab.bare(precision, device, clock, *once, *more)
    return path


def runs(lab, clock, found):
    """Results on the GPU against the CPU's in f32."""
    device = lab.args.device
    started = time.monotonic()
    lab.checkpoint(clock)
    found["seconds_to_a_checkpoint"] = time.monotonic() - started
    expected = load_file(case_of(lab, "f32", "cpu", clock))
    for precision in ("tf32", "bf16", "f32"):

        def compare(precision=precision):
            case = load_file(case_of(lab, precision, device, clock))
            departures = {name: departure(case[name], expected[name]) for name in expected if name != "clip"}
            far = [name for name in departures if departures[name] > TOLERANCE[precision]]
            return departures | {"beyond_tolerance": ", ".join(far) or "nothing"}

        attempt(found, precision, compare)


def matrix_tflops(device):
    """TFLOP/s of a bf16 matrix product: what nothing that multiplies can exceed."""
    gpu = device != "cpu"
    side = 8192 if gpu else 512
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    wait = torch.cuda.synchronize if gpu else lambda: None
    times = []
    for _ in range(20):
        wait()
        started = time.perf_counter()
        a @ b
        wait()
        times.append(time.perf_counter() - started)
    del a, b
    if gpu:
        torch.cuda.empty_cache()
    return 2 * side**3 / statistics.median(times[5:]) / 1e12


def few_batches(lab):
    """The smallest, the largest and one between."""
    sizes = sorted(lab.args.batches)
    return sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})


def bare_rates(lab, precision, batches, clock):
    """All that `bare` tells of every batch size, by kind of outputs."""
    sizes = ",".join(map(str, batches))
    flags = ("--batch-sizes", sizes, "--repetitions", lab.args.repetitions, "--warm-up", 3)
    report = lab.bare(precision, lab.args.device, clock, *flags)
    return {kind: {str(cell["batch_size"]): cell for cell in report[kind]} for kind in KINDS}


def inference(lab, clock, found):
    """Forward passes by batch size beside eager PyTorch. The most telling come first."""
    attempt(found, "matrix_tflops", lambda: matrix_tflops(lab.args.device))
    few = few_batches(lab)
    others = [batch for batch in lab.args.batches if batch not in few]
    ours = found["protoguard"] = {}
    case = None
    for precision, batches, share in (("bf16", few, 60), ("tf32", few, 60)):
        attempt(ours, precision, lambda: bare_rates(lab, precision, batches, clock.part(share)))
    case = attempt({}, "case", lambda: case_of(lab, "f32", "cpu", clock))
    eager = found["pytorch"] = {}
    cells = [(kind, batch) for kind in KINDS for batch in few]
    for name in ("pytorch_bf16_folded", "pytorch_f32_channels_last"):
        if case is not None:
            attempt(eager, name, lambda: peers.forward_rates(lab, name, case, clock.part(40), cells, each=25))
    if others:
        attempt(ours, "bf16, other batches", lambda: bare_rates(lab, "bf16", others, clock))
    attempt(ours, "f32", lambda: bare_rates(lab, "f32", few, clock))


def disagreement(found, name, of):
    """How far the prediction loss of the first step lies from ours in f32, if too far."""
    ours = found.get("protoguard_f32", {}).get("losses")
    if not ours or not of.get("losses"):
        return None
    departs = abs(of["losses"][0][1] - ours[0][1]) / ours[0][1]
    return departs if departs > (2e-2 if "bf16" in name else 2e-3) else None


def step(found, name, measure):
    of = attempt(found, name, measure)
    if of and "seconds" in of:
        of["median_ms"] = 1e3 * statistics.median(of["seconds"])
        if sum(of.get("waiting", [])):
            of["waiting_share"] = sum(of["waiting"]) / sum(of["seconds"])
        departs = disagreement(found, name, of)
        if departs is not None:
            of["prediction_loss_departs_by"] = departs


def training(lab, clock, found):
    """A step beside eager PyTorch's, from the same weights and clips."""
    case, steps = lab.work / "case-training.safetensors", 2 * lab.args.repetitions
    few, device = ("--check", 3, "--steps", steps), ("--device", lab.args.device)

    def ours(*more):
        command = lab.program("protoguard-trainer", "step", *lab.size, *few, *device, *more)
        return lab.json(command, clock)

    def pytorch(*more):
        return peers.training_step(lab, case, clock, *more, few=few)

    bf16 = ("--precision", "bf16")
    step(found, "protoguard_f32", lambda: ours("--case", case))
    step(found, "protoguard_bf16", lambda: ours(*bf16))
    if case.exists():
        step(found, "pytorch_bf16_channels_last", lambda: pytorch("--channels-last", *bf16))
        step(found, "pytorch_f32_channels_last", lambda: pytorch("--channels-last"))
    step(found, "protoguard_bf16_batch_16", lambda: ours(*bf16, "--batch-size", 16))


def compiled(lab, clock, found):
    """What torch.compile makes of both, with the time that is left: compiling takes most of it."""
    few, case = few_batches(lab), case_of(lab, "f32", "cpu", clock)
    small, middle, large = few[0], few[len(few) // 2], few[-1]
    cells = [("scores", large), ("scores", small), ("full", large), ("scores", middle)]
    half = clock.part(0.45 * clock.left())
    rates = lambda within, more: peers.forward_rates(  # noqa: E731
        lab, "inductor_bf16", case, within, cells, more, each=within.left()
    )
    attempt(found, "inductor_bf16, cuDNN's convolutions", lambda: rates(half, peers.QUICK))
    training_case = lab.work / "case-training.safetensors"
    if training_case.exists():
        steps = ("--check", 3, "--steps", 2 * lab.args.repetitions)
        flags = ("--channels-last", "--compile", "--precision", "bf16")
        within = clock.part(0.6 * clock.left())
        step(
            found,
            "training_bf16_compiled",
            lambda: peers.training_step(lab, training_case, within, *flags, few=steps),
        )
    if clock.left() > 20:
        attempt(found, "inductor_bf16, max-autotune", lambda: rates(clock, None))


def serving(lab, clock, found):
    """The server against its own forward pass."""
    batches = ",".join(map(str, few_batches(lab)))
    quick = ("--batch-sizes", batches, "--scores-only", "--repetitions", lab.args.repetitions)
    bare = lab.bare("auto", lab.args.device, clock, *quick)
    lone_ms = next(cell["median_ms"] for cell in bare["scores"] if cell["batch_size"] == 1)
    found["bare_clips_per_second"] = bare["best_clips_per_second"]
    many = 4 * max(lab.args.batches)
    crowd = ("--clients", many, "--connections", 4)
    for workers in (1, 2):
        of = found[f"{workers} workers"] = {}
        try:
            with lab.server(workers, clock) as address:
                raw = lab.load(address, clock, *crowd)
                of["clips_per_second"] = rate = raw["clips_per_second"]
                of["E1"] = rate / bare["best_clips_per_second"]
                jpeg = lab.load(address, clock, *crowd, "--payload", "jpeg")
                of["jpeg_clips_per_second"] = jpeg["clips_per_second"]
                lone = lab.load(address, clock, "--clients", 1)
                of["E3_ms"] = lone["latency_ms"]["p50"] - lone_ms
                busy = lab.load(address, clock, "--rate", 0.7 * rate, "--connections", 4)
                of["E5"] = busy["latency_ms"]["p99"] / busy["latency_ms"]["p50"]
                over = ("--rate", 2 * rate, "--connections", 4, "--deadline-ms", 1000)
                of["E6"] = lab.load(address, clock, *over)["goodput_per_second"] / rate
        except Failed as failure:
            of["error"] = str(failure)


def summary(stages, args):
    """Ratios over whatever was measured."""
    made = {}
    scores = stages.get("inference", {})
    ours = scores.get("protoguard", {}).get("bf16", {})
    scale = (args.side / 256 * args.base_width / 64) ** 2
    rivals = [*scores.get("pytorch", {}).values(), *stages.get("compiled", {}).values()]
    for kind, gflop in FULL_SIZE_GFLOP.items():
        if kind not in ours:
            continue
        best = max(cell["clips_per_second"] for cell in ours[kind].values())
        made[f"{kind}, clips/s"] = best
        if isinstance(scores.get("matrix_tflops"), float):
            made[f"{kind}, share of the ceiling"] = best * gflop * scale / 1e3 / scores["matrix_tflops"]
        theirs = [rate for rival in rivals for rate in rival.get(kind, {}).values()]
        if theirs:
            made[f"{kind}, over the fastest of PyTorch"] = best / max(theirs)
    steps = {**stages.get("training", {}), **stages.get("compiled", {})}
    for kind in ("f32", "bf16"):
        own = steps.get(f"protoguard_{kind}", {}).get("median_ms")
        theirs = [of["median_ms"] for name, of in steps.items() if kind in name and "protoguard" not in name and "median_ms" in of]
        if own and theirs:
            made[f"training in {kind}, over the fastest of PyTorch"] = min(theirs) / own
    return made
