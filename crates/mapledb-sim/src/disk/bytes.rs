//! The bytes of a file, block by block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};

use super::BLOCK_BYTES;

/// The content of a block.
pub type Content = Arc<[u8; BLOCK_BYTES]>;

/// The block of zeros: blocks that were never stored to share it.
pub(crate) static ZEROS: LazyLock<Content> = LazyLock::new(|| Arc::new([0; BLOCK_BYTES]));

/// The bytes of a file, block by block.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    /// How long it is.
    pub len_bytes: u64,
    /// Its blocks. What is behind the last is zero.
    pub blocks: Vec<Content>,
}

impl Bytes {
    /// Those of a slice.
    pub fn of(bytes: &[u8]) -> Bytes {
        let block = |part: &[u8]| match part.iter().all(|byte| *byte == 0) {
            true => Arc::clone(&ZEROS),
            false => {
                let mut content = [0; BLOCK_BYTES];
                content[..part.len()].copy_from_slice(part);
                Arc::new(content)
            }
        };
        Bytes { len_bytes: bytes.len() as u64, blocks: bytes.chunks(BLOCK_BYTES).map(block).collect() }
    }

    /// Whether a block is zeros, or behind the end.
    pub fn holds_nothing(&self, block: u64) -> bool {
        self.blocks.get(block as usize).is_none_or(|content| **content == **ZEROS)
    }

    /// Writes them over a file that is empty, leaving holes where they are zero.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &File) -> io::Result<()> {
        file.set_len(self.len_bytes)?;
        let mut run = Vec::new();
        let mut begin = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            if Arc::ptr_eq(block, &ZEROS) {
                write_run(file, begin, &mut run, self.len_bytes)?;
                continue;
            }
            if run.is_empty() {
                begin = (index * BLOCK_BYTES) as u64;
            }
            run.extend_from_slice(&block[..]);
        }
        write_run(file, begin, &mut run, self.len_bytes)
    }
}

fn write_run(file: &File, begin: u64, run: &mut Vec<u8>, len_bytes: u64) -> io::Result<()> {
    run.truncate(len_bytes.saturating_sub(begin) as usize);
    file.write_all_at(run, begin)?;
    run.clear();
    Ok(())
}
