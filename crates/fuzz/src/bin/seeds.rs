//! Writes the targets' seeds into one folder a target: `fuzz-seeds FOLDER`.

use std::fs;
use std::io;
use std::path::PathBuf;

use protoguard_fuzz::seeds;

fn main() -> io::Result<()> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("a folder for the seeds is expected"))?
        .into();
    for (target, inputs) in [("request", seeds::requests()), ("image", seeds::images())] {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (index, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index}")), input)?;
        }
    }
    Ok(())
}
