//! The set-up against a package index in a folder, with wheels of a few kilobytes.

use super::*;

/// Draws wheels with the members that a set-up needs, an index of them, and what pins them.
const INDEX: &str = r#"
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
            wheel.writestr(member, noise.randbytes(3000))
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
const TORCH: &str = "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl";

/// An index, the pins of its wheels, and a cache.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let drawn = Command::new("python3").args(["-c", INDEX]).arg(home.path()).status();
        assert!(drawn.unwrap().success());
        Self(home)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fetches as this machine's pip would if it were configured for `index` alone.
    fn fetch_from(&self, index: &str) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("libtorch/unpack.py");
        let wheels = Wheels { requirements: self.at("requirements.txt"), script };
        fs::create_dir_all(self.at("downloads")).unwrap();
        let mut pip = wheels.pip(&self.at("downloads")).unwrap();
        for name in ["PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_PROXY"] {
            pip.env_remove(name);
        }
        pip.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_INDEX_URL", index).env("PIP_RETRIES", "1");
        pip.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        pip::run(&mut pip, &wheels.requirements)?;
        wheels.unpack(&self.at("downloads"), &self.at("view"))
    }

    fn fetch(&self) -> Result<()> {
        self.fetch_from(&format!("file://{}", self.at("simple").display()))
    }

    fn downloads(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("downloads")).unwrap().map(Result::unwrap);
        let wheels = entries.filter(|entry| entry.metadata().unwrap().is_file());
        wheels.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn what_is_pinned_becomes_a_view() {
    let home = Home::new();
    home.fetch().unwrap();
    view::finish(&home.at("view")).unwrap();
    assert!(view::is_complete(&home.at("view")));
    assert!(!home.at("view/lib/libtorch_cuda.so").exists());
}

#[test]
fn a_finished_download_is_kept_and_a_broken_one_is_made_again() {
    let home = Home::new();
    home.fetch().unwrap();
    assert_eq!(home.downloads().len(), 3);
    let cupti = "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl";
    fs::write(home.at("downloads").join(cupti), "the first half").unwrap();
    // A page that still names torch's wheel, which the index has no more.
    fs::remove_file(home.at("simple/torch").join(TORCH)).unwrap();
    view::remove(&home.at("view")).unwrap();
    home.fetch().unwrap();
    view::finish(&home.at("view")).unwrap();
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused_and_not_kept() {
    let home = Home::new();
    let wheel = home.at("simple/torch").join(TORCH);
    let mut bytes = fs::read(&wheel).unwrap();
    bytes[100] ^= 1;
    fs::write(&wheel, bytes).unwrap();
    let message = home.fetch().unwrap_err().to_string();
    assert!(message.starts_with("a package is not the one whose sha256"), "{message}");
    assert!(!home.downloads().contains(&TORCH.to_owned()), "{:?}", home.downloads());
    assert!(!home.at("view").exists());
}

#[test]
fn without_network_the_message_says_what_to_check() {
    // Nobody listens on the port of `discard`.
    let message = Home::new().fetch_from("http://127.0.0.1:9/simple").unwrap_err().to_string();
    assert!(message.starts_with("the package index cannot be reached"), "{message}");
    assert!(message.contains("check the network"), "{message}");
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_anything_is_fetched() {
    let here = tempfile::tempdir().unwrap();
    need_space(here.path(), 1).unwrap();
    fs::write(here.path().join(TORCH), "present").unwrap();
    let message = need_space(here.path(), u64::MAX).unwrap_err().to_string();
    assert!(message.ends_with("18446744073710 MB are needed for libtorch"), "{message}");
}

#[test]
fn every_pin_has_a_hash_and_the_versions_that_are_linked() {
    let wheels = Wheels::pinned(&Workspace::locate().unwrap());
    let text = fs::read_to_string(wheels.requirements).unwrap();
    assert!(text.contains(&format!("\ntorch=={} \\\n", super::super::VERSION)), "{text}");
    assert_eq!(text.matches("==").count(), 3);
    assert_eq!(text.matches("--hash=sha256:").count(), 3);
}
