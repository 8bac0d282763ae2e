//! Where the shared structs lie: a lock file's mapping, private memory of the same shape, or, under loom, the heap.

#[cfg(not(loom))]
pub(super) use mapped::LockMemory;
#[cfg(loom)]
pub(super) use modelled::LockMemory;

#[cfg(not(loom))]
mod mapped {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use mapledb_os::fork::ParentFile;
    use mapledb_os::shared::SharedRegion;
    use mapledb_os::sync::Ordering;

    use crate::mvcc::layout::*;
    use crate::mvcc::shared::{Block, Counters, Header, Record};
    use crate::mvcc::{MvccError, Result};

    /// Private memory is bounded: 1,016 blocks, 63,000 readers at once.
    const PRIVATE_LEN: usize = 4 << 20;
    /// The least address space with which a lock file is of use.
    const RESERVE_MIN: usize = 1 << 20;

    /// The shared structs. Header, counters and ring are there from the start; blocks come and stay.
    #[derive(Debug)]
    pub(in crate::mvcc) struct LockMemory {
        region: SharedRegion,
        path: PathBuf,
    }

    impl LockMemory {
        /// The memory of the lock file `file`, made long enough for the fixed part and one block.
        pub(in crate::mvcc) fn of_file(file: Arc<ParentFile>, path: &Path) -> Result<LockMemory> {
            let region = SharedRegion::map(file, path, LOCK_BYTES_MAX, RESERVE_MIN)?;
            region.grow_to(0, BLOCKS_AT + BLOCK_BYTES)?;
            Ok(LockMemory { region, path: path.to_path_buf() })
        }

        /// Memory of this process alone.
        pub(in crate::mvcc) fn private() -> Result<LockMemory> {
            Ok(LockMemory { region: SharedRegion::anonymous(PRIVATE_LEN)?, path: "in private memory".into() })
        }

        /// The error of what no process writes.
        pub(in crate::mvcc) fn bad(&self, offset: usize, what: &'static str) -> MvccError {
            MvccError::BadLockFile { path: self.path.clone(), offset, what }
        }

        #[inline]
        pub(in crate::mvcc) fn header(&self) -> &Header {
            self.region.view(0).expect("the fixed part was grown when the memory was made")
        }

        pub(in crate::mvcc) fn counters(&self) -> &Counters {
            self.region.view(COUNTERS_AT).expect("the fixed part was grown when the memory was made")
        }

        #[inline]
        pub(in crate::mvcc) fn ring(&self) -> &[Record] {
            let ring = self.region.slice(RING_AT, RING_LEN);
            ring.expect("the fixed part was grown when the memory was made")
        }

        /// Block `index`, which must lie inside the file.
        #[inline]
        pub(in crate::mvcc) fn block(&self, index: usize) -> Result<&Block> {
            let offset = BLOCKS_AT + index * BLOCK_BYTES;
            if let Some(block) = self.region.view(offset) {
                return Ok(block);
            }
            self.region.refresh()?;
            let what = "a block past the end of the file";
            self.region.view(offset).ok_or_else(|| self.bad(offset, what))
        }

        /// Block `index`, whose bytes this process owns and which need not exist yet.
        pub(in crate::mvcc) fn make_block(&self, index: usize) -> Result<&Block> {
            let offset = BLOCKS_AT + index * BLOCK_BYTES;
            self.region.grow_to(offset, offset + BLOCK_BYTES)?;
            self.block(index)
        }

        /// Blocks there is room for.
        pub(in crate::mvcc) fn blocks_max(&self) -> usize {
            ((self.region.reserve() - BLOCKS_AT) / BLOCK_BYTES).min(BLOCKS_MAX)
        }

        /// Blocks that have ever been claimed.
        pub(in crate::mvcc) fn blocks(&self) -> Result<usize> {
            let blocks = self.header().blocks.load(Ordering::Acquire) as usize;
            if blocks > self.blocks_max() {
                let what = "more process blocks than this process can map";
                return Err(self.bad(BLOCKS_LEN_AT, what));
            }
            Ok(blocks)
        }
    }
}

#[cfg(loom)]
mod modelled {
    use mapledb_os::sync::{Ordering, Zeroed};

    use crate::mvcc::layout::RING_LEN;
    use crate::mvcc::shared::{Block, Counters, Header, Record};
    use crate::mvcc::{MvccError, Result};

    /// The shared structs on the heap.
    pub(in crate::mvcc) struct LockMemory {
        header: Header,
        counters: Counters,
        ring: [Record; RING_LEN],
        blocks: Vec<Block>,
    }

    impl LockMemory {
        pub(in crate::mvcc) fn with_blocks(count: usize) -> LockMemory {
            LockMemory {
                header: Zeroed::zeroed(),
                counters: Zeroed::zeroed(),
                ring: Zeroed::zeroed(),
                blocks: (0..count).map(|_| Zeroed::zeroed()).collect(),
            }
        }

        pub(in crate::mvcc) fn bad(&self, offset: usize, what: &'static str) -> MvccError {
            MvccError::BadLockFile { path: "in a model".into(), offset, what }
        }

        pub(in crate::mvcc) fn header(&self) -> &Header {
            &self.header
        }

        pub(in crate::mvcc) fn counters(&self) -> &Counters {
            &self.counters
        }

        pub(in crate::mvcc) fn ring(&self) -> &[Record] {
            &self.ring
        }

        pub(in crate::mvcc) fn block(&self, index: usize) -> Result<&Block> {
            self.blocks.get(index).ok_or(MvccError::TooManyBlocks(self.blocks.len()))
        }

        pub(in crate::mvcc) fn make_block(&self, index: usize) -> Result<&Block> {
            self.block(index)
        }

        pub(in crate::mvcc) fn blocks_max(&self) -> usize {
            self.blocks.len()
        }

        pub(in crate::mvcc) fn blocks(&self) -> Result<usize> {
            Ok(self.header.blocks.load(Ordering::Acquire) as usize)
        }
    }
}
