//! A new file: two metas over four empty trees.

use std::io::Write;
use std::path::Path;

use mapledb_format::ids::{DATA_OFFSET, META_A_OFFSET, META_B_OFFSET};
use mapledb_format::{HeadBody, Identity, Manifest, Meta, PageSize, Slot, Txnid};
use mapledb_os::{DataFile, Seam, process};

use crate::error::{Error, Result};

/// The length of a new file: metas and no data page yet.
const NEW_FILE_BYTES: u64 = DATA_OFFSET;

/// Makes a file at `path`, whole and durable, or leaves nothing. Existing files are not touched.
///
/// Cost: two syncs, of the file and of its directory.
pub(crate) fn create(path: &Path, size: PageSize, mode: u32, seam: Seam) -> Result<DataFile> {
    let mut identity = Identity([0; 16]);
    process::random_bytes(&mut identity.0)?;
    let meta = |slot, txnid| {
        Meta {
            slot,
            page_size: size,
            compatible: 0,
            read_only_compatible: 0,
            incompatible: 0,
            identity,
            head: HeadBody::empty(Txnid(txnid), size.first_data_pgno()),
            manifest: Manifest::empty(),
        }
        .encode()
    };
    let (a, b) = (meta(Slot::A, 1), meta(Slot::B, 2));
    DataFile::create_in_place(path, mode, NEW_FILE_BYTES, seam, |mut file| {
        use std::io::{Seek, SeekFrom};
        for (offset, bytes) in [(META_A_OFFSET, a), (META_B_OFFSET, b)] {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&bytes)?;
        }
        Ok(())
    })
    .map_err(|error| match error.is_exists() {
        true => Error::Exists { path: path.to_path_buf() },
        false => Error::of_growth(error),
    })
}
