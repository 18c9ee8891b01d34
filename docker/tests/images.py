"""Builds the images without a daemon and runs them as a cluster would.

    python images.py [--target NAME]... [--check NAME]... [--no-build]

Needs root, buildah, podman, runc, debootstrap and iproute2. The last line is one JSON object: target →
unpacked MiB and seconds to build. The first target bears the time of compiling for all.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import build
import demo
import kube
import podman
import replicas
import server

WORKSPACE = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("buildah", "podman", "runc", "debootstrap", "ip")
# Each takes the folder of the demo.
CHECKS = {"server": server.check, "cuda": lambda _: server.check_cuda(), "no-gpu": server.check_no_gpu,
          "kube": kube.check, "replicas": replicas.check}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", action="append", choices=list(build.LIMITS_MIB))
    parser.add_argument("--check", action="append", choices=list(CHECKS))
    parser.add_argument("--no-build", action="store_true", help="check the images of the last time")
    return parser.parse_args()


def measure(targets, no_build):
    if no_build:
        return {target: {"mib": build.unpacked_mib(build.image(target)), "seconds": 0}
                for target in targets}
    return build.build(WORKSPACE, targets)


def run(what, action):
    """One check; whether it held."""
    start = time.monotonic()
    try:
        found = action()
    except podman.Failed as failure:
        print(f"FAILED {what}: {failure}", flush=True)
        return False
    detail = f" {found}" if found else ""
    print(f"ok {what} ({time.monotonic() - start:.0f} s){detail}", flush=True)
    return True


def main():
    chosen = arguments()
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        print(f"skipped: images: {', '.join(missing) or 'root'} is missing; on Debian as root: apt-get "
              "install buildah podman runc debootstrap catatonit iproute2")
        return 0
    configuration = podman.configure()
    targets = chosen.target or list(build.LIMITS_MIB)
    held = []
    try:
        measured = measure(targets, chosen.no_build)
        for target, found in measured.items():
            held.append(run(f"size of {target}", lambda t=target, m=found: build.check_size(t, m["mib"])))
            held.append(run(f"content of {target}", lambda t=target: build.check_content(t)))
        with tempfile.TemporaryDirectory(prefix="protoguard-demo-") as folder:
            checks = chosen.check or list(CHECKS)
            if set(checks) - {"cuda"}:
                demo.make(folder)
            for name in checks:
                held.append(run(name, lambda n=name: CHECKS[n](folder)))
    except podman.Failed as failure:
        print(f"FAILED {failure}")
        return 1
    finally:
        configuration.unlink()
    print(f"images: {sum(held)} passed, {len(held) - sum(held)} failed")
    print(json.dumps(measured))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
