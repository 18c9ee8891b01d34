"""The server's image under the restrictions of its Deployment."""

import pathlib
import socket
import subprocess
import urllib.request

import calls
from build import image
from podman import (RESTRICTED, USER, Failed, container, ended, expect, inspect, is_healthy, logs,
                    memory_limit, podman, said, status, wait_for)

CLIENT = "/opt/protoguard/bin/protoguard"
MEMORY = 2**30
IN_FLIGHT = 16
# Above the sum of the drain's defaults.
DRAIN_SECONDS = 30
METRICS = pathlib.Path(__file__).resolve().parents[2] / "k8s/tests/metrics.txt"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def options(folder, port, metrics):
    return ["--network", "host", *RESTRICTED, "--memory", MEMORY, "--tmpfs", "/tmp:size=16m",
            "--volume", f"{folder}/models:/models:ro", "--volume", f"{folder}/scenes:/scenes:ro",
            "--env", f"PROTOGUARD_SERVER__LISTEN=127.0.0.1:{port}",
            # Where HEALTHCHECK asks.
            "--env", f"PROTOGUARD_ADDRESS=http://127.0.0.1:{port}",
            "--env", f"PROTOGUARD_SERVER__METRICS_LISTEN=127.0.0.1:{metrics}"]


def check(folder):
    """Everything about one running server, then its end."""
    port, metrics = free_port(), free_port()
    arguments = ["--model", "/models/camera.safetensors"]
    with container("protoguard-test", image("server-cpu"), options(folder, port, metrics),
                   arguments) as name:
        wait_for(lambda: is_healthy(name), 120, "HEALTHCHECK passes")
        is_restricted(name)
        scores(folder, port)
        cannot_write(name, port)
        exports(metrics)
        drains(name, port)


def is_restricted(name):
    pid = inspect(name, "Pid")
    found = status(pid)
    expect(int(found["CapEff"], 16) == 0 and int(found["CapBnd"], 16) == 0, f"capabilities: {found}")
    expect(found["NoNewPrivs"] == "1", "the server may gain privileges")
    expect(found["Uid"].split() == [str(USER)] * 4, f"the server runs as {found['Uid']}")
    expect(memory_limit(pid) == MEMORY, f"the memory limit is {memory_limit(pid)}, not {MEMORY}")


def scores(folder, port):
    """The client's own image, and a stranger's client."""
    run = podman("run", "--rm", "--network", "host", *RESTRICTED, "--volume", f"{folder}/scenes:/scenes:ro",
                 image("client"), "score", "/scenes/testing/frames", "--address",
                 f"http://127.0.0.1:{port}", "--format", "jsonl")
    lines = [line for line in run.stdout.splitlines() if '"psnr_db"' in line]
    expect(len(lines) >= 20, f"the client scored {len(lines)} frames; 20 are expected: {run.stdout}")
    answer = grpcurl(port, "protoguard.v1.ScoringService/ScoreClip", '{"testClip": "TEST_CLIP_NORMAL"}')
    expect("psnrDb" in answer, f"grpcurl heard {answer}")


def grpcurl(port, method, data="{}", address="127.0.0.1"):
    done = subprocess.run(["grpcurl", "-plaintext", "-d", data, f"{address}:{port}", method],
                          capture_output=True, text=True, check=False, timeout=60)
    expect(done.returncode == 0, f"grpcurl {method}: {done.stderr}")
    return done.stdout


def cannot_write(name, port):
    """The user of the container can write its temporary folder and nothing else."""
    call = ["exec", name, CLIENT, "score", "/scenes/testing/frames", "--address",
            f"http://127.0.0.1:{port}", "--format", "jsonl", "--output"]
    podman(*call, "/tmp/scores.jsonl")
    for place in ("/scores.jsonl", "/etc/passwd", "/models/scores.jsonl", "/opt/protoguard/bin/new"):
        done = podman(*call, place, check=False)
        expect(done.returncode != 0, f"{place} was written")
        refused = any(word in said(done) for word in ("Read-only", "Permission denied", "denied"))
        expect(refused, f"writing {place} failed for another reason: {said(done)}")


def exports(port):
    """The metrics page names every family that the manifests may ask for."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text = page.read().decode()
    wanted = [line.split()[:2] for line in METRICS.read_text().splitlines()
              if line and not line.startswith("#")]
    # The text format names a counter's family with or without its suffix.
    for name, kind in wanted:
        names = {name, name.removesuffix("_total")}
        found = any(f"# TYPE {each} {kind}" in text for each in names)
        expect(found, f"the metrics page has no {kind} {name}")
    for path in ("healthz", "readyz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            expect(answer.status == 200, f"/{path} answers {answer.status}")


def drains(name, port):
    """SIGTERM with calls in flight: every one is answered, and the end is orderly."""
    with calls.channel(f"127.0.0.1:{port}") as connection:
        score = calls.scorer(connection)
        score(calls.REQUEST, timeout=30)
        pending = [score.future(calls.REQUEST, timeout=30) for _ in range(IN_FLIGHT)]
        pending[0].result()
        podman("kill", "--signal", "TERM", name)
        for each in pending:
            each.result()
    code = ended(name, DRAIN_SECONDS)
    expect(code == 0, f"exit code {code} after SIGTERM: {logs(name)[-2000:]}")


def check_cuda():
    """libtorch's CUDA half opens without a GPU, and the server says that there is none."""
    loader = podman("run", "--rm", "--entrypoint", "/lib64/ld-linux-x86-64.so.2", image("server-cuda"),
                    "--list", "/opt/protoguard/lib/libtorch_cuda.so")
    lost = [line for line in loader.stdout.splitlines() if "not found" in line]
    expect(not lost, f"libtorch_cuda.so lacks {lost}")


def check_no_gpu(folder):
    done = podman("run", "--rm", "--network", "none", *RESTRICTED, "--volume",
                  f"{folder}/models:/models:ro", image("server-cuda"), "--devices", "cuda:0",
                  "--model", "/models/camera.safetensors", check=False)
    text = said(done)
    if done.returncode != 1 or "usable CUDA devices" not in text:
        raise Failed(f"a server without a GPU ended with {done.returncode}: {text}")
