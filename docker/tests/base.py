"""Bases for machines without a registry of images: Debian by debootstrap, Rust from this machine.

They stand in for debian:bookworm-slim and rust:VERSION-slim-bookworm, the defaults of the Dockerfile.
"""

import pathlib
import shutil
import subprocess
import tempfile

SUITE = "bookworm"
BASE = f"localhost/protoguard-base:{SUITE}"
# What Debian's own slim images leave out, and what apt can fetch again.
LEFT_OUT = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale",
            "usr/share/lintian", "var/lib/apt/lists", "var/cache/apt", "var/log"]


def run(*arguments, **options):
    return subprocess.run([str(each) for each in arguments], check=True, text=True, **options)


def output(*arguments):
    return run(*arguments, stdout=subprocess.PIPE).stdout.strip()


def exists(image):
    return subprocess.run(["buildah", "inspect", "--type", "image", image], check=False,
                          capture_output=True).returncode == 0


def mirror():
    """Where this machine's apt finds the suite."""
    listing = output("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)",
                     "Created-By: Packages")
    found = [line.split()[1] for line in listing.splitlines() if line.split()[0] == SUITE]
    return found[0].rstrip("/") if found else "http://deb.debian.org/debian"


def commit(image, content, settings):
    container = output("buildah", "from", "scratch")
    try:
        for source, destination in content:
            run("buildah", "copy", "--quiet", container, source, destination,
                stdout=subprocess.DEVNULL)
        run("buildah", "config", *settings, container)
        run("buildah", "commit", "--quiet", container, image, stdout=subprocess.DEVNULL)
    finally:
        run("buildah", "rm", container, stdout=subprocess.DEVNULL)


def debian():
    """The name of a slim Debian, made at the first call."""
    if not exists(BASE):
        with tempfile.TemporaryDirectory(prefix="debootstrap-") as folder:
            root = pathlib.Path(folder, "root")
            run("debootstrap", "--variant=minbase", SUITE, root, mirror(), stdout=subprocess.DEVNULL)
            for path in LEFT_OUT:
                shutil.rmtree(root / path, ignore_errors=True)
            for path in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log"):
                (root / path).mkdir(parents=True, exist_ok=True)
            commit(BASE, [(root, "/")], ["--cmd", "/bin/bash"])
    return BASE


def rust(workspace):
    """The name of that Debian with the workspace's toolchain."""
    sysroot = pathlib.Path(output("rustc", "--print", "sysroot", ))
    version = output("rustc", "--version").split()[1]
    image = f"localhost/protoguard-rust:{version}"
    wanted = (pathlib.Path(workspace) / "rust-toolchain.toml").read_text()
    if f'channel = "{version}"' not in wanted:
        raise SystemExit(f"rustc is {version}; rust-toolchain.toml names another")
    if not exists(image):
        base = output("buildah", "from", debian())
        try:
            for part in ("bin", "lib", "libexec"):
                if (sysroot / part).exists():
                    run("buildah", "copy", "--quiet", base, sysroot / part,
                        f"/usr/local/toolchain/{part}", stdout=subprocess.DEVNULL)
            path = "/usr/local/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            run("buildah", "config", "--env", f"PATH={path}", "--env", "CARGO_HOME=/usr/local/cargo",
                base)
            run("buildah", "commit", "--quiet", base, image, stdout=subprocess.DEVNULL)
        finally:
            run("buildah", "rm", base, stdout=subprocess.DEVNULL)
    return image
