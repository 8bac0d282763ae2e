//! A snapshot in memory of its own, in huge pages where there are any; and what of a map is huge.

use std::path::PathBuf;

use mapledb_format::{Extent, Slot};
use mapledb_os::{ImageDraft, MapAdvice};

use super::copy::{every_tree, go_on};
use super::scan::Scan;
use super::Env;
use crate::error::Result;
use crate::pages::Pages;
use crate::space::Extents;
use crate::tree::{KeyOrder, Visit, walk};
use crate::txn::Whole;

/// Which memory an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageMemory {
    /// Huge pages that the administrator has set aside (`vm.nr_hugepages`): all of it.
    Reserved,
    /// Huge pages that the kernel has made for the image, as many as [`Image::huge_bytes`] says.
    Transparent,
    /// Pages of the ordinary size: the kernel had no others.
    Plain,
}

/// A snapshot in memory of its own. See [`Env::image`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Image {
    /// The image as a frozen environment, which nobody can write to. It is gone with its last handle and transaction.
    pub env: Env,
    /// Which memory it has.
    pub memory: ImageMemory,
    /// How much memory it takes.
    pub bytes: u64,
    /// How much of it is mapped by huge pages, as `/proc/self/smaps` says.
    pub huge_bytes: u64,
    /// The snapshot it holds.
    pub txnid: u64,
}

/// What came of [`MapAdvice::HugePage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePageState {
    /// It was not asked for.
    NotAdvised,
    /// Nothing of the file has been touched through the map yet.
    NothingMapped,
    /// What has been touched is mapped by ordinary pages alone. The file system has no others, or the pages were in memory
    /// already and in small pieces, or the kernel is built without.
    Refused,
    /// Huge pages are mapped.
    Mapped,
}

/// How much of an environment's map is huge, as the kernel says. See [`Env::huge_pages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePages {
    /// What came of the advice.
    pub state: HugePageState,
    /// Bytes of the file that this process has mapped to read.
    pub mapped_bytes: u64,
    /// Those of them that huge pages map.
    pub huge_bytes: u64,
}

impl Env {
    /// Reads the latest snapshot into memory of its own, and opens that as a [frozen](crate::Access::Frozen) environment:
    /// for data that changes seldom and is looked up all the time. It can be written by nobody, this process included. Every
    /// page is verified on the way; named snapshots are in it.
    ///
    /// The memory is of huge pages that were set aside, if enough are free, which are never swapped out; else of those that
    /// the kernel makes from ordinary ones; else it is ordinary: [`Image::memory`] says which, and [`Image::huge_bytes`] how
    /// much. Random reads of huge pages miss fewer translations of addresses; `docs/mmap.md` says what that was worth. The
    /// memory is this process's own: others that make an image as well pay for another one. A compact copy makes a smaller
    /// image, as free pages are in it, too.
    ///
    /// `progress` gets how many pages are done of how many; when it answers `false` the image is given up.
    ///
    /// Cost: every page in use is read, and let go of again if it was not in memory before; the memory, zeroed and written;
    /// a reading of `/proc/self/smaps`.
    ///
    /// # Errors
    /// There is not as much memory ([`Error::Os`](crate::Error::Os)); a corrupt page;
    /// [`Error::Interrupted`](crate::Error::Interrupted) when `progress` said so.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("places.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"1.2.3.0/24", b"Brisbane")?;
    /// txn.commit()?;
    ///
    /// let image = env.image(|_, _| true)?;
    /// let txn = image.env.read()?;
    /// assert_eq!(txn.main()?.get(b"1.2.3.0/24")?, Some(&b"Brisbane"[..]));
    /// println!("{} of {} bytes in huge pages: {:?}", image.huge_bytes, image.bytes, image.memory);
    /// # Ok(())
    /// # }
    /// ```
    pub fn image(&self, mut progress: impl FnMut(u64, u64) -> bool) -> Result<Image> {
        let whole = self.core.read_whole()?;
        let Whole { txn, head, .. } = &whole;
        let mut name = PathBuf::from(self.path()).into_os_string();
        name.push(" (image in memory)");
        let mut draft = ImageDraft::new(name.as_ref(), head.pages_used.offset(txn.page_size()))?;
        self.fill_image(&whole, draft.bytes(), &mut progress)?;
        let is_reserved = draft.is_reserved();
        let file = draft.finish()?;
        let bytes = file.len_bytes()?;
        let options = Env::options().advice(MapAdvice::HugePage).reserve_bytes(bytes);
        let options = txn.known_orders().iter().fold(options, |options, order| options.order(*order));
        let env = options.open_image(file)?;
        env.core.store.map_all(bytes)?;
        let huge_bytes = env.huge_pages()?.huge_bytes;
        let memory = match (is_reserved, huge_bytes) {
            (true, _) => ImageMemory::Reserved,
            (false, 0) => ImageMemory::Plain,
            (false, _) => ImageMemory::Transparent,
        };
        Ok(Image { env, memory, bytes, huge_bytes, txnid: head.txnid.get() })
    }

