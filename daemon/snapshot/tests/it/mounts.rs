//! File systems that are mounted for one test, where that is allowed: an image on a loop
//! device, memory, or an overlay. Unmounted at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const KINDS: [&str; 5] = ["ext4", "xfs", "btrfs", "tmpfs", "overlay"];
/// No smaller one is made by `mkfs.xfs`; the image is sparse.
const IMAGE_BYTES: u64 = 400 << 20;

pub(crate) struct Mounted {
    at: PathBuf,
    /// What the mount is made from; removed after it is unmounted.
    _parts: tempfile::TempDir,
}

impl Mounted {
    /// Mounts a file system of this kind, or says why that is not possible.
    pub(crate) fn new(kind: &str) -> Result<Mounted, String> {
        Mounted::over(kind, |_| ())
    }

    /// As [`Mounted::new`], over what is put into the lower layer of an overlay.
    pub(crate) fn over(kind: &str, fill: impl FnOnce(&Path)) -> Result<Mounted, String> {
        let parts = tempfile::tempdir().map_err(|error| error.to_string())?;
        let part = |name: &str| parts.path().join(name);
        for name in ["at", "lower", "upper", "work"] {
            fs::create_dir(part(name)).map_err(|error| error.to_string())?;
        }
        fill(&part("lower"));
        let mut mount = Command::new("mount");
        match kind {
            "tmpfs" => drop(mount.args(["-t", kind, kind])),
            "overlay" => {
                let [lower, upper, work] = ["lower", "upper", "work"].map(part);
                let (lower, upper, work) = (lower.display(), upper.display(), work.display());
                let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
                mount.args(["-t", kind, kind, "-o", &options]);
            }
            kind => {
                let image = File::create(part("image")).map_err(|error| error.to_string())?;
                image
                    .set_len(IMAGE_BYTES)
                    .map_err(|error| error.to_string())?;
                run(Command::new(format!("mkfs.{kind}"))
                    .arg("-q")
                    .arg(part("image")))?;
                mount.args(["-t", kind, "-o", "loop"]).arg(part("image"));
            }
        }
        run(mount.arg(part("at")))?;
        Ok(Mounted {
            at: part("at"),
            _parts: parts,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.at)).expect("unmounts");
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
