"""Unpacks the shared libraries that libtorch_cuda needs from the wheels of cuda-wheels.txt.

    python3 cuda.py DOWNLOADS LIBRARIES

Every library finds its fellows in its own folder. What stays out: solvers of linear systems, MPI and
network transports, wrappers of other interfaces; the end checks that nothing else is missing.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

WHEELS = pathlib.Path(__file__).with_name("cuda-wheels.txt")
TORCH = {"libtorch_cuda.so", "libc10_cuda.so", "libcaffe2_nvrtc.so", "libtorch_nvshmem.so"}
LEFT_OUT = re.compile(r"\.alt\.so|libnvblas|libcufftw|libcufile_rdma|nvshmem_(bootstrap|transport)")
LIBRARY = re.compile(r"(?:torch|nvidia/\w+)/lib/([\w.+-]+\.so[\w.]*)")


def download(folder):
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                    "--require-hashes", "--disable-pip-version-check", "--dest", folder,
                    "--requirement", WHEELS], check=True)


def wanted(member):
    """The file name of a library that is needed, or None."""
    match = LIBRARY.fullmatch(member)
    if not match or LEFT_OUT.search(member):
        return None
    name = match.group(1)
    return name if not member.startswith("torch/") or name in TORCH else None


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = wanted(member)
            if name:
                with archive.open(member) as source, open(folder / name, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                os.chmod(folder / name, 0o755)


def needed(library):
    listing = subprocess.run(["readelf", "--dynamic", library], capture_output=True, text=True,
                             check=True)
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", listing.stdout))


def missing(folder):
    """Libraries of CUDA that some other needs and that are nowhere; the driver's are the node's."""
    there = set(os.listdir(folder)) | {"libc10.so", "libtorch_cpu.so", "libcudart.so.13", "libcuda.so.1"}
    system = re.compile(r"lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|gomp|z)\.so|ld-linux")
    asked = {(name, library.name) for library in folder.iterdir() for name in needed(library)}
    return sorted(f"{user} needs {name}" for name, user in asked
                  if name not in there and not system.match(name))


def main(downloads, libraries):
    folder = pathlib.Path(libraries)
    folder.mkdir(parents=True, exist_ok=True)
    download(downloads)
    pinned = [line.split("==") for line in WHEELS.read_text().split() if "==" in line]
    for project, version in pinned:
        prefix = f"{project.replace('-', '_')}-{version}-"
        found = [path for path in pathlib.Path(downloads).iterdir() if path.name.startswith(prefix)]
        if len(found) != 1:
            sys.exit(f"{len(found)} wheels {prefix}* in {downloads}; 1 is expected")
        unpack(found[0], folder)
    lost = missing(folder)
    if lost:
        sys.exit("\n".join(lost))


if __name__ == "__main__":
    main(*sys.argv[1:])
