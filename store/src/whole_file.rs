//! Writing a file so that it is there as a whole or not at all, also after the power failed; mode 0600.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// Writes beside the file, and puts that in its place once it is on the disk. Makes the folder where it is missing.
pub(crate) fn write(path: &Path, content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    // Made with mode 0600.
    let beside = tempfile::NamedTempFile::new_in(folder)?;
    let mut writer = BufWriter::new(beside.as_file());
    content(&mut writer)?;
    writer.flush()?;
    drop(writer);
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    // The name is in the folder's own blocks.
    File::open(folder)?.sync_all()
}
