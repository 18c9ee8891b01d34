"""Unpacks what Protoguard links from the wheels that carry libtorch's CPU library.

    python3 unpack.py REQUIREMENTS DOWNLOADS VIEW

DOWNLOADS holds the wheels that REQUIREMENTS pins, as pip downloaded and checked them; VIEW is a new
folder that receives include/ and lib/. An error is one line on standard error and exit status 1.
Standard library only, Python 3.8 or newer.
"""

import errno
import pathlib
import re
import shutil
import sys
import zipfile

# Members to unpack, and where to.
MEMBERS = {
    "torch/lib/libtorch_cpu.so": "lib/libtorch_cpu.so",
    "torch/lib/libc10.so": "lib/libc10.so",
    "torch/lib/libgomp.so.1": "lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13": "lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13": "lib/libcupti.so.13",
}
HEADERS = "torch/include/"


def wheels(requirements, downloads):
    """The wheel of every pinned project."""
    for project, version in re.findall(r"^([\w-]+)==(\S+)", requirements.read_text(), re.M):
        pattern = "%s-%s-*.whl" % (project.replace("-", "_"), version)
        found = list(downloads.glob(pattern))
        if len(found) != 1:
            sys.exit("%d wheels %s in %s; 1 is expected" % (len(found), pattern, downloads))
        yield found[0]


def target(member):
    """Where a member goes, or None."""
    if member.startswith(HEADERS) and not member.endswith("/") and ".." not in member.split("/"):
        return "include/" + member[len(HEADERS):]
    return MEMBERS.get(member)


def unpack(wheel, view):
    """Unpacks what is wanted of a wheel, and returns the names of that."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = [member for member in archive.namelist() if target(member)]
        for member in wanted:
            out = view / target(member)
            out.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(out, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            # Working copies are links to the cached file: nobody should write to it.
            out.chmod(0o444)
    return wanted


def main(requirements, downloads, view):
    unpacked = set()
    for wheel in wheels(pathlib.Path(requirements), pathlib.Path(downloads)):
        unpacked.update(unpack(wheel, pathlib.Path(view)))
    lost = sorted(set(MEMBERS) - unpacked)
    if lost:
        sys.exit("the wheels lack " + ", ".join(lost))


def explained(error, view):
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left for libtorch at %s; about 560 MB are needed" % view
    return "%s: %s" % (error.filename or view, error.strerror or error)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as reason:
        sys.exit(explained(reason, sys.argv[3]))
