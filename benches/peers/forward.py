"""The forward pass of one checkpoint under one peer, for `cargo xtask bench model` and, on a GPU,
for `benches/gpu/measure.py`.

Reads a checkpoint and a case that `protoguard-server bare --case FILE` wrote: a clip and what came
out for it. Then answers each line of JSON on standard input with one on standard output:

    {"outputs": "scores" | "full", "batch": 4, "repetitions": 5}  ->  {"seconds": [...]}

A model is built for a kind of outputs and a batch size when it is first asked for, and its results
are compared with the case's before anything is timed; one run more comes before those that are. All peers do the same work from
8-bit clips to scores: squared error and feature distance, and for "full" the predicted frame and
the RGB differences.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
import warnings

import torch
import torch.nn.functional as F
from network import of_checkpoint, unit
from safetensors import safe_open
from torch import nn

PEERS = (
    "pytorch_f32",
    "pytorch_f32_channels_last",
    "pytorch_bf16_autocast",
    "pytorch_bf16_folded",
    "inductor_f32",
    "inductor_bf16",
    "onnxruntime_f32",
    "openvino_f32",
    "openvino_bf16",
)


class Scorer(nn.Module):
    """From clips `[B, t + 1, S, S, 3]` in 8 bits to scores, and to pictures where asked for."""

    def __init__(self, network, temperature, full, kind=torch.float32, channels_last=False):
        super().__init__()
        self.network, self.temperature, self.full = network, temperature, full
        self.kind, self.channels_last = kind, channels_last

    def forward(self, clips):
        batch, frames, side = clips.shape[0], clips.shape[1], clips.shape[2]
        x = clips.permute(0, 1, 4, 2, 3).reshape(batch, 3 * frames, side, side)
        x = x.float() / 127.5 - 1
        past, target = x[:, :-3], x[:, -3:]
        if self.channels_last:
            past = past.contiguous(memory_format=torch.channels_last)
        z, skips = self.network.encode(past.to(self.kind))
        z_hat, distance = self.recollect(z)
        made = torch.tanh(self.network.decode(self.network.prediction, z_hat, skips)).float()
        error = (0.5 * (target - made)).square().mean((1, 2, 3))
        if not self.full:
            return error, distance
        moved = self.network.decode(self.network.motion, z_hat, None).float()
        frame = (0.5 * (made + 1)).permute(0, 2, 3, 1)
        difference = moved.clamp(-2, 2).reshape(batch, frames - 1, 3, side, side)
        return error, distance, frame, difference.permute(0, 1, 3, 4, 2)

    def recollect(self, z):
        batch, channels, side = z.shape[0], z.shape[1], z.shape[2]
        q = unit(z.float().permute(0, 2, 3, 1).reshape(batch, side * side, channels))
        items = self.network.memory.items
        d = q @ items.T
        nearest = items[d.argmax(-1)]
        z_hat = F.softmax(d / self.temperature, -1) @ items
        z_hat = z_hat.reshape(batch, side, side, channels).permute(0, 3, 1, 2)
        return z_hat.to(z.dtype), (q - nearest).norm(dim=-1).mean(-1)


class Torch:
    """Eager PyTorch, or compiled."""

    def __init__(self, name, tensors, temperature, device):
        self.name, self.tensors, self.temperature = name, tensors, temperature
        self.device = torch.device(device)

    def scorer(self, full):
        network = of_checkpoint(self.tensors).eval()
        plain, autocast = self.name == "pytorch_f32", self.name == "pytorch_bf16_autocast"
        kind = torch.bfloat16 if "bf16" in self.name and not autocast else torch.float32
        if kind == torch.bfloat16 or self.name.startswith("inductor"):
            network = network.fold()
        if kind == torch.bfloat16:
            items = network.memory.items.clone()
            network = network.to(kind)
            network.memory.items = items
        if not plain:
            network = network.to(memory_format=torch.channels_last)
        return Scorer(network, self.temperature, full, kind, not plain).eval().to(self.device)

    def build(self, full, clips):
        scorer, autocast = self.scorer(full), self.name == "pytorch_bf16_autocast"
        on, gpu = self.device.type, self.device.type == "cuda"
        clips = clips.pin_memory() if gpu else clips
        if self.name.startswith("inductor"):
            torch._inductor.config.freezing = True
            mode = "max-autotune" if gpu else "default"
            scorer = torch.compile(scorer, dynamic=False, mode=mode)

        def run():
            with torch.no_grad(), torch.autocast(on, torch.bfloat16, enabled=autocast):
                made = scorer(clips.to(self.device, non_blocking=True))
                return [tensor.to("cpu") for tensor in made]

        return run


class OnnxRuntime:
    def __init__(self, tensors, temperature, threads):
        self.tensors, self.temperature, self.threads = tensors, temperature, threads

    def build(self, full, clips):
        import onnxruntime

        scorer = Scorer(of_checkpoint(self.tensors).eval().fold(), self.temperature, full).eval()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder, "model.onnx"))
            with torch.no_grad():
                torch.onnx.export(scorer, (clips,), path, input_names=["clips"], dynamo=False)
            session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        feed = {"clips": clips.numpy()}
        return lambda: session.run(None, feed)


class OpenVino:
    def __init__(self, tensors, temperature, threads, kind):
        self.tensors, self.temperature = tensors, temperature
        self.threads, self.kind = threads, kind

    def build(self, full, clips):
        import openvino

        scorer = Scorer(of_checkpoint(self.tensors).eval().fold(), self.temperature, full).eval()
        with torch.no_grad():
            model = openvino.convert_model(scorer, example_input=clips, input=list(clips.shape))
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self.kind,
            "INFERENCE_NUM_THREADS": self.threads,
        }
        request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
        feed = clips.numpy()

        def run():
            request.infer([feed], share_inputs=True)
            count = 4 if full else 2
            return [request.get_output_tensor(index).data for index in range(count)]

        return run


def peer(name, tensors, temperature, threads, device):
    if name == "onnxruntime_f32":
        return OnnxRuntime(tensors, temperature, threads)
    if name.startswith("openvino"):
        return OpenVino(tensors, temperature, threads, name.removeprefix("openvino_"))
    return Torch(name, tensors, temperature, device)


def read(checkpoint, case):
    """The tensors of either, and the temperature that the memory is read with."""
    with safe_open(checkpoint, "pt") as file:
        content = json.loads(file.metadata()["protoguard"])["content"]
        content = json.loads(content) if isinstance(content, str) else content
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    with safe_open(case, "pt") as file:
        case = {name: file.get_tensor(name) for name in file.keys()}
    return tensors, case, content["model"]["memory"]["temperature"]


def check(name, made, case):
    """Refuses results that are not those of the case: `[B, ...]` of the same clip B times."""
    tolerance = {"f32": 2e-3, "bf16": 0.06}["bf16" if "bf16" in name else "f32"]
    names = ("squared_error", "feature_distance", "predicted_frame", "rgb_difference")
    for key, made in zip(names, made):
        made = torch.as_tensor(made).float()
        expected = case[key].float().expand_as(made)
        # Pictures by their root mean square: one pixel of bf16 says little.
        departure = (made - expected).square().mean().sqrt()
        size = expected.square().mean().sqrt()
        if not departure <= tolerance * size:
            sys.exit(f"{name} departs from {key} by {departure:.3g} (root mean square {size:.3g})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("checkpoint")
    parser.add_argument("case")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0; PyTorch's alone")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    tensors, case, temperature = read(args.checkpoint, args.case)
    measured = peer(args.peer, tensors, temperature, args.threads, args.device)
    built = {}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Frameworks write to standard output.
    for line in sys.stdin:
        asked = json.loads(line)
        key = asked["outputs"], asked["batch"]
        if key not in built:
            clips = case["clip"].expand(asked["batch"], *case["clip"].shape).contiguous()
            run = measured.build(asked["outputs"] == "full", clips)
            check(args.peer, run(), case)
            built[key] = run
        built[key]()
        seconds = []
        for _ in range(asked["repetitions"]):
            started = time.perf_counter()
            built[key]()
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
