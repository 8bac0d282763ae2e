//! The list of pages that a meta vouches for: every page reachable from its commit and written since the
//! last durable snapshot.
//!
//! ```text
//! in the meta, from byte 1792
//!  0  manifest_len    u16  bytes of the extents
//!  2  reserved        u16
//!  4  manifest_pages  u32  checksums in the digest
//!  8  digest          u64  XXH3-64 of the pages' header checksums, 8 bytes each, by ascending page
//! 16  extents         (gap len)*: varints, a gap counts from the extent before, the first from page 0
//! ```
//!
//! An overflow run is one checksum, that of its head; all its pages lie in the extents. No manifest lists
//! more than [`MANIFEST_PAGES_MAX`] pages, so what recovery reads is bounded.

use std::hash::Hasher;

use twox_hash::xxhash3_64::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

use crate::fields::{get, get_u16, get_u32, get_u64, put, put_u16, put_u32, put_u64};
use crate::free::list::{decode_extent, encode_extent};
use crate::free::{Extent, PageBounds};
use crate::{FormatError, Result};

/// The most pages a manifest lists, those of overflow runs counted. A larger commit syncs its pages first.
pub const MANIFEST_PAGES_MAX: u64 = 2048;
/// The length of a manifest in bytes.
pub const MANIFEST_BYTES: usize = 2304;
/// The room for extents in bytes.
pub const MANIFEST_EXTENT_BYTES: usize = MANIFEST_BYTES - EXTENTS_AT;

const LEN_AT: usize = 0;
const PAGES_AT: usize = 4;
const DIGEST_AT: usize = 8;
const EXTENTS_AT: usize = 16;

const _: () = assert!(MANIFEST_EXTENT_BYTES == 2288);

/// The digest over checksums, one at a time, in ascending order of their pages.
pub struct ManifestDigest {
    hasher: RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>,
    count: u64,
}

impl ManifestDigest {
    /// The digest of none.
    pub fn new() -> ManifestDigest {
        ManifestDigest { hasher: RawHasher::new(SecretBuffer::default()), count: 0 }
    }

    /// Adds the header checksum of the next page or run.
    pub fn add(&mut self, checksum: u64) {
        self.hasher.write(&checksum.to_le_bytes());
        self.count += 1;
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest.
    pub fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}

impl Default for ManifestDigest {
    fn default() -> ManifestDigest {
        ManifestDigest::new()
    }
}

/// A manifest, packed. Its extents may be anything until [`extents`](Manifest::extents) has read them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// How many checksums the digest covers.
    pub pages: u32,
    /// The digest.
    pub digest: u64,
    extents: Vec<u8>,
}

impl Manifest {
    /// The manifest of a commit whose pages are durable already.
    pub fn empty() -> Manifest {
        Manifest { pages: 0, digest: ManifestDigest::new().finish(), extents: Vec::new() }
    }

    /// Whether it lists nothing.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The manifest of `pages`: each a page or a whole overflow run with its header's checksum, ascending.
    /// `None` if they do not fit, and if they are out of order.
    pub fn build(pages: impl IntoIterator<Item = (Extent, u64)>) -> Option<Manifest> {
        let mut out = Vec::new();
        let mut digest = ManifestDigest::new();
        let (mut end, mut listed) = (0, 0u64);
        let mut open: Option<Extent> = None;
        for (extent, checksum) in pages {
            listed = listed.saturating_add(extent.pages);
            if listed > MANIFEST_PAGES_MAX || extent.pages == 0 {
                return None;
            }
            digest.add(checksum);
            match &mut open {
                Some(last) if extent.first.get() == last.end() => last.pages += extent.pages,
                Some(last) if extent.first.get() < last.end() => return None,
                _ => {
                    if let Some(last) = open.replace(extent) {
                        encode_extent(&last, &mut end, &mut out);
                    }
                }
            }
        }
        if let Some(last) = open {
            encode_extent(&last, &mut end, &mut out);
        }
        let pages = u32::try_from(digest.count()).ok()?;
        (out.len() <= MANIFEST_EXTENT_BYTES).then(|| Manifest {
            pages,
            digest: digest.finish(),
            extents: out,
        })
    }

    /// The extents it lists, ascending, all within `bounds` and together no more than the most allowed.
    pub fn extents(&self, bounds: PageBounds) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let (mut end, mut listed) = (0, 0u64);
        let mut from = &self.extents[..];
        while !from.is_empty() {
            let extent = decode_extent(&mut from, &mut end, bounds)?.or_else(bad)?;
            listed = listed.saturating_add(extent.pages);
            if listed > MANIFEST_PAGES_MAX {
                return bad("it lists more pages than a manifest may");
            }
            extents.push(extent);
        }
        if u64::from(self.pages) > listed || (self.pages as usize) < extents.len() {
            return bad("it counts other pages than it lists");
        }
        if extents.is_empty() && self.digest != ManifestDigest::new().finish() {
            return bad("it lists no pages and yet has a digest");
        }
        Ok(extents)
    }

    /// The manifest's bytes.
    pub fn encode(&self) -> [u8; MANIFEST_BYTES] {
        let mut bytes = [0; MANIFEST_BYTES];
        let len = self.extents.len().min(MANIFEST_EXTENT_BYTES);
        put_u16::<LEN_AT, _>(&mut bytes, len as u16);
        put_u32::<PAGES_AT, _>(&mut bytes, self.pages);
        put_u64::<DIGEST_AT, _>(&mut bytes, self.digest);
        let mut room: [u8; MANIFEST_EXTENT_BYTES] = get::<EXTENTS_AT, MANIFEST_EXTENT_BYTES, _>(&bytes);
        for (to, &from) in room.iter_mut().zip(&self.extents) {
            *to = from;
        }
        put::<EXTENTS_AT, MANIFEST_EXTENT_BYTES, _>(&mut bytes, room);
        bytes
    }

    /// Reads a manifest, its extents not yet looked at.
    pub fn decode(bytes: &[u8; MANIFEST_BYTES]) -> Result<Manifest> {
        let len = usize::from(get_u16::<LEN_AT, _>(bytes));
        let Some(extents) = bytes.get(EXTENTS_AT..EXTENTS_AT + len) else {
            return bad("it is longer than its room");
        };
        let (pages, digest) = (get_u32::<PAGES_AT, _>(bytes), get_u64::<DIGEST_AT, _>(bytes));
        Ok(Manifest { pages, digest, extents: extents.to_vec() })
    }
}

