"""The rendered Deployment, reduced to what podman knows, answers and drains.

What is taken away: the cluster's network (the host's instead), its volumes (folders instead), probes of
gRPC, preStop and spreading, which podman 4 does not have, and all replicas but one. Everything else runs
as rendered: configuration from the ConfigMap, user, read-only root, capabilities, limits, folders.
"""

import pathlib
import subprocess
import sys
import tempfile

import yaml

import calls
import server
from build import image
from podman import expect, inspect, logs, podman, status, wait_for

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "k8s/tests"))
import render  # noqa: E402

PORT, METRICS = 50051, 9090
# The sum that the manifests leave for draining, and a little for podman.
STOP_SECONDS = 40


def reduced(docs, folder):
    """The documents that podman plays, and what they became."""
    deployment = next(doc for doc in docs if doc["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    deployment["spec"]["replicas"] = 1
    deployment["spec"].pop("strategy")
    spec["hostNetwork"] = True
    # Else podman starts it again while the test looks at how it ended.
    spec["restartPolicy"] = "Never"
    for unknown in ("topologySpreadConstraints", "serviceAccountName"):
        spec.pop(unknown, None)
    container = spec["containers"][0]
    container["image"] = image("server-cpu")
    container["imagePullPolicy"] = "Never"
    container["resources"] = {"limits": {"memory": "2Gi"}, "requests": {"memory": "2Gi"}}
    # Ports are those of the host's network anyway.
    for unknown in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports"):
        container.pop(unknown, None)
    container["env"].append({"name": "PROTOGUARD_SERVER__THREADS_PER_WORKER", "value": "1"})
    for volume in spec["volumes"]:
        if volume["name"] == "models":
            volume.pop("persistentVolumeClaim")
            volume["hostPath"] = {"path": f"{folder}/models", "type": "Directory"}
        # Its /dev/shm is podman's own.
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != "shm"]
    container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != "shm"]
    return [doc for doc in docs if doc["kind"] == "ConfigMap"] + [deployment]


def container_name():
    names = podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
    found = [name for name in names if name.startswith("protoguard-server-pod") and name.endswith("-server")]
    expect(len(found) == 1, f"podman plays {names}")
    return found[0]


def is_serving():
    done = subprocess.run(["grpcurl", "-plaintext", "-d", '{"service": "readiness"}', f"127.0.0.1:{PORT}",
                           "grpc.health.v1.Health/Check"], capture_output=True, text=True, check=False)
    return '"SERVING"' in done.stdout


def check(folder):
    docs = reduced(render.render("cpu"), folder)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(docs, file)
        file.flush()
        try:
            podman("kube", "play", "--quiet", file.name)
            answers_and_drains(container_name())
        finally:
            podman("kube", "down", file.name, check=False)


def is_ready(name):
    expect(inspect(name, "Running"), f"the pod ended: {logs(name)[-4000:]}")
    return is_serving()


def answers_and_drains(name):
    wait_for(lambda: is_ready(name), 120, "the pod is ready")
    found = status(inspect(name, "Pid"))
    expect(found["Uid"].split()[0] == "65532" and int(found["CapEff"], 16) == 0, f"runs as {found}")
    models = server.grpcurl(PORT, "protoguard.v1.ModelService/ListModels")
    expect('"camera"' in models, f"the model of the volume is not listed: {models}")
    answer = server.grpcurl(PORT, "protoguard.v1.ScoringService/ScoreClip",
                            '{"testClip": "TEST_CLIP_ANOMALOUS"}')
    expect("psnrDb" in answer, f"grpcurl heard {answer}")
    server.exports(PORT, METRICS)
    with calls.channel(f"127.0.0.1:{PORT}") as connection:
        score = calls.scorer(connection)
        pending = [score.future(calls.REQUEST, timeout=60) for _ in range(server.IN_FLIGHT)]
        pending[0].result()
        # SIGTERM, and SIGKILL (137) where that does not end it in time.
        podman("stop", "--time", STOP_SECONDS, name)
        for each in pending:
            each.result()
    expect(inspect(name, "ExitCode") == 0, f"exit code {inspect(name, 'ExitCode')}")
