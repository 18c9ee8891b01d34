"""Fetches the wheels that carry libtorch's CPU library and unpacks what Protoguard links.

    python3 wheels.py DOWNLOADS VIEW

DOWNLOADS keeps unfinished downloads between runs; VIEW is a new folder that receives include/ and
lib/. Progress goes to standard error; an error is one line on standard output and exit status 1.
Standard library only, Python 3.8 or newer.
"""

import errno
import os
import re
import shutil
import signal
import sys
import zipfile

from download import CHUNK, Download, size
from index import Refused, Settings, listing, say, shown

# Bytes of the unpacked view, a little more than measured.
VIEW_BYTES = 560_000_000

# Project, accepted file names (the first group orders them), members to unpack and where to.
# The CPU library links CUDA's runtime and profiler, which load without a GPU.
WHEELS = [
    {
        "project": "torch",
        "file": r"torch-2\.11\.0-(cp3\d+)-cp3\d+-manylinux_2_28_x86_64\.whl",
        "bytes": 531_000_000,
        "prefix": {"torch/include/": "include/"},
        "members": {
            "torch/lib/libtorch_cpu.so": "lib/libtorch_cpu.so",
            "torch/lib/libc10.so": "lib/libc10.so",
            "torch/lib/libgomp.so.1": "lib/libgomp.so.1",
        },
    },
    {
        "project": "nvidia-cuda-runtime",
        "file": r"nvidia_cuda_runtime-(13\.0\.\d+)-py3-none-manylinux\S*_x86_64\.whl",
        "bytes": 2_300_000,
        "prefix": {},
        "members": {"nvidia/cu13/lib/libcudart.so.13": "lib/libcudart.so.13"},
    },
    {
        "project": "nvidia-cuda-cupti",
        "file": r"nvidia_cuda_cupti-(13\.0\.\d+)-py3-none-manylinux\S*_x86_64\.whl",
        "bytes": 10_800_000,
        "prefix": {},
        "members": {"nvidia/cu13/lib/libcupti.so.13": "lib/libcupti.so.13"},
    },
]


def order(tag):
    """CPython 3.11's wheel first, the one that was tried; then the newest."""
    return (tag == "cp311", [int(number) for number in re.findall(r"\d+", tag)])


def choose(opener, index, wheel):
    pattern = re.compile(wheel["file"])
    files = listing(opener, index, wheel["project"])
    named = [(pattern.fullmatch(file["filename"]), file) for file in files]
    found = [(order(match.group(1)), file) for match, file in named if match]
    if not found:
        raise Refused("%s offers no %s that matches %s"
                      % (shown(index), wheel["project"], wheel["file"].replace("\\", "")))
    file = max(found, key=lambda pair: pair[0])[1]
    if not re.fullmatch(r"[0-9a-f]{64}", file["hashes"].get("sha256", "")):
        raise Refused("%s publishes no sha256 for %s" % (shown(index), file["filename"]))
    return file


def need_space(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Refused("%s has %d MB free; %d MB are needed for libtorch"
                      % (folder, free // 10**6, needed // 10**6 + 1))


def unpack(path, wheel, view):
    with zipfile.ZipFile(path) as archive:
        names = [(name, target(name, wheel)) for name in archive.namelist()]
        wanted = [(name, place) for name, place in names if place]
        missing = set(wheel["members"]) - {name for name, _ in wanted}
        if missing:
            raise Refused("%s lacks %s" % (os.path.basename(path), ", ".join(sorted(missing))))
        for name, place in wanted:
            out = os.path.join(view, place)
            os.makedirs(os.path.dirname(out), exist_ok=True)
            with archive.open(name) as source, open(out, "wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            # Working copies are links to the cached file: nobody should write to it.
            os.chmod(out, 0o444)


def target(name, wheel):
    if name in wheel["members"]:
        return wheel["members"][name]
    for prefix, folder in wheel["prefix"].items():
        if name.startswith(prefix) and not name.endswith("/") and ".." not in name.split("/"):
            return folder + name[len(prefix):]
    return None


def main(downloads, view):
    os.makedirs(downloads, exist_ok=True)
    settings = Settings()
    index, opener = settings.index(), settings.opener()
    files = [choose(opener, index, wheel) for wheel in WHEELS]
    tasks = [Download(opener, file, downloads) for file in files]
    rest = sum((file.get("size") or wheel["bytes"]) - max(size(task.part), size(task.path))
               for file, wheel, task in zip(files, WHEELS, tasks))
    need_space(downloads, max(rest, 0) + VIEW_BYTES)
    paths = [task.run() for task in tasks]
    say("  unpacking")
    for path, wheel in zip(paths, WHEELS):
        unpack(path, wheel, view)


if __name__ == "__main__":
    # An interrupt ends the script at once: the next run resumes its downloads.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        main(*sys.argv[1:])
    except Refused as refusal:
        print(refusal)
        sys.exit(1)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        print("no space left for libtorch under %s; about 1.2 GB are needed" % sys.argv[1]
              if full else "%s: %s" % (error.filename or sys.argv[1], error.strerror or error))
        sys.exit(1)