fn bad<T>(why: &'static str) -> Result<T> {
    Err(FormatError::BadManifest(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bounds, extent};
    use proptest::prelude::*;
    use twox_hash::XxHash3_64;

    #[test]
    fn neighbours_become_one_extent_and_a_run_one_checksum() {
        let pages = [(extent(40, 1), 11), (extent(41, 5), 12), (extent(46, 1), 13), (extent(100, 1), 14)];
        let manifest = Manifest::build(pages).unwrap();
        assert_eq!(manifest.pages, 4);
        assert_eq!(manifest.extents, [40, 7, 53, 1]);
        assert_eq!(manifest.extents(bounds(32, 101)), Ok(vec![extent(40, 7), extent(100, 1)]));
        let checksums: Vec<u8> = (11u64..15).flat_map(u64::to_le_bytes).collect();
        assert_eq!(manifest.digest, XxHash3_64::oneshot(&checksums));
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn what_does_not_fit_gives_none() {
        let scattered = |count| (0..count).map(|n| (extent(32 + n * 300, 1), 0));
        assert!(Manifest::build(scattered(700)).is_some());
        assert!(Manifest::build(scattered(800)).is_none());
        let dense = |count| (0..count).map(|n| (extent(32 + n, 1), 0));
        assert!(Manifest::build(dense(MANIFEST_PAGES_MAX)).is_some());
        assert!(Manifest::build(dense(MANIFEST_PAGES_MAX + 1)).is_none());
        assert!(Manifest::build([(extent(32, MANIFEST_PAGES_MAX + 1), 0)]).is_none());
        assert!(Manifest::build([(extent(40, 1), 0), (extent(39, 1), 0)]).is_none());
        assert!(Manifest::build([(extent(40, 0), 0)]).is_none());
        assert_eq!(Manifest::build([]), Some(Manifest::empty()));
    }

    #[test]
    fn a_bad_manifest_says_why() {
        let of = |pages, extents: &[u8]| Manifest { pages, digest: 1, extents: extents.to_vec() };
        let table: [(Manifest, FormatError); 8] = [
            (of(1, &[40, 0]), FormatError::BadManifest("an extent is empty")),
            (of(1, &[31, 1]), FormatError::BadManifest("an extent lies outside the file")),
            (of(1, &[40, 60, 1, 1]), FormatError::BadManifest("an extent lies outside the file")),
            (of(1, &[40]), FormatError::BadVarint("it is cut short")),
            (of(3, &[40, 2]), FormatError::BadManifest("it counts other pages than it lists")),
            (of(1, &[40, 1, 1, 1]), FormatError::BadManifest("it counts other pages than it lists")),
            (of(1, &[]), FormatError::BadManifest("it counts other pages than it lists")),
            (of(0, &[]), FormatError::BadManifest("it lists no pages and yet has a digest")),
        ];
        for (manifest, error) in table {
            assert_eq!(manifest.extents(bounds(32, 100)), Err(error), "{manifest:?}");
        }
        let many = of(9, &[40, 0x81, 0x10]);
        let error = FormatError::BadManifest("it lists more pages than a manifest may");
        assert_eq!(many.extents(bounds(32, 100_000)), Err(error));
        let mut long = Manifest::empty().encode();
        long[1] = 0xff;
        assert_eq!(Manifest::decode(&long), Err(FormatError::BadManifest("it is longer than its room")));
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn what_is_built_is_read(parts in prop::collection::vec((0u64..1000, 1u64..20, any::<u64>()), 0..200)) {
            let mut end = 32;
            let pages: Vec<(Extent, u64)> = parts.into_iter().map(|(gap, len, checksum)| {
                let extent = extent(end + gap, len);
                end = extent.end();
                (extent, checksum)
            }).collect();
            if let Some(manifest) = Manifest::build(pages.clone()) {
                let manifest = Manifest::decode(&manifest.encode()).unwrap();
                let extents = manifest.extents(bounds(32, end)).unwrap();
                let listed: Vec<u64> = extents.iter().flat_map(|e| e.first.get()..e.end()).collect();
                let written: Vec<u64> = pages.iter().flat_map(|(e, _)| e.first.get()..e.end()).collect();
                prop_assert_eq!(listed, written);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, len: u16, pages in 0u32..9) {
            let mut field = Manifest::empty().encode();
            field.iter_mut().skip(EXTENTS_AT).zip(&bytes).for_each(|(to, from)| *to = *from);
            field[..2].copy_from_slice(&len.to_le_bytes());
            let _ = Manifest::decode(&field).map(|manifest| manifest.extents(bounds(2, 500)));
            let _ = Manifest { pages, digest: 1, extents: bytes }.extents(bounds(2, 500));
        }
    }
}
