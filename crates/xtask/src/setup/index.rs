//! A package index in a folder, with wheels of a few kilobytes, for tests of the set-up.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::wheels::Wheels;

/// Draws wheels with the members that a set-up needs, an index of them, and what pins them.
const DRAW: &str = r#"
import hashlib, os, random, sys, zipfile
root = sys.argv[1]
noise = random.Random(0)
wheels = {
    "nvidia-cuda-runtime": ("13.0.96", "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64", [
        "nvidia/cu13/lib/libcudart.so.13"]),
    "nvidia-cuda-cupti": ("13.0.85", "py3-none-manylinux_2_25_x86_64", [
        "nvidia/cu13/lib/libcupti.so.13"]),
    "torch": ("2.11.0", "cp311-cp311-manylinux_2_28_x86_64", [
        "torch/include/torch/csrc/api/include/torch/torch.h", "torch/lib/libtorch_cpu.so",
        "torch/lib/libc10.so", "torch/lib/libgomp.so.1", "torch/lib/libtorch_cuda.so"]),
}
pins = open(os.path.join(root, "requirements.txt"), "w")
for project, (version, tags, members) in wheels.items():
    folder = os.path.join(root, "simple", project)
    os.makedirs(folder)
    stem = "%s-%s" % (project.replace("-", "_"), version)
    path = os.path.join(folder, "%s-%s.whl" % (stem, tags))
    with zipfile.ZipFile(path, "w") as wheel:
        for member in members:
            wheel.writestr(member, noise.getrandbits(24000).to_bytes(3000, "big"))
        about = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (project, version)
        wheel.writestr(stem + ".dist-info/METADATA", about)
        wheel.writestr(stem + ".dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        wheel.writestr(stem + ".dist-info/RECORD", "")
    name = os.path.basename(path)
    with open(os.path.join(folder, "index.html"), "w") as page:
        page.write('<!DOCTYPE html><a href="%s">%s</a>' % (name, name))
    digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
    pins.write("%s==%s --hash=sha256:%s\n" % (project, version, digest))
"#;

/// The largest wheel, which comes last.
pub(super) const TORCH: &str = "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl";

/// An index, the pins of its wheels, and room for what a set-up makes of them.
pub(super) struct Index(tempfile::TempDir);

impl Index {
    pub(super) fn draw() -> Self {
        let home = tempfile::tempdir().unwrap();
        let drawn = Command::new("python3").args(["-c", DRAW]).arg(home.path()).status();
        assert!(drawn.unwrap().success());
        Self(home)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Its wheels, and no other index's.
    pub(super) fn wheels(&self) -> Wheels {
        Wheels {
            requirements: self.at("requirements.txt"),
            script: Path::new(env!("CARGO_MANIFEST_DIR")).join("libtorch/unpack.py"),
            needed: 1_000_000,
            index: Some(format!("file://{}", self.at("simple").display())),
        }
    }
}
