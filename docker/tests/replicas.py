"""Two replicas on hosts of their own and a client that balances by itself.

Hosts are network namespaces on one bridge; the client's namespace holds the bridge and a name server
that answers as a headless Service does. Three runs: both replicas in peace, one killed, both restarted
one after the other as a rolling update does.
"""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from build import image
from podman import RESTRICTED, container, ended, expect, inspect, is_healthy, podman, wait_for

HERE = pathlib.Path(__file__).resolve().parent
HUB = "pgtest-hub"
ADDRESSES = {"pgtest-a": "192.0.2.11", "pgtest-b": "192.0.2.12"}
PORT = 50051
DNS_PORT = 5353
CALLERS = 8
LEAST_SHARE = 0.4
# Calls that a phase needs to say something.
PHASE_CALLS = 200
# As in the Deployment, but shorter.
PRE_STOP_S = 3
FLAGS = ["--threads-per-worker", "1", "--drain-grace-ms", "500", "--drain-timeout-ms", "10000"]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def host(namespace, address):
    """A namespace with one leg on the hub's bridge."""
    inside, outside = "eth0", f"v{namespace[-1]}"
    ip("netns", "add", namespace)
    ip("link", "add", outside, "netns", HUB, "type", "veth", "peer", "name", inside, "netns", namespace)
    ip("-n", HUB, "link", "set", outside, "master", "bridge0", "up")
    ip("-n", namespace, "addr", "add", f"{address}/24", "dev", inside)
    ip("-n", namespace, "link", "set", inside, "up")
    ip("-n", namespace, "link", "set", "lo", "up")


@contextlib.contextmanager
def network():
    try:
        ip("netns", "add", HUB)
        ip("-n", HUB, "link", "set", "lo", "up")
        ip("-n", HUB, "link", "add", "bridge0", "type", "bridge")
        ip("-n", HUB, "addr", "add", "192.0.2.1/24", "dev", "bridge0")
        ip("-n", HUB, "link", "set", "bridge0", "up")
        for namespace, address in ADDRESSES.items():
            host(namespace, address)
        yield
    finally:
        for namespace in [*ADDRESSES, HUB]:
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def in_hub(*command, **options):
    return subprocess.Popen(["ip", "netns", "exec", HUB, *command], text=True,
                            stdout=subprocess.PIPE, **options)


@contextlib.contextmanager
def names():
    """A name server, and a function that sets the addresses it gives."""
    with tempfile.NamedTemporaryFile("w", suffix=".addresses") as file:
        def publish(*namespaces):
            pathlib.Path(file.name).write_text("\n".join(ADDRESSES[each] for each in namespaces))

        publish(*ADDRESSES)
        server = in_hub(sys.executable, HERE / "names.py", str(DNS_PORT), file.name)
        try:
            server.stdout.readline()
            yield publish
        finally:
            server.kill()
            server.wait()


class Client:
    """balance.py in the hub."""

    def __init__(self):
        target = f"dns://127.0.0.1:{DNS_PORT}/protoguard.test:{PORT}"
        self.process = in_hub(sys.executable, HERE / "balance.py", target, str(CALLERS),
                              stdin=subprocess.PIPE)

    def answers(self, more):
        """Waits until so many more calls are answered."""
        first = None
        for line in self.process.stdout:
            total = int(re.match(r"answered (\d+)", line).group(1))
            first = total if first is None else first
            if total - first >= more:
                return
        raise AssertionError("the client ended early")

    def end(self):
        rest, _ = self.process.communicate()
        return json.loads(rest.splitlines()[-1])


@contextlib.contextmanager
def replica(folder, namespace):
    """A server that names itself in its answers by the name of its model."""
    options = ["--network", f"ns:/run/netns/{namespace}", *RESTRICTED, "--memory", "1g", "--tmpfs",
               "/tmp", "--volume", f"{folder}/models:/models:ro"]
    arguments = ["--model", f"{namespace}=/models/camera.safetensors", *FLAGS]
    with container(namespace, image("server-cpu"), options, arguments):
        yield


def ready(namespace):
    wait_for(lambda: is_healthy(namespace), 60, f"{namespace} is healthy")


def shares(result):
    total = sum(result["answered"].values())
    return {name: count / total for name, count in result["answered"].items()}


def run(what, disturb):
    """Load on both while `disturb` happens; no call may fail."""
    client = Client()
    client.answers(PHASE_CALLS)
    disturb(client)
    client.answers(PHASE_CALLS)
    result = client.end()
    print(f"{what}: {json.dumps(result)}", flush=True)
    expect(not result["failed"], f"{what}: calls failed: {result['failed']}")
    return result


def restart(publish, namespace, client):
    """What the cluster does to a pod: forget it, wait for preStop, SIGTERM, start, name it again."""
    publish(*[each for each in ADDRESSES if each != namespace])
    time.sleep(PRE_STOP_S)
    podman("kill", "--signal", "TERM", namespace)
    code = ended(namespace, 30)
    expect(code == 0, f"{namespace} ended with {code}")
    podman("start", namespace)
    ready(namespace)
    publish(*ADDRESSES)
    client.answers(PHASE_CALLS)


def check(folder):
    expect(shutil.which("ip"), "iproute2 is not installed")
    with network(), names() as publish, replica(folder, "pgtest-a"), replica(folder, "pgtest-b"):
        for namespace in ADDRESSES:
            ready(namespace)
        peace = shares(run("peace", lambda client: None))
        expect(len(peace) == 2 and min(peace.values()) >= LEAST_SHARE, f"load does not spread: {peace}")

        def kill(client):
            podman("kill", "--signal", "KILL", "pgtest-b")
            client.answers(PHASE_CALLS)

        run("one killed", kill)
        podman("start", "pgtest-b")
        ready("pgtest-b")

        def rolling(client):
            for namespace in ADDRESSES:
                restart(publish, namespace, client)

        final = run("rolling restart", rolling)
        expect(set(final["answered"]) == set(ADDRESSES), f"only {final['answered']} answered")
        expect(inspect("pgtest-a", "Running"), "pgtest-a is gone")
    return {name: round(share, 3) for name, share in peace.items()}
