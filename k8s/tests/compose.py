"""docker/compose.yaml: what it mounts exists, what it sets the server knows, what it scrapes listens."""

import pathlib

import yaml

import render

FOLDER = render.K8S.parent / "docker"
PREFIX = "PROTOGUARD_SERVER__"
# Written by another part of the repository, as in render.MONITORING_FILES.
LATER = {"../k8s/monitoring/dashboard.json"}


def load():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def problems(compose, facts, drain_ms=20_000):
    """`drain_ms` is the server's default for drain_grace_ms and drain_timeout_ms together."""
    services = compose["services"]
    for name, service in services.items():
        yield from (f"{name}: {problem}" for problem in mounts(service))
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to the network"
        if str(service["image"]).endswith(":latest") or ":" not in service["image"]:
            yield f"{name}: image {service['image']} has no fixed tag"
    server = services["server"]
    for key in server["environment"]:
        if not key.startswith(PREFIX) or key.removeprefix(PREFIX).lower() not in facts.server_keys:
            yield f"server: the server has no configuration key for {key}"
    if int(server["stop_grace_period"].rstrip("s")) * 1000 <= drain_ms:
        yield f"server: stop_grace_period {server['stop_grace_period']} is shorter than the drain"
    if not server.get("read_only") or server.get("cap_drop") != ["ALL"]:
        yield "server: its root can be written, or it has capabilities"
    yield from scraped(server)


def mounts(service):
    for volume in service.get("volumes", []):
        source = volume.split(":", 1)[0]
        if source.startswith(".") and source not in LATER and not (FOLDER / source).exists():
            yield f"mounts {source}, which is not there"


def scraped(server):
    text = pathlib.Path(FOLDER / "compose/prometheus.yaml").read_text()
    port = server["environment"][PREFIX + "METRICS_LISTEN"].rsplit(":", 1)[1]
    for job in yaml.safe_load(text)["scrape_configs"]:
        for target in (each for static in job["static_configs"] for each in static["targets"]):
            if target != f"server:{port}":
                yield f"prometheus scrapes {target}; the server's metrics are at server:{port}"
