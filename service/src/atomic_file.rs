//! Files that appear as a whole or not at all, also when the power fails. Blocks.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use tempfile::NamedTempFile;

/// The folder that holds a file, whether or not the file is there.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file of mode 0600 in the place of the one that is there, if one is. A missing folder is made.
///
/// # Errors
/// What the file system or `content` says; the file is then as it was.
pub fn write(path: &Path, content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(folder_of(path))?;
    let draft = NamedTempFile::new_in(folder_of(path))?;
    let mut writer = BufWriter::new(draft.as_file());
    content(&mut writer)?;
    writer.flush()?;
    drop(writer);
    persist(draft, path)
}

/// Puts a draft, made in the same folder, in the place of the file that is there, if one is.
///
/// # Errors
/// What the file system says; the file is then as it was.
pub fn persist(draft: NamedTempFile, path: &Path) -> io::Result<()> {
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    sync_folder(path)
}

/// Puts a draft, made in the same folder, where no file is.
///
/// # Errors
/// `AlreadyExists` when there is one; otherwise what the file system says.
pub fn persist_new(draft: NamedTempFile, path: &Path) -> io::Result<()> {
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path)?;
    sync_folder(path)
}

/// A file's name is written to the disk with the folder, not with the file.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_by_a_whole_one_or_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/file");
        write(&path, |file| file.write_all(b"first")).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, |file| file.write_all(b"sec").and(Err(io::ErrorKind::Other.into()))).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, |file| file.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder_of(&path)).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_new_file_takes_no_place_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        persist_new(NamedTempFile::new_in(folder.path()).unwrap(), &path).unwrap();
        let again = persist_new(NamedTempFile::new_in(folder.path()).unwrap(), &path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
