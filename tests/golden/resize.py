"""Golden arrays of the one resizer: OpenCV's INTER_LINEAR on seeded noise.

Run in this folder with numpy and opencv-python-headless installed; it rewrites resize_*.npy.
"""

import cv2
import numpy as np

CASES = {
    # name: (height, width, side)
    "shrink": (37, 53, 16),
    "grow": (9, 7, 24),
    "mixed": (12, 60, 24),
}

rng = np.random.default_rng(20211)
for name, (height, width, side) in CASES.items():
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.save(f"resize_{name}_in.npy", frame)
    np.save(f"resize_{name}_out.npy", cv2.resize(frame, (side, side), interpolation=cv2.INTER_LINEAR))
