//! A package index in a folder, served badly when asked to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Draws wheels with the members that a set-up needs, and the index's page of each.
const WHEELS: &str = r#"
import hashlib, json, os, random, sys, zipfile
root, wrong, html = sys.argv[1], sys.argv[2] == "true", sys.argv[3] == "true"
noise = random.Random(0)
wheels = {
    "torch": ("torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl", [
        "torch/include/torch/csrc/api/include/torch/torch.h", "torch/lib/libtorch_cpu.so",
        "torch/lib/libc10.so", "torch/lib/libgomp.so.1", "torch/lib/libtorch_cuda.so"]),
    "nvidia-cuda-runtime": ("nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.whl", [
        "nvidia/cu13/lib/libcudart.so.13"]),
    "nvidia-cuda-cupti": ("nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl", [
        "nvidia/cu13/lib/libcupti.so.13"]),
}
for project, (name, members) in wheels.items():
    folder = os.path.join(root, "simple", project)
    os.makedirs(folder)
    path = os.path.join(folder, name)
    with zipfile.ZipFile(path, "w") as wheel:
        for member in members:
            wheel.writestr(member, noise.randbytes(3000))
    digest = "0" * 64 if wrong else hashlib.sha256(open(path, "rb").read()).hexdigest()
    page = {"files": [{"filename": name, "url": name, "hashes": {"sha256": digest}}]}
    anchor = '<!DOCTYPE html><a href="%s#sha256=%s">%s</a>' % (name, digest, name)
    with open(os.path.join(folder, "page"), "w") as file:
        file.write(anchor if html else json.dumps(page))
    with open(os.path.join(root, project + ".sha256"), "w") as file:
        file.write(digest)
"#;

const TORCH: &str = "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl";

/// How an index behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conduct {
    /// Ends the first answer for every wheel after so many bytes.
    pub(super) break_after: Option<usize>,
    /// Publishes hashes that no file has.
    pub(super) wrong_hash: bool,
    /// Answers with pages in HTML.
    pub(super) html: bool,
}

/// A running index; its thread ends with the process.
#[derive(Debug)]
pub(super) struct Index {
    address: SocketAddr,
    files: tempfile::TempDir,
    ranges: Arc<Mutex<Vec<usize>>>,
}

impl Index {
    pub(super) fn serve(conduct: Conduct) -> Self {
        let files = tempfile::tempdir().unwrap();
        let flags = [conduct.wrong_hash, conduct.html].map(|flag| flag.to_string());
        let drawn =
            Command::new("python3").args(["-c", WHEELS]).arg(files.path()).args(flags).status();
        assert!(drawn.unwrap().success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let mut server = Server {
            root: files.path().to_owned(),
            conduct,
            ranges: Arc::clone(&ranges),
            asked: BTreeMap::new(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A caller that hangs up in the middle is no matter of the server's.
                let _ = server.answer(stream.unwrap());
            }
        });
        Self { address, files, ranges }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/simple", self.address)
    }

    /// Where every request with a range began.
    pub(super) fn ranges(&self) -> Vec<usize> {
        self.ranges.lock().unwrap().clone()
    }

    /// What an interrupted run leaves: the name and bytes of an unfinished file.
    pub(super) fn half_a_torch(&self) -> (String, Vec<u8>) {
        let digest = fs::read_to_string(self.files.path().join("torch.sha256")).unwrap();
        let mut bytes = fs::read(self.files.path().join("simple/torch").join(TORCH)).unwrap();
        bytes.truncate(bytes.len() / 2);
        (format!("{TORCH}.{}.part", &digest[..12]), bytes)
    }
}

struct Server {
    root: std::path::PathBuf,
    conduct: Conduct,
    ranges: Arc<Mutex<Vec<usize>>>,
    asked: BTreeMap<String, usize>,
}

impl Server {
    fn answer(&mut self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or(Ok(String::new()))?;
        let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut range = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if let Some(bytes) = line.strip_prefix("range: bytes=") {
                range = bytes.trim_end_matches('-').parse().ok();
            } else if line.is_empty() {
                break;
            }
        }
        self.send(stream, &path, range)
    }

    fn send(
        &mut self,
        mut stream: TcpStream,
        path: &str,
        range: Option<usize>,
    ) -> std::io::Result<()> {
        let page = path.ends_with('/');
        let file = self.root.join(path.trim_matches('/')).join(if page { "page" } else { "" });
        let Ok(body) = fs::read(strip_slash(&file)) else {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        };
        let start = range.unwrap_or(0).min(body.len());
        self.ranges.lock().unwrap().extend(range);
        let asked = self.asked.entry(path.to_owned()).or_default();
        *asked += 1;
        let kept = match self.conduct.break_after {
            Some(bytes) if *asked == 1 && !page => bytes,
            _ => usize::MAX,
        };
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let kind =
            if self.conduct.html { "text/html" } else { "application/vnd.pypi.simple.v1+json" };
        let (length, last) = (body.len() - start, body.len().saturating_sub(1));
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Content-Range: bytes {start}-{last}/{}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        let end = body.len().min(start.saturating_add(kept));
        stream.write_all(&body[start..end])
    }
}

fn strip_slash(path: &Path) -> &Path {
    Path::new(path.to_str().unwrap().trim_end_matches('/'))
}
