//! A backup's file: a tar archive, which other programs can read, too. Its first entry is the manifest, which lists the
//! files and shows whether they are complete.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The first entry of a backup, which lists the files after it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) version: String,
    /// Time of the backup, in RFC 3339.
    pub(crate) at: String,
    /// The files, in the order of the archive.
    pub(crate) files: Vec<FileEntry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub(crate) sha256: String,
}

impl Manifest {
    const NAME: &str = "manifest.json";
    /// The format that this program writes.
    pub(super) const FORMAT: u32 = 1;
}

/// Writes the manifest and the files that it names, which are in the folder `staged`.
pub(super) fn write(to: impl Write, manifest: &Manifest, staged: &Path) -> anyhow::Result<()> {
    let mut tar = tar::Builder::new(to);
    let json = serde_json::to_vec_pretty(manifest)?;
    let made_at = schemas::time::unix_ms(&manifest.at).unwrap_or_default() / 1_000;
    let header = |bytes| header(bytes, made_at);
    tar.append_data(&mut header(json.len() as u64), Manifest::NAME, json.as_slice())?;
    for FileEntry { name, bytes, .. } in &manifest.files {
        let file = File::open(staged.join(name)).with_context(|| name.clone())?;
        tar.append_data(&mut header(*bytes), name, file).with_context(|| name.clone())?;
    }
    tar.finish()?;
    Ok(())
}

fn header(bytes: u64, made_at: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(made_at);
    header
}

/// Reads a backup: its manifest, and then each file, which is passed to `take`. Fails when the file is not a backup, is
/// incomplete, or has a newer format.
pub(super) fn read(
    from: impl Read,
    mut take: impl FnMut(&FileEntry, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<Manifest> {
    let mut tar = tar::Archive::new(from);
    let mut entries = tar.entries()?;
    let first = entries.next().and_then(Result::ok).filter(|first| is_named(first, Manifest::NAME));
    let manifest: Manifest = first
        .and_then(|first| serde_json::from_reader(first).ok())
        .context("this is no backup of carteiro: it does not begin with a manifest")?;
    if manifest.format > Manifest::FORMAT {
        let (found, known) = (manifest.format, Manifest::FORMAT);
        anyhow::bail!("the backup has the form {found}, this program knows forms up to {known}: use a newer one");
    }
    for expected in &manifest.files {
        let name = &expected.name;
        let mut entry = entries.next().with_context(|| format!("{name} is missing: the backup is not whole"))??;
        anyhow::ensure!(is_named(&entry, name), "{name} is not where the manifest has it: the backup was changed");
        take(expected, &mut entry)?;
    }
    Ok(manifest)
}

fn is_named(entry: &tar::Entry<'_, impl Read>, name: &str) -> bool {
    entry.path_bytes().as_ref() == name.as_bytes()
}

/// Copies a file's content. Returns its entry, with the bytes and the hash of what was copied.
pub(super) fn copy(name: &str, from: &mut (impl Read + ?Sized), to: &mut impl Write) -> io::Result<FileEntry> {
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
        bytes += read as u64;
    }
    let sha256 = schemas::hex(&hash.finalize());
    Ok(FileEntry { name: name.to_owned(), bytes, sha256 })
}
