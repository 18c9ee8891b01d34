"""Builds the Dockerfile's targets without a daemon, and measures them."""

import contextlib
import os
import pathlib
import subprocess
import time

import base
from podman import expect, podman

# Target: the largest size in MiB, unpacked. Trainers carry ffmpeg and have no bound.
LIMITS_MIB = {"client": 40, "server-cpu": 450, "trainer-cpu": None, "server-cuda": 3600,
              "trainer-cuda": None}


def image(target):
    return f"localhost/protoguard/{target}:test"


def secrets():
    """What lets a build reach this machine's registries, where the machine has it."""
    home = pathlib.Path.home()
    candidates = {
        "ca": [os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"],
        "pip": [os.environ.get("PIP_CONFIG_FILE"), home / ".config/pip/pip.conf",
                home / ".pip/pip.conf", "/etc/pip.conf"],
        "cargo": [pathlib.Path(os.environ.get("CARGO_HOME", home / ".cargo")) / "config.toml"],
    }
    for name, paths in candidates.items():
        found = [path for path in paths if path and pathlib.Path(path).is_file()]
        if found:
            yield from ("--secret", f"id={name},src={found[0]}")


def bud(workspace, target):
    """One target, by buildah in a chroot on overlay storage."""
    docker = pathlib.Path(workspace) / "docker"
    command = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers",
               "--network", "host", "--build-arg", f"BASE={base.debian()}",
               "--build-arg", f"RUST={base.rust(workspace)}", *secrets(),
               "--ignorefile", docker / "Dockerfile.dockerignore", "--file", docker / "Dockerfile",
               "--target", target, "--tag", image(target), workspace]
    done = subprocess.run([str(each) for each in command], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    expect(done.returncode == 0, f"{target} does not build:\n{done.stdout[-6000:]}")


@contextlib.contextmanager
def mounted(name):
    path = podman("image", "mount", name).stdout.strip()
    try:
        yield pathlib.Path(path)
    finally:
        podman("image", "unmount", name, check=False)


def unpacked_mib(name):
    with mounted(name) as root:
        listing = subprocess.run(["du", "--summarize", "--bytes", root], check=True, text=True,
                                 capture_output=True)
    return round(int(listing.stdout.split()[0]) / 2**20, 1)


def build(workspace, targets):
    """Builds the targets; gives their sizes and times, which the first build bears for all."""
    measured = {}
    for target in targets:
        start = time.monotonic()
        bud(workspace, target)
        seconds = round(time.monotonic() - start, 1)
        measured[target] = {"mib": unpacked_mib(image(target)), "seconds": seconds}
        print(f"built {target}: {measured[target]}", flush=True)
    return measured


def check_size(target, mib):
    limit = LIMITS_MIB[target]
    expect(limit is None or mib <= limit, f"{target} has {mib} MiB; {limit} are the limit")


def check_content(target):
    """No shell where none is needed, no key of the build, nothing that picks GPUs."""
    name = image(target)
    with mounted(name) as root:
        if not target.startswith("trainer"):
            shells = [path for path in ("bin/sh", "usr/bin/sh", "usr/bin/bash") if (root / path).exists()]
            expect(not shells, f"{target} has a shell: {shells}")
        for path in ("run/secrets/ca", "etc/pip.conf", "usr/local/cargo"):
            expect(not (root / path).exists(), f"{target} carries {path} of the build")
    settings = podman("image", "inspect", name).stdout
    expect("NVIDIA_VISIBLE_DEVICES" not in settings, f"{target} sets NVIDIA_VISIBLE_DEVICES")
    expect('"User": "65532:65532"' in settings, f"{target} does not run as 65532")
    expect("org.opencontainers.image.version" in settings, f"{target} has no OCI labels")
