"""Golden arrays for the network, the memory, the losses and the scores.

An independent float64 PyTorch implementation of the method, written from its description and not
from the Rust code, so that the two can disagree. Run `python model.py` (PyTorch and numpy) to
rewrite `model.safetensors` beside this file; the seed makes the arrays the same every time.

Weights, BatchNorm statistics and memory items are random float32 values, so that both sides start
from the same numbers; everything computed from them is float64.
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SEED = 20211
T, SIDE, WIDTH, ITEMS, BATCH = 2, 24, 4, 6, 2
CHANNELS = 8 * WIDTH
TAU = 0.7

torch.set_default_dtype(torch.float64)
torch.use_deterministic_algorithms(True)


# --------------------------------------------------------------------------- weights and clips


def as_float32(x):
    return x.to(torch.float32).to(torch.float64)


def random_weights(generator):
    """Every tensor of the network by its path."""
    weights = {}

    def normal(*size):
        return torch.randn(*size, generator=generator)

    def uniform(low, high, *size):
        return low + (high - low) * torch.rand(*size, generator=generator)

    def conv(path, inputs, outputs, transposed=False):
        size = (inputs, outputs, 3, 3) if transposed else (outputs, inputs, 3, 3)
        weights[path + ".weight"] = normal(*size) / (inputs * 9) ** 0.5
        weights[path + ".bias"] = 0.1 * normal(outputs)

    def norm(path, channels):
        weights[path + ".weight"] = uniform(0.5, 1.5, channels)
        weights[path + ".bias"] = 0.2 * normal(channels)
        weights[path + ".running_mean"] = 0.2 * normal(channels)
        weights[path + ".running_var"] = uniform(0.5, 1.5, channels)

    def pair(path, inputs, outputs, last_norm=True):
        conv(path + ".conv1", inputs, outputs)
        norm(path + ".norm1", outputs)
        conv(path + ".conv2", outputs, outputs)
        if last_norm:
            norm(path + ".norm2", outputs)

    w = WIDTH
    pair("encoder.1", 3 * T, w)
    pair("encoder.2", w, 2 * w)
    pair("encoder.3", 2 * w, 4 * w)
    pair("encoder.4", 4 * w, 8 * w, last_norm=False)
    for branch, skips, outputs in (("prediction", True, 3), ("motion", False, 3 * T)):
        pair(f"{branch}.4", 8 * w, 8 * w)
        for level, channels in ((3, 4 * w), (2, 2 * w), (1, w)):
            conv(f"{branch}.{level}.up", 2 * channels, channels, transposed=True)
            norm(f"{branch}.{level}.up_norm", channels)
            pair(f"{branch}.{level}", 2 * channels if skips else channels, channels)
        conv(f"{branch}.last", w, outputs)
    return {name: as_float32(value) for name, value in weights.items()}


def random_clips(generator):
    """`[B, t + 1, S, S, 3]` u8: smooth patterns that drift, with noise."""
    y, x = torch.meshgrid(torch.arange(SIDE) / SIDE, torch.arange(SIDE) / SIDE, indexing="ij")
    clips = torch.empty(BATCH, T + 1, SIDE, SIDE, 3)
    for b in range(BATCH):
        for f in range(T + 1):
            for c in range(3):
                phase = 0.6 * f + 1.7 * c + 2.9 * b
                clips[b, f, :, :, c] = torch.sin((3 + b) * x * 3.1 + phase) * torch.cos(
                    (2 + c) * y * 3.1 - 0.3 * f
                )
    noise = torch.randn(clips.shape, generator=generator)
    return (127.5 + 100 * clips + 12 * noise).round().clamp(0, 255).to(torch.uint8)


def to_sample(clips):
    """Input `[B, 3t, S, S]` and target `[B, 3, S, S]` in [-1, 1], frames then colours."""
    stacked = clips.to(torch.float64) / 127.5 - 1
    stacked = stacked.permute(0, 1, 4, 2, 3).reshape(BATCH, 3 * (T + 1), SIDE, SIDE)
    return stacked[:, : 3 * T], stacked[:, 3 * T :]


# --------------------------------------------------------------------------- network


class Net:
    """The two-branch autoencoder without its memory; `statistics` follow the batches."""

    def __init__(self, weights, training):
        self.w, self.training = weights, training
        self.statistics = {k: v.clone() for k, v in weights.items() if ".running_" in k}

    def conv(self, x, path):
        return F.conv2d(x, self.w[path + ".weight"], self.w[path + ".bias"], padding=1)

    def norm_relu(self, x, path):
        mean, var = (self.statistics[f"{path}.running_{s}"] for s in ("mean", "var"))
        y = F.batch_norm(
            x, mean, var, self.w[path + ".weight"], self.w[path + ".bias"], self.training, 0.1, 1e-5
        )
        return torch.relu(y)

    def pair(self, x, path):
        x = self.norm_relu(self.conv(x, path + ".conv1"), path + ".norm1")
        return self.norm_relu(self.conv(x, path + ".conv2"), path + ".norm2")

    def up(self, x, path):
        w, b = self.w[path + ".up.weight"], self.w[path + ".up.bias"]
        x = F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1)
        return self.norm_relu(x, path + ".up_norm")

    def encode(self, x):
        skips = []
        for level in (1, 2, 3):
            x = self.pair(x, f"encoder.{level}")
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.norm_relu(self.conv(x, "encoder.4.conv1"), "encoder.4.norm1")
        return self.conv(x, "encoder.4.conv2"), skips

    def predict(self, z_hat, skips):
        x = self.pair(z_hat, "prediction.4")
        for level in (3, 2, 1):
            x = self.up(x, f"prediction.{level}")
            x = self.pair(torch.cat([skips[level - 1], x], dim=1), f"prediction.{level}")
        return torch.tanh(self.conv(x, "prediction.last"))

    def generate(self, z_hat):
        x = self.pair(z_hat, "motion.4")
        for level in (3, 2, 1):
            x = self.pair(self.up(x, f"motion.{level}"), f"motion.{level}")
        return self.conv(x, "motion.last")


# --------------------------------------------------------------------------- memory


def queries(z, normalize=True):
    q = z.permute(0, 2, 3, 1).reshape(z.shape[0], -1, z.shape[1])
    return q / q.norm(dim=-1, keepdim=True).clamp_min(1e-6) if normalize else q


def cosine(q, items):
    """Eq. 8, written out."""
    numerator = torch.einsum("...c,nc->...n", q, items)
    return numerator / (q.norm(dim=-1, keepdim=True) * items.norm(dim=-1))


def nearest(d):
    return torch.from_numpy(d.detach().numpy().argmax(axis=-1))


def read(q, items, z):
    d = cosine(q, items)
    weights = torch.softmax(d / TAU, dim=-1)
    z_hat = torch.einsum("bkn,nc->bkc", weights, items)
    height = z.shape[2]
    return d, z_hat.reshape(z.shape[0], height, height, -1).permute(0, 3, 1, 2)


def updated(q, items, scope, eta):
    """Eq. 11 and 12, item by item."""
    flat = q.reshape(-1, q.shape[-1])
    d = cosine(flat, items)
    owner = nearest(d)
    rows = []
    for j in range(items.shape[0]):
        inside = torch.arange(len(flat)) if scope == "all" else (owner == j).nonzero()[:, 0]
        if len(inside) == 0:
            rows.append(items[j])
            continue
        v = torch.softmax(d[inside, j], dim=0)
        row = (1 - eta) * items[j] + eta * (v[:, None] * flat[inside]).sum(dim=0)
        rows.append(row / row.norm())
    return torch.stack(rows)


# --------------------------------------------------------------------------- losses


def scatter_traces(q, items, within):
    """Traces of Eq. 13 and 16 from explicit C x C matrices, by clip."""
    owner = nearest(cosine(q, items))
    count = q.shape[1]
    mean = items.mean(dim=0)
    result = []
    for b in range(q.shape[0]):
        s_w = torch.zeros(CHANNELS, CHANNELS)
        s_b = torch.zeros(CHANNELS, CHANNELS)
        for j in range(items.shape[0]):
            inside = q[b][owner[b] == j]
            n_j = len(inside)
            if n_j == 0:
                continue
            spread = inside - items[j]
            s_j = spread.T @ spread
            s_w = s_w + n_j / count * (s_j / n_j if within == "mean" else s_j)
            s_b = s_b + n_j / count * torch.outer(items[j] - mean, items[j] - mean)
        result.append((torch.trace(s_w), torch.trace(s_b)))
    return result


def discriminative(q, items, within):
    ratios = [w / (b + 1e-6) for w, b in scatter_traces(q, items, within)]
    return torch.stack(ratios).mean()


def reconstruction(truth, made, kind):
    if kind == "mse":
        return ((truth - made) ** 2).mean()
    return torch.stack([((a - b) ** 2).sum().add(1e-12).sqrt() for a, b in zip(truth, made)]).mean()


# --------------------------------------------------------------------------- the arrays


def training_case(arrays, name, weights, sample, scope, eta, gradient, normalize=True):
    x, y = sample
    net = Net(weights, training=True)
    z, skips = net.encode(x)
    z = z.detach().requires_grad_(True)
    q = queries(z, normalize)
    items = weights["memory.items"]
    if gradient != "param":
        items = updated(q, items, scope, eta)
    if gradient == "none":
        items = items.detach()
    d, z_hat = read(q, items, z)
    prediction, difference = net.predict(z_hat, [s.detach() for s in skips]), net.generate(z_hat)
    x_diff = x - y.repeat(1, T, 1, 1)
    owner = nearest(d)
    losses = {
        "prediction": reconstruction(y, prediction, "l2norm"),
        "prediction_mse": reconstruction(y, prediction, "mse"),
        "difference": reconstruction(x_diff, difference, "l2norm"),
        "difference_mse": reconstruction(x_diff, difference, "mse"),
        "discriminative": discriminative(q, items, "paper"),
        "discriminative_mean": discriminative(q, items, "mean"),
    }
    traces = scatter_traces(q, items, "paper")
    put = lambda key, value: arrays.__setitem__(f"{name}.{key}", value.detach())
    put("z", z)
    put("items", items)
    put("similarity", d)
    put("assignment", owner)
    put("counts", torch.stack([torch.bincount(row, minlength=ITEMS) for row in owner]))
    put("z_hat", z_hat)
    put("traces", torch.stack([torch.stack(pair) for pair in traces]))
    for key, loss in losses.items():
        put(f"loss.{key}", loss)
        put(f"gradient.{key}", torch.autograd.grad(loss, z, retain_graph=True)[0])
    if name == "nearest":
        put("prediction", prediction)
        put("difference", difference)
        for path, value in net.statistics.items():
            if path.startswith("encoder.1.norm1") or path.startswith("motion.1.up_norm"):
                put(path, value)


def inference_case(arrays, weights, sample):
    x, y = sample
    net = Net(weights, training=False)
    z, skips = net.encode(x)
    q = queries(z)
    d, z_hat = read(q, weights["memory.items"], z)
    prediction, difference = net.predict(z_hat, skips), net.generate(z_hat)
    mse = (((y + 1) / 2 - (prediction + 1) / 2) ** 2).mean(dim=(1, 2, 3))
    best = d.max(dim=-1).values
    plain = queries(z).reshape(z.shape[0], z.shape[2], z.shape[3], -1).permute(0, 3, 1, 2)
    items = weights["memory.items"]
    arrays.update(
        {
            "inference.z": z,
            "inference.z_hat": z_hat,
            "inference.assignment": nearest(d),
            "inference.prediction": prediction,
            "inference.difference": difference,
            "inference.psnr_db": 10 * torch.log10(1 / mse.clamp_min(1e-10)),
            "inference.feature_distance": (2 - 2 * best).clamp_min(0).sqrt().mean(dim=-1),
            "inference.query_cosine": best.mean(dim=-1),
            "inference.item_cosine_sum": cosine(items.mean(dim=0)[None], items).sum(),
            "inference.prediction_without_memory": net.predict(plain, skips),
        }
    )


def safetensors_bytes(arrays):
    names = {torch.float64: "F64", torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}
    header, blobs, offset = {}, [], 0
    for name in sorted(arrays):
        value = arrays[name].detach().contiguous()
        blob = value.numpy().tobytes()
        header[name] = {
            "dtype": names[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def main():
    generator = torch.Generator().manual_seed(SEED)
    weights = random_weights(generator)
    clips = random_clips(generator)
    sample = to_sample(clips)

    # Items near some of the queries, so that several are in use, and two that are far from all.
    z, _ = Net(weights, training=True).encode(sample[0])
    q = queries(z).reshape(-1, CHANNELS)
    chosen = q[torch.tensor([0, 4, 10, 17])] + 0.05 * torch.randn(4, CHANNELS, generator=generator)
    items = torch.cat([chosen, torch.randn(ITEMS - 4, CHANNELS, generator=generator)])
    items = items[torch.tensor([4, 0, 1, 5, 2, 3])]
    weights["memory.items"] = as_float32(items / items.norm(dim=-1, keepdim=True))

    arrays = {"clips": clips}
    inference_case(arrays, weights, sample)
    training_case(arrays, "nearest", weights, sample, "nearest", 0.1, "through_update")
    training_case(arrays, "all", weights, sample, "all", 0.5, "through_update")
    training_case(arrays, "constant", weights, sample, "nearest", 0.1, "none")
    training_case(arrays, "param", weights, sample, "nearest", 0.1, "param")
    training_case(arrays, "raw", weights, sample, "nearest", 0.1, "through_update", normalize=False)
    for name, value in weights.items():
        arrays["weights." + name] = value.to(torch.float32)

    counts = arrays["nearest.counts"].sum(dim=0)
    assert (counts == 0).any() and (counts > 0).sum() >= 3, f"dull assignment {counts}"
    data = safetensors_bytes(arrays)
    assert len(data) < 1_000_000, f"{len(data)} bytes"
    Path(__file__).with_suffix(".safetensors").write_bytes(data)
    print(f"model.safetensors: {len(arrays)} arrays, {len(data)} bytes, counts {counts.tolist()}")


if __name__ == "__main__":
    main()
