//! The last good snapshot in the state directory: written whole or not at all, proven by its digest when it is read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Snapshot, SourceError};

/// Raised when the layout of the file changes.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Kept<'a> {
    format: u32,
    digest: String,
    snapshot: &'a Snapshot,
}

#[derive(Deserialize)]
struct Found {
    format: u32,
    digest: String,
    snapshot: Snapshot,
}

impl Snapshot {
    /// Keeps the snapshot: written beside `path`, synced, renamed over it, and the directory synced. After a power cut there is
    /// either the former content or this one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SourceError> {
        let failed = |cause: io::Error| SourceError::State { doing: "write", path: path.to_path_buf(), cause };
        let kept = Kept { format: FORMAT, digest: hex(&self.digest()), snapshot: self };
        let bytes = serde_json::to_vec(&kept).map_err(|cause| failed(cause.into()))?;
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        if let Err(error) = write() {
            // A disk that is full is not kept full by half of this. What cannot be removed is written over next time.
            fs::remove_file(&beside).unwrap_or_default();
            return Err(failed(error));
        }
        File::open(directory).and_then(|d| d.sync_all()).map_err(failed)
    }

    /// Reads a kept snapshot. It answers from its record and never touches the policy directory.
    ///
    /// # Errors
    /// The file is missing, damaged, or of another format.
    pub fn load(path: &Path) -> Result<Snapshot, SourceError> {
        let failed = |cause: io::Error| SourceError::State { doing: "read", path: path.to_path_buf(), cause };
        let useless = |why: String| SourceError::StateContent { path: path.to_path_buf(), why };
        let bytes = fs::read(path).map_err(failed)?;
        let found: Found = serde_json::from_slice(&bytes).map_err(|cause| useless(cause.to_string()))?;
        if found.format != FORMAT {
            return Err(useless(format!("format {} instead of {FORMAT}", found.format)));
        }
        if found.digest != hex(&found.snapshot.digest()) {
            return Err(useless("its digest does not fit its content".to_owned()));
        }
        Ok(found.snapshot)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
