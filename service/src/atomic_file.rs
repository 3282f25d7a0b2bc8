//! Files that appear as a whole or not at all, also when the power fails. Blocks.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use tempfile::NamedTempFile;

pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file of mode 0600, replacing an existing one, and makes its folder if it is missing. After an error of the
/// file system or of `content`, the old file is unchanged.
pub fn write(path: &Path, content: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(folder_of(path))?;
    let draft = NamedTempFile::new_in(folder_of(path))?;
    let mut writer = BufWriter::new(draft.as_file());
    content(&mut writer)?;
    writer.flush()?;
    drop(writer);
    persist(draft, path)
}

/// Replaces the file at `path` by a draft in the same folder. After an error of the file system, the old file is
/// unchanged.
pub fn persist(draft: NamedTempFile, path: &Path) -> io::Result<()> {
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    sync_folder(path)
}

/// Moves a draft to `path` in the same folder. Fails with `AlreadyExists` if a file is there.
pub fn persist_new(draft: NamedTempFile, path: &Path) -> io::Result<()> {
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path)?;
    sync_folder(path)
}

/// Syncs the folder, because the folder holds the name of a file, not the file itself.
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
