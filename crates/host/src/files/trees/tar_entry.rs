//! The headers of an archive.

use nix::errno::Errno;
use tar::{EntryType, Header};

use super::bytes_in::BytesIn;
use super::entry::Kept;
use super::tar_header::{Extended, MOST_EXTENDED, broken, is_intact, padding, refused};
use super::trail::{MAX_DEPTH, failed};
use crate::error::Error;
use crate::files::content::COPIED;

/// The kernel's bounds of a name (`NAME_MAX`) and of the content of a link (`PATH_MAX`), in bytes.
const LONGEST_NAME: usize = 255;
const LONGEST_LINK: usize = 4095;

/// One entry, as its headers describe it.
pub struct Described {
    pub header: Header,
    pub kind: EntryType,
    pub path: Vec<Vec<u8>>,
    pub link: Vec<u8>,
    /// How many bytes of the archive are its content.
    pub stored: u64,
    pub kept: Kept,
    pub extended: Extended,
}

/// Reads the headers of the next entry; `None` at the end.
pub async fn next(from: &mut BytesIn, is_first: bool) -> Result<Option<Described>, Error> {
    let mut extended = Extended::default();
    let mut is_inner = false;
    loop {
        let mut header = Header::new_old();
        if !from.fill(header.as_mut_bytes()).await? {
            return if is_inner || is_first {
                Err(broken())
            } else {
                Ok(None)
            };
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return if is_inner { Err(broken()) } else { Ok(None) };
        }
        if !is_intact(&header) {
            return Err(broken());
        }
        let size = header.entry_size().map_err(|_| broken())?;
        let kind = header.entry_type();
        let is_extension = matches!(
            kind,
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        );
        if !is_extension {
            return described(header, extended).map(Some);
        }
        if size > MOST_EXTENDED {
            return Err(refused(&format!(
                "has an extended header of {size} bytes; at most {MOST_EXTENDED} are read"
            )));
        }
        let mut content = from.read(size as usize).await?;
        from.skip(padding(size)).await?;
        let until_zero = |content: &mut Vec<u8>| {
            let length = content.iter().position(|byte| *byte == 0);
            content.truncate(length.unwrap_or(content.len()));
        };
        match kind {
            EntryType::XHeader => extended.read(&content)?,
            EntryType::GNULongName => {
                until_zero(&mut content);
                extended.path = Some(content);
            }
            EntryType::GNULongLink => {
                until_zero(&mut content);
                extended.link = Some(content);
            }
            // A comment, in all archives that there are.
            _ => continue,
        }
        is_inner = true;
    }
}

fn described(header: Header, mut extended: Extended) -> Result<Described, Error> {
    let path = match (extended.sparse.name.take(), extended.path.take()) {
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => header.path_bytes().into_owned(),
    };
    let link = match extended.link.take() {
        Some(link) => link,
        None => header
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default(),
    };
    if link.len() > LONGEST_LINK && header.entry_type() == EntryType::Symlink {
        return Err(too_long(&link));
    }
    let stored = match extended.size {
        Some(size) => size,
        None => header.entry_size().map_err(|_| broken())?,
    };
    // Before POSIX, a slash at the end was a directory's mark.
    let kind = match header.entry_type() {
        EntryType::Regular if path.ends_with(b"/") => EntryType::Directory,
        kind => kind,
    };
    let path = parts(&path)?;
    let mode = header.mode().unwrap_or(0o644) & COPIED;
    let modified = match extended.modified {
        Some(modified) => modified,
        None => (header.mtime().map_err(|_| broken())? as i64, 0),
    };
    Ok(Described {
        // The size of a link is that of the other file, and no content follows.
        stored: if matches!(kind, EntryType::Link | EntryType::Symlink) {
            0
        } else {
            stored
        },
        header,
        kind,
        path,
        link,
        kept: Kept {
            mode,
            modified: Some(modified),
        },
        extended,
    })
}

/// The names on a path. One that begins at the root counts from the top; `..` is refused, and so is what the kernel would refuse:
/// names wait in memory until enough files can be made at a time.
pub fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let shown = String::from_utf8_lossy(path).into_owned();
                return Err(refused(&format!(
                    "has the name {shown:?}, which leads out of the directory"
                )));
            }
            part if part.contains(&0) => return Err(broken()),
            part if part.len() > LONGEST_NAME => return Err(too_long(part)),
            _ if parts.len() > MAX_DEPTH => {
                return Err(Error::LimitExceeded(format!(
                    "The archive has directories more than {MAX_DEPTH} deep, the most that one call writes"
                )));
            }
            part => parts.push(part.to_vec()),
        }
    }
    Ok(parts)
}

/// The error about the name of a file, or the content of a link.
fn too_long(name: &[u8]) -> Error {
    failed(Errno::ENAMETOOLONG, "open", &name[..name.len().min(LONGEST_NAME)])
}
