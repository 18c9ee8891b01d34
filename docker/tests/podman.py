"""Containers of podman and runc, as a test starts and ends them."""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

USER = 65532
# What the Deployment asks for, as podman says it.
RESTRICTED = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]


class Failed(Exception):
    """A check that did not hold, in words."""


def expect(condition, words):
    if not condition:
        raise Failed(words)


def configure():
    """Limits and runtime that work without systemd and without CAP_SYS_RESOURCE."""
    def capped(kind):
        hard = resource.getrlimit(kind)[1]
        return 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)

    limits = [f'"nofile={capped(resource.RLIMIT_NOFILE)}:{capped(resource.RLIMIT_NOFILE)}"',
              f'"nproc={capped(resource.RLIMIT_NPROC)}:{capped(resource.RLIMIT_NPROC)}"']
    file = tempfile.NamedTemporaryFile("w", suffix=".conf", prefix="containers-", delete=False)
    with file:
        file.write(f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\n"
                   '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    os.environ["CONTAINERS_CONF"] = file.name
    os.environ["STORAGE_DRIVER"] = "overlay"
    return pathlib.Path(file.name)


def podman(*arguments, check=True, timeout=300):
    done = subprocess.run(["podman", *map(str, arguments)], capture_output=True, text=True,
                          check=False, timeout=timeout)
    if check and done.returncode != 0:
        raise Failed(f"podman {' '.join(map(str, arguments))}: {said(done)}")
    return done


def said(done):
    """Output without podman's complaints that no systemd runs its timers."""
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if "healthcheck" not in line)


@contextlib.contextmanager
def container(name, image, options=(), arguments=()):
    """A container in the background, gone at the end."""
    podman("rm", "--force", "--ignore", name)
    podman("run", "--detach", "--name", name, "--health-interval", "disable", *options, image,
           *arguments)
    try:
        yield name
    except Exception:
        print(f"--- log of {name}\n{logs(name)[-4000:]}")
        raise
    finally:
        podman("rm", "--force", "--ignore", "--time", "1", name, check=False)


def logs(name):
    return said(podman("logs", name, check=False))


def inspect(name, what):
    return json.loads(podman("inspect", name).stdout)[0]["State"][what]


def wait_for(condition, seconds, words):
    """Until `condition` holds; what it last said is part of the complaint."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < deadline, f"{words}, not within {seconds} s")
        time.sleep(0.2)


def is_healthy(name):
    expect(inspect(name, "Running"), f"{name} ended with {inspect(name, 'ExitCode')}: {logs(name)[-2000:]}")
    return podman("healthcheck", "run", name, check=False).returncode == 0


def ended(name, seconds):
    """The exit code of a container that was told to stop."""
    wait_for(lambda: not inspect(name, "Running"), seconds, f"{name} ends")
    return inspect(name, "ExitCode")


def memory_limit(pid):
    """The memory limit of a process's control group, version 1 or 2."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return int(pathlib.Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
        if controllers == "" and pathlib.Path(f"/sys/fs/cgroup{path}/memory.max").exists():
            return int(pathlib.Path(f"/sys/fs/cgroup{path}/memory.max").read_text())
    return None


def status(pid):
    """/proc/PID/status as a dictionary."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
