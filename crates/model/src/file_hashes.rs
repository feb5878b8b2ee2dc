//! Hashes of files that are remembered while the files stay as they are.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::sha256_of_file;

/// A file that changed this recently may change again without a new time, so its hash is
/// not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// Name prefix of a file that is being written.
const PARTIAL: &str = ".partial-";

/// SHA-256 of files, by path, size and time of modification. A file with another size or
/// time is read again.
///
/// The default remembers for the life of the value alone; [`FileHashes::open`] also keeps
/// a file, which is written when the value is dropped.
#[derive(Debug, Default)]
pub struct FileHashes {
    memory: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<PathBuf, Remembered>,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remembered {
    stamp: Stamp,
    sha256: String,
}

/// What changes with a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified: Duration,
    /// Unix alone: the time of the last change to the file's entry, which no program sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<(i64, i64)>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Option<Self> {
        let modified = metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let changed = None;
        Some(Stamp { size: metadata.len(), modified, changed })
    }

    /// Whether the file has been left alone for long enough to be told from a later state.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = |then: Duration| now.checked_sub(then).is_some_and(|age| age >= SETTLED);
        let changed = self.changed.and_then(|(seconds, _)| u64::try_from(seconds).ok());
        age(self.modified) && changed.is_none_or(|seconds| age(Duration::from_secs(seconds)))
    }
}

impl FileHashes {
    /// Remembers in this file, if its folder exists by then. A missing or damaged file holds
    /// nothing.
    #[must_use]
    pub fn open(memory: &Path) -> Self {
        let files = fs::read(memory).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let known = Known { files: files.unwrap_or_default(), changed: false };
        FileHashes { memory: Some(memory.to_owned()), known: Mutex::new(known) }
    }

    /// SHA-256 of a file's content, read only if it is not remembered.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn sha256(&self, path: &Path) -> io::Result<String> {
        let path = fs::canonicalize(path)?;
        let stamp = Stamp::of(&fs::metadata(&path)?);
        if let Some(stamp) = &stamp
            && let Some(found) = self.known().files.get(&path)
            && found.stamp == *stamp
        {
            return Ok(found.sha256.clone());
        }
        let sha256 = sha256_of_file(&path)?;
        let after = Stamp::of(&fs::metadata(&path)?);
        if let Some(stamp) =
            stamp.filter(|stamp| stamp.is_settled() && after.as_ref() == Some(stamp))
        {
            let mut known = self.known();
            known.files.insert(path, Remembered { stamp, sha256: sha256.clone() });
            known.changed = true;
        }
        Ok(sha256)
    }

    /// Writes the file, without entries of files that are gone, if anything is new.
    ///
    /// # Errors
    /// A file that cannot be written. Its earlier content is unchanged.
    pub fn save(&self) -> io::Result<()> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let mut known = self.known();
        let Some(folder) = memory.parent().filter(|folder| known.changed && folder.is_dir()) else {
            return Ok(());
        };
        known.files.retain(|path, _| path.exists());
        // Only the user may read a temporary file: paths of files are the user's own affair.
        let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(&known.files)?)?;
        file.as_file().sync_all()?;
        file.persist(memory)?;
        known.changed = false;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FileHashes {
    fn drop(&mut self) {
        // What is not remembered is read again.
        let _ = self.save();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;

    use super::*;

    fn old() -> SystemTime {
        SystemTime::now() - Duration::from_secs(3600)
    }

    fn put(path: &Path, text: &str, modified: SystemTime) {
        fs::write(path, text).expect("a write");
        let file = fs::File::options().write(true).open(path).expect("a file");
        file.set_times(FileTimes::new().set_modified(modified)).expect("a time");
    }

    /// The hash with a memory that holds the file as it is now under a false hash.
    fn hash_beside(memory: &Path, path: &Path, change: impl Fn()) -> String {
        let real = fs::canonicalize(path).expect("a path");
        let stamp = Stamp::of(&fs::metadata(&real).expect("metadata")).expect("a stamp");
        let files = BTreeMap::from([(real, Remembered { stamp, sha256: "remembered".into() })]);
        fs::write(memory, serde_json::to_vec(&files).expect("JSON")).expect("a write");
        change();
        FileHashes::open(memory).sha256(path).expect("a hash")
    }

    #[test]
    fn a_file_is_read_again_when_its_size_or_time_differs() {
        let dir = tempfile::tempdir().expect("a folder");
        let (memory, path) = (dir.path().join("hashes.json"), dir.path().join("weights"));
        put(&path, "12345", old());
        assert_eq!(hash_beside(&memory, &path, || {}), "remembered");
        let longer = hash_beside(&memory, &path, || put(&path, "123456", old()));
        assert_eq!(longer, sha256_of_file(&path).expect("a hash"));
        put(&path, "12345", old());
        let later = hash_beside(&memory, &path, || put(&path, "54321", SystemTime::now()));
        assert_eq!(later, sha256_of_file(&path).expect("a hash"));
        #[cfg(unix)]
        {
            let time = old();
            put(&path, "12345", time);
            let same_time = hash_beside(&memory, &path, || {
                std::thread::sleep(Duration::from_millis(20));
                put(&path, "54321", time);
            });
            assert_eq!(same_time, sha256_of_file(&path).expect("a hash"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_memory_is_read_by_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let (memory, path) = (dir.path().join("hashes.json"), dir.path().join("weights"));
        put(&path, "12345", old());
        let hashes = FileHashes::open(&memory);
        let sha256 = hashes.sha256(&path).expect("a hash");
        // The entry of a file of this moment is not remembered, so it is put there.
        let stamp = Stamp::of(&fs::metadata(&path).expect("metadata")).expect("a stamp");
        let real = fs::canonicalize(&path).expect("a path");
        hashes.known().files.insert(real, Remembered { stamp, sha256 });
        hashes.known().changed = true;
        drop(hashes);
        let mode = fs::metadata(&memory).expect("a memory").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_remembered_and_a_damaged_memory_is_empty() {
        let dir = tempfile::tempdir().expect("a folder");
        let (memory, path) = (dir.path().join("hashes.json"), dir.path().join("weights"));
        put(&path, "12345", SystemTime::now());
        let hashes = FileHashes::open(&memory);
        hashes.sha256(&path).expect("a hash");
        drop(hashes);
        assert!(!memory.exists());
        fs::write(&memory, "{").expect("a write");
        let hash = FileHashes::open(&memory).sha256(&path).expect("a hash");
        assert_eq!(hash, sha256_of_file(&path).expect("a hash"));
    }
}
