"""One training step of the same network in PyTorch, for `cargo xtask bench training` and, on a
GPU, for `benches/gpu/measure.py`.

Reads a case that `protoguard-trainer step --case FILE` wrote: weights, clips, the losses of the
first steps. Trains on it from the same weights and prints one line of JSON:
`{"losses": [[total, prediction, difference, discriminative], ...], "seconds": [...], "peak_mib": ...}`.
The first `--check` steps are for comparing losses and warming up; the rest are timed.

Eager; `channels_last`, autocast and torch.compile are flags.
"""

import argparse
import contextlib
import json
import time

import torch
import torch.nn.functional as F
from network import of_checkpoint, unit
from safetensors import safe_open


def update(items, q, rate):
    """M' of the nearest queries, differentiable in them."""
    q = q.reshape(-1, q.shape[-1])
    d = q @ items.T
    pull = d.exp() * F.one_hot(d.detach().argmax(1), items.shape[0])
    total = pull.sum(0, keepdim=True)
    pulled = (pull / total.clamp_min(1e-12)).T @ q
    moved = F.normalize((1 - rate) * items + rate * pulled, dim=1, eps=1e-12)
    return torch.where(total.detach().T > 0, moved, items)


def recollect(network, z, config):
    """z_hat, M' and what the discriminative loss needs, all in f32."""
    q = z.float().permute(0, 2, 3, 1).flatten(1, 2)
    q = unit(q)
    items = update(network.memory.items, q, config["update_rate"])
    d = q @ items.T
    nearest = d.detach().argmax(-1)
    counts = d.new_zeros(d.shape[0], d.shape[2]).scatter_add_(
        1, nearest, d.new_ones(nearest.shape)
    )
    z_hat = (d / config["temperature"]).softmax(-1) @ items
    side = z.shape[-1]
    z_hat = z_hat.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    within = 2 * (1 - d.gather(2, nearest[..., None])[..., 0]) * counts.gather(1, nearest)
    spread = (items - items.mean(0, keepdim=True)).square().sum(1)
    queries = q.shape[1]
    ratio = (within.sum(1) / queries) / ((counts * spread).sum(1) / queries + 1e-6)
    return z_hat, items, ratio.mean()


def l2(truth, made):
    return ((truth - made.float()).square().sum((1, 2, 3)) + 1e-12).sqrt().mean()


def step(network, optimizer, clips, config, cast):
    batch, frames, side = clips.shape[:3]
    x = clips.permute(0, 1, 4, 2, 3).reshape(batch, 3 * frames, side, side).float() / 127.5 - 1
    if config["channels_last"]:
        x = x.contiguous(memory_format=torch.channels_last)
    past, target = x[:, :-3], x[:, -3:]
    if config["channels_last"]:
        past = past.contiguous(memory_format=torch.channels_last)
    with cast():
        z, skips = network.encode(past)
    z_hat, items, discriminative = recollect(network, z, config)
    with cast():
        made = torch.tanh(network.decode(network.prediction, z_hat, skips).float())
        moved = network.decode(network.motion, z_hat, None)
    prediction = l2(target, made)
    difference = l2(past - target.repeat(1, frames - 1, 1, 1), moved)
    total = prediction + 0.1 * difference + discriminative
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    optimizer.step()
    with torch.no_grad():
        network.memory.items.copy_(items)
    return [float(v.detach()) for v in (total, prediction, difference, discriminative)]


def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--check", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--fused-adam", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    if args.threads:
        torch.set_num_threads(args.threads)
    with safe_open(args.case, "pt") as file:
        config = json.loads(file.metadata()["case"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    clips = tensors.pop("clips").to(args.device)
    config["channels_last"] = args.channels_last
    network = of_checkpoint(tensors).train().to(args.device)
    if args.channels_last:
        network = network.to(memory_format=torch.channels_last)
    fused = {"fused": True} if args.fused_adam else {}
    optimizer = torch.optim.Adam(network.parameters(), lr=config["learning_rate"], **fused)
    cast = contextlib.nullcontext
    if args.compile:
        network.encode, network.decode = torch.compile(network.encode), torch.compile(network.decode)
    if args.precision == "bf16":
        cast = lambda: torch.autocast(clips.device.type, torch.bfloat16)  # noqa: E731
    losses = [step(network, optimizer, clips, config, cast) for _ in range(args.check)]
    seconds = []
    for _ in range(args.steps):
        started = time.perf_counter()
        step(network, optimizer, clips, config, cast)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"losses": losses, "seconds": seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