    fn fill_image(
        &self,
        whole: &Whole,
        image: &mut [u8],
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let Whole { txn, head, .. } = whole;
        let size = txn.page_size();
        let mut put = |offset: u64, bytes: &[u8]| image[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        for slot in [Slot::A, Slot::B] {
            put(slot.offset(), &self.meta_of_copy(head, slot));
        }
        let trees = every_tree(whole)?;
        let total = trees.iter().map(|tree| tree.leaf_pages + tree.branch_pages + tree.overflow_pages).sum();
        let passing = Scan::passing(txn);
        let (mut copied, mut done) = (Extents::default(), 0);
        go_on(progress(0, total))?;
        for tree in &trees {
            walk(&passing, tree, KeyOrder::recorded(tree.order), &mut |visit: Visit| {
                done += visit.pages;
                // A snapshot may share it with another, or with the latest state.
                if copied.insert(Extent::new(visit.pgno, visit.pages)) {
                    put(visit.pgno.offset(size), txn.raw_pages(visit.pgno, visit.pages)?);
                    txn.still_sound()?;
                }
                if done % 256 < visit.pages { go_on(progress(done, total)) } else { Ok(()) }
            })?;
        }
        go_on(progress(total, total))
    }

    /// How much of the map that this process reads the file by is of huge pages: what came of [`MapAdvice::HugePage`], told
    /// by the kernel and not by hope. Pages count once they have been touched.
    ///
    /// Cost: the kernel looks at every page that the process has mapped (`/proc/self/smaps`).
    ///
    /// # Errors
    /// `/proc` is not mounted.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("places.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # unsafe { mapledb::Env::options().create(&path) }?.close()?;
    /// use mapledb::{Access, Env, HugePageState, MapAdvice};
    ///
    /// let options = Env::options().advice(MapAdvice::HugePage);
    /// // SAFETY: nothing writes to the file while it is open.
    /// let env = unsafe { options.open(&path) }?;
    /// match env.huge_pages()?.state {
    ///     HugePageState::Mapped => println!("huge pages"),
    ///     state => println!("no huge pages: {state:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn huge_pages(&self) -> Result<HugePages> {
        let facts = self.core.store.read_map_facts()?;
        let (mapped_bytes, huge_bytes) = (facts.resident_bytes, facts.huge_bytes);
        let state = match self.core.store.advice() {
            _ if huge_bytes > 0 => HugePageState::Mapped,
            MapAdvice::HugePage if mapped_bytes == 0 => HugePageState::NothingMapped,
            MapAdvice::HugePage => HugePageState::Refused,
            _ => HugePageState::NotAdvised,
        };
        Ok(HugePages { state, mapped_bytes, huge_bytes })
    }
}
