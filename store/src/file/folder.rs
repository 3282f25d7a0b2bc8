//! The folder itself: which files, whether they changed, and what they say. Blocking; knows nothing of YAML.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    io,
    path::Path,
    time::SystemTime,
};

/// How often a folder that changes while it is read is read again before it is taken as it is.
const READS: usize = 3;

/// One file as it was read.
#[derive(Debug, Hash)]
pub(super) struct SourceFile {
    /// Its name within the folder, or its path.
    pub(super) name: String,
    /// Its text, or the line that says why there is none.
    pub(super) text: Result<String, String>,
}

/// What a listing tells of a file: equal stamps, equal content, but for a change within one tick of the clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileStamp {
    name: String,
    length: u64,
    modified: Option<SystemTime>,
}

/// What a listing tells of the folder; none where there is no folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing(Option<Vec<FileStamp>>);

/// The folder as it was read.
#[derive(Debug)]
pub(super) struct FolderContent {
    /// Taken before the files were read, so that a later change shows.
    pub(super) stamps: Listing,
    /// In the order of their names.
    pub(super) files: Vec<SourceFile>,
}

impl Listing {
    /// Lists the YAML files of a folder.
    ///
    /// # Errors
    /// Where there is a folder that cannot be listed.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(None)),
            Err(error) => return Err(error),
        };
        let mut stamps = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // Hidden: editors' swap files, and the folders that Kubernetes links a ConfigMap's files from.
            if name.starts_with('.') || !(name.ends_with(".yaml") || name.ends_with(".yml")) {
                continue;
            }
            match fs::metadata(folder.join(&name)) {
                Ok(meta) if meta.is_dir() => {}
                Ok(meta) => stamps.push(FileStamp { name, length: meta.len(), modified: meta.modified().ok() }),
                // Reading it says why.
                Err(_) => stamps.push(FileStamp { name, length: 0, modified: None }),
            }
        }
        stamps.sort();
        Ok(Self(Some(stamps)))
    }

    /// Whether there is no folder, as against an empty one.
    pub(super) fn is_missing(&self) -> bool {
        self.0.is_none()
    }
}

impl FolderContent {
    /// Reads all files, again while they change: half of a list would be valid, and would lack the other half.
    ///
    /// # Errors
    /// Where there is a folder that cannot be listed.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut stamps = Listing::of(folder)?;
        for _ in 1..READS {
            let files = stamps.read(folder);
            let after = Listing::of(folder)?;
            if after == stamps {
                return Ok(Self { stamps, files });
            }
            stamps = after;
        }
        Ok(Self { files: stamps.read(folder), stamps })
    }

    /// Equal for equal names and texts.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.files.hash(&mut hasher);
        self.stamps.is_missing().hash(&mut hasher);
        hasher.finish()
    }
}

impl Listing {
    fn read(&self, folder: &Path) -> Vec<SourceFile> {
        self.names().map(|name| SourceFile::of(name.to_owned(), fs::read(folder.join(name)))).collect()
    }

    /// The files' names, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(|stamp| stamp.name.as_str())
    }
}

impl SourceFile {
    /// What was read under this name.
    pub(super) fn of(name: String, read: io::Result<Vec<u8>>) -> Self {
        let text = match read {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| not_utf8(&name, &error)),
            Err(error) => Err(format!("{name}: {error}")),
        };
        Self { name, text }
    }
}

fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> String {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + valid.iter().rev().take_while(|&&byte| byte != b'\n').count();
    format!("{name}:{line}:{column}: is not UTF-8")
}
