//! Lists the folder's files, detects changes, and reads texts. It blocks, and does not know YAML.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    io,
    path::Path,
    time::SystemTime,
};

/// Most attempts to read a folder that changes while it is read.
const READS: usize = 3;

#[derive(Debug, Hash)]
pub(super) struct SourceFile {
    /// Name within the folder, or the path.
    pub(super) name: String,
    /// Text, or one line that says why it cannot be read.
    pub(super) text: Result<String, String>,
}

/// Name, length and modification time of a file. Files with equal stamps have equal contents, except for changes within
/// one tick of the clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileStamp {
    name: String,
    length: u64,
    modified: Option<SystemTime>,
}

/// Stamps of the folder's files, or none when there is no folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing(Option<Vec<FileStamp>>);

#[derive(Debug)]
pub(super) struct FolderContent {
    /// Listed before the files were read, so that a later change is detected.
    pub(super) stamps: Listing,
    /// Sorted by name.
    pub(super) files: Vec<SourceFile>,
}

impl Listing {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(None)),
            Err(error) => return Err(error),
        };
        let mut stamps = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // Hidden files are swap files of editors, or the folders to which Kubernetes links the files of a
            // ConfigMap.
            if name.starts_with('.') || !(name.ends_with(".yaml") || name.ends_with(".yml")) {
                continue;
            }
            match fs::metadata(folder.join(&name)) {
                Ok(meta) if meta.is_dir() => {}
                Ok(meta) => stamps.push(FileStamp { name, length: meta.len(), modified: meta.modified().ok() }),
                // Reading the file reports the error.
                Err(_) => stamps.push(FileStamp { name, length: 0, modified: None }),
            }
        }
        stamps.sort();
        Ok(Self(Some(stamps)))
    }

    /// True when there is no folder. An empty folder is not missing.
    pub(super) fn is_missing(&self) -> bool {
        self.0.is_none()
    }
}

impl FolderContent {
    /// Reads all files, and reads them again while they change: half of a written list would be valid, and would lack
    /// the other half.
    ///
    /// # Errors
    /// The folder exists and cannot be listed.
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

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(|stamp| stamp.name.as_str())
    }
}

impl SourceFile {
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
