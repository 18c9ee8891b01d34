"""Makes the folder that travels to a GPU machine beside the repository: `measure.py` reads it there.

    python3 benches/gpu/pack.py --programs target/release --ped2 ../data/ped2 --side 256 --mib 56

`.gpu/programs.tar.xz` holds the three programs, stripped. `.gpu/ped2-SIDE.tar` holds the training half of
Ped2 as `training/frames/NN/FFF.jpg`, gray, resized to SIDE by the trainer's own rule (bilinear, half-pixel
centres, no antialias, weights of 11 bits), so that the trainer resizes nothing. JPEG at the highest quality
that fits is the only loss; its PSNR against the resized frames is printed. `--side` may be repeated: the
smaller sides take quality 92, the largest what is left of `--mib`. Needs Pillow and NumPy, and `strip`.
"""

import argparse
import io
import lzma
import pathlib
import subprocess
import tarfile
import tempfile

import numpy as np
from PIL import Image

PROGRAMS = ("protoguard", "protoguard-server", "protoguard-trainer")
BITS = 11
SMALL_QUALITY = 92


def axis(size, side):
    """Two source positions an output position, and the second's weight in units of 2^-11."""
    at = np.clip((np.arange(side) + 0.5) * (size / side) - 0.5, 0, size - 1)
    first = at.astype(int)
    return first, np.minimum(first + 1, size - 1), np.floor((at - first) * (1 << BITS) + 0.5).astype(np.int64)


def resized(pixels, side):
    """Gray `[H, W]` at `[side, side]`, to the bit as the trainer does it."""
    if pixels.shape == (side, side):
        return pixels
    first, second, weight = axis(pixels.shape[1], side)
    rows = pixels.astype(np.int64)
    across = rows[:, first] * ((1 << BITS) - weight) + rows[:, second] * weight
    first, second, weight = axis(pixels.shape[0], side)
    weight = weight[:, None]
    down = across[first] * ((1 << BITS) - weight) + across[second] * weight
    return ((down + (1 << (2 * BITS - 1))) >> (2 * BITS)).astype(np.uint8)


def encoded(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def psnr_db(frames, quality):
    """Of the first of every hundred frames."""
    decoded = [np.asarray(Image.open(io.BytesIO(encoded(frame, quality)))) for frame in frames]
    error = np.mean([np.mean((a.astype(float) - b) ** 2) for a, b in zip(frames, decoded)])
    return 10 * np.log10(255**2 / max(error, 1e-9))


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755
    tar.addfile(entry, io.BytesIO(data))


def pack_programs(folder, out):
    with tempfile.TemporaryDirectory() as stripped, lzma.open(out, "wb", preset=9) as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name in PROGRAMS:
                path = pathlib.Path(stripped, name)
                subprocess.run(["strip", "-o", str(path), str(folder / name)], check=True)
                add(tar, f"programs/{name}", path.read_bytes())
    return out.stat().st_size


def best_quality(frames, room):
    """The highest quality at which `room` bytes hold as many frames as `frames` stand for."""
    low, high = 50, 98
    while low < high:
        middle = (low + high + 1) // 2
        size = sum(len(encoded(frame, middle)) for frame in frames)
        low, high = (middle, high) if size <= room else (low, middle - 1)
    return low


def pack_frames(root, side, out, room):
    paths = sorted((root / "training" / "frames").glob("*/*.jpg"))
    if not paths:
        raise SystemExit(f"{root} has no training/frames/NN/*.jpg")
    every = 20
    read = lambda path: resized(np.asarray(Image.open(path).convert("L")), side)  # noqa: E731
    some = [read(path) for path in paths[::every]]
    # A tar's header and filling take about a kilobyte a frame.
    spare = room and (room - 1100 * len(paths)) * len(some) / len(paths) * 0.985
    quality = best_quality(some, spare) if room else SMALL_QUALITY
    with tarfile.open(out, "w") as tar:
        for path in paths:
            add(tar, str(path.relative_to(root)), encoded(read(path), quality))
    size, loss = out.stat().st_size, psnr_db(some[::5], quality)
    print(f"{out}: {len(paths)} frames, quality {quality}, {loss:.1f} dB, {size / 2**20:.1f} MiB")
    return size


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, help="folder of the release programs")
    parser.add_argument("--ped2", type=pathlib.Path, help="folder of UCSD Ped2")
    parser.add_argument("--side", type=int, action="append", help="default: 256")
    parser.add_argument("--mib", type=float, default=56, help="the whole folder, at most")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(".gpu"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    used = 0
    if args.programs:
        used += pack_programs(args.programs, args.out / "programs.tar.xz")
        print(f"{args.out / 'programs.tar.xz'}: {used / 2**20:.1f} MiB")
    sides = sorted(set(args.side or [256])) if args.ped2 else []
    for side in sides:
        room = args.mib * 2**20 - used if side == sides[-1] else None
        used += pack_frames(args.ped2, side, args.out / f"ped2-{side}.tar", room)
    print(f"{args.out}: {used / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
