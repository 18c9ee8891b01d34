"""The same weights behind Triton's Python backend, served and loaded, for `cargo xtask bench model`.

The model is PyTorch as it serves fastest on this machine without compiling: BatchNorm folded,
channels last, bf16. Triton batches dynamically, without waiting. Raw 8-bit clips travel over gRPC
on the loopback. Prints one line of JSON: `{"clips_per_second": ..., "p50_ms": ...}`, the first with
many clients at a time and the second with one.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import threading
import time

import numpy
import torch
import tritonclient.grpc
from forward import Torch, read
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

NAME = "scorer"
EAGER = ("pytorch_f32", "pytorch_f32_channels_last", "pytorch_bf16_folded")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def scorer(peer, tensors, temperature):
    """Clips `[B, t + 1, S, S, 3]` to scores; one graph for every batch size."""
    network = Torch(peer, tensors, temperature, "cpu").scorer(full=False)

    @batch
    def infer(clips):
        with torch.no_grad():
            error, distance = network(torch.from_numpy(clips))
        return [error.numpy()[:, None], distance.numpy()[:, None]]

    return infer


class Load:
    """Clients that each send the next clip when the last one is answered."""

    def __init__(self, port, clip):
        self.url, self.clip = f"127.0.0.1:{port}", clip[None]

    def run(self, clients, seconds):
        """Latencies in ms of what was answered after the first quarter, and the clips a second."""
        started = time.perf_counter()
        begin, end = started + seconds / 4, started + 1.25 * seconds
        answered = []
        threads = [
            threading.Thread(target=self.client, args=(end, answered)) for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        inside = sorted((done, took) for done, took in answered if begin <= done <= end)
        if len(inside) < 2:
            sys.exit("Triton answered fewer than two clips")
        # A batch is answered at once: a rate is counted between answers.
        rate = (len(inside) - 1) / (inside[-1][0] - inside[0][0])
        return [1e3 * took for _, took in inside], rate

    def client(self, end, answered):
        with tritonclient.grpc.InferenceServerClient(self.url) as client:
            clips = tritonclient.grpc.InferInput("clips", self.clip.shape, "UINT8")
            clips.set_data_from_numpy(self.clip)
            while (started := time.perf_counter()) < end:
                client.infer(NAME, [clips])
                done = time.perf_counter()
                answered.append((done, done - started))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("case")
    parser.add_argument("--peer", choices=EAGER, required=True, help="what Python computes with")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--max-batch-size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Frameworks write to standard output.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tensors, case, temperature = read(args.checkpoint, args.case)
    clip = case["clip"].numpy()
    port = free_port()
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=port,
        allow_http=False,
        allow_metrics=False,
        log_verbose=0,
    )
    column = lambda name: Tensor(name=name, dtype=numpy.float32, shape=(1,))  # noqa: E731
    with Triton(config=config) as triton:
        triton.bind(
            model_name=NAME,
            infer_func=scorer(args.peer, tensors, temperature),
            inputs=[Tensor(name="clips", dtype=numpy.uint8, shape=clip.shape)],
            outputs=[column("squared_error"), column("feature_distance")],
            config=ModelConfig(max_batch_size=args.max_batch_size, batcher=DynamicBatcher()),
        )
        triton.run()
        load = Load(port, clip)
        load.run(1, 2)
        alone, _ = load.run(1, args.seconds)
        _, rate = load.run(args.clients, args.seconds)
    line = {"clips_per_second": rate, "p50_ms": statistics.median(alone)}
    print(json.dumps(line), file=results, flush=True)


if __name__ == "__main__":
    main()
