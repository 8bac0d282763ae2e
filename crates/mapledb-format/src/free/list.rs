//! Extents in lists: small numbers for neighbours.
//!
//! ```text
//! the inline area of a meta: sections to its end
//!   0x01  count  (gap len)*                            available
//!   0x02  blocker  freed-blocker  bytes  packed list   a pending group
//!
//! a packed list, also the value of a pending record in the free tree: (gap len freed-born)*
//! ```
//!
//! Section kinds are bytes, all other numbers varints. A gap counts from the end of the extent before, the
//! first from page 0; extents ascend and never overlap. Available pages have one section, each
//! pending group has its own; no section is empty.
//!
//! A group says how many bytes its list takes, so that who need not look at it can carry it along unread: most groups wait
//! through many commits.
//!
//! The `fit_*` functions say how many extents go into a given room, so that who writes can plan before.

use super::{Extent, FreedExtent, PageBounds, PendingGroup};
use crate::ids::{Pgno, Txnid};
use crate::{FormatError, Result, varint};

const SECTION_AVAILABLE: u8 = 1;
const SECTION_PENDING: u8 = 2;

/// What the inline area of a meta lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InlineFree {
    /// Pages that may be used at once, ascending.
    pub available: Vec<Extent>,
    /// Pages that wait.
    pub pending: Vec<PackedGroup>,
}

/// A pending group whose list has not been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedGroup {
    /// The largest pinned snapshot that can still reach the pages.
    pub blocker: Txnid,
    /// The transaction that freed them. Above the blocker.
    pub freed: Txnid,
    /// The packed list, not empty.
    pub list: Vec<u8>,
}

impl PackedGroup {
    /// The group with its extents, every one of which must lie within `bounds`.
    pub fn unpack(&self, bounds: PageBounds) -> Result<PendingGroup> {
        let (blocker, freed) = (self.blocker, self.freed);
        Ok(PendingGroup { blocker, freed, extents: decode_packed(&self.list, blocker, freed, bounds)? })
    }

    /// How many bytes the group takes inline.
    pub fn len_bytes(&self) -> usize {
        let numbers = [self.blocker.0, self.freed.0.wrapping_sub(self.blocker.0), self.list.len() as u64];
        1 + numbers.map(varint::len).iter().sum::<usize>() + self.list.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(SECTION_PENDING);
        varint::encode(self.blocker.0, out);
        varint::encode(self.freed.0.wrapping_sub(self.blocker.0), out);
        varint::encode(self.list.len() as u64, out);
        out.extend_from_slice(&self.list);
    }

    fn decode(from: &mut &[u8]) -> Result<PackedGroup> {
        let blocker = Txnid(varint::decode(from)?);
        let Some(freed) =
            blocker.0.checked_add(varint::decode(from)?).map(Txnid).filter(|&freed| freed > blocker)
        else {
            return bad("a group was not freed after its blocker");
        };
        let len = decode_count(from)?;
        let list = usize::try_from(len).ok().and_then(|len| from.split_at_checked(len));
        let Some((list, rest)) = list else { return bad("a group is longer than the area") };
        *from = rest;
        Ok(PackedGroup { blocker, freed, list: list.to_vec() })
    }
}

impl PendingGroup {
    /// The group as it is written. It must not be empty.
    pub fn pack(&self) -> PackedGroup {
        let mut list = Vec::with_capacity(4 * self.extents.len());
        encode_packed(self.freed, &self.extents, &mut list);
        PackedGroup { blocker: self.blocker, freed: self.freed, list }
    }
}

impl InlineFree {
    /// The bytes of the area: empty lists take none.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len_bytes());
        encode_area(self.available.len(), self.available.iter().copied(), &self.pending, &mut out);
        out
    }

    /// How many bytes [`encode`](InlineFree::encode) gives.
    pub fn len_bytes(&self) -> usize {
        available_len_bytes(&self.available) + self.pending.iter().map(PackedGroup::len_bytes).sum::<usize>()
    }

    /// Reads an area that fills `area`. Every available extent must lie within `bounds`; the lists of groups are not read.
    pub fn decode(mut area: &[u8], bounds: PageBounds) -> Result<InlineFree> {
        let mut inline = InlineFree::default();
        while let Some((&section, rest)) = area.split_first() {
            area = rest;
            match section {
                SECTION_AVAILABLE if inline.available.is_empty() => {
                    inline.available = decode_available(&mut area, bounds)?;
                }
                SECTION_AVAILABLE => return bad("it lists available pages twice"),
                SECTION_PENDING => inline.pending.push(PackedGroup::decode(&mut area)?),
                _ => return bad("a section's kind is not known"),
            }
        }
        Ok(inline)
    }
}

/// Appends the bytes of an area: `count` extents that are available, ascending, and groups that wait.
pub fn encode_area(
    count: usize,
    available: impl Iterator<Item = Extent>,
    pending: &[PackedGroup],
    out: &mut Vec<u8>,
) {
    if count > 0 {
        out.push(SECTION_AVAILABLE);
        varint::encode(count as u64, out);
        let mut end = 0;
        for extent in available {
            encode_extent(&extent, &mut end, out);
        }
    }
    pending.iter().for_each(|group| group.encode(out));
}

/// How many bytes a section of available pages takes inline; none if there are none.
pub fn available_len_bytes(extents: &[Extent]) -> usize {
    if extents.is_empty() {
        return 0;
    }
    let mut end = 0;
    let listed: usize = extents.iter().map(|extent| extent_len_bytes(extent, &mut end)).sum();
    1 + varint::len(extents.len() as u64) + listed
}

/// How many bytes a packed list takes.
pub fn packed_len_bytes(freed: Txnid, extents: &[FreedExtent]) -> usize {
    let mut end = 0;
    extents.iter().map(|freed_extent| freed_extent_len_bytes(freed, freed_extent, &mut end)).sum()
}

/// How many of the first `extents` go into a section of `room_bytes`.
pub fn fit_available(extents: &[Extent], room_bytes: usize) -> usize {
    let mut end = 0;
    fit(extents.iter().map(|extent| extent_len_bytes(extent, &mut end)), 1, true, room_bytes)
}

/// How many of the first `extents` go into a packed list of `room_bytes`.
pub fn fit_packed(freed: Txnid, extents: &[FreedExtent], room_bytes: usize) -> usize {
    let mut end = 0;
    let lens = extents.iter().map(|extent| freed_extent_len_bytes(freed, extent, &mut end));
    fit(lens, 0, false, room_bytes)
}

fn fit(lens: impl Iterator<Item = usize>, head_bytes: usize, counted: bool, room_bytes: usize) -> usize {
    let mut used = head_bytes;
    let mut count = 0;
    for len in lens {
        used += len;
        let count_bytes = if counted { varint::len(count as u64 + 1) } else { 0 };
        if used + count_bytes > room_bytes {
            break;
        }
        count += 1;
    }
    count
}

fn extent_len_bytes(extent: &Extent, end: &mut u64) -> usize {
    let gap = extent.first.get().wrapping_sub(*end);
    *end = extent.end();
    varint::len(gap) + varint::len(extent.pages)
}

fn freed_extent_len_bytes(freed: Txnid, freed_extent: &FreedExtent, end: &mut u64) -> usize {
    extent_len_bytes(&freed_extent.extent, end) + varint::len(freed.0.wrapping_sub(freed_extent.born.0))
}

/// Appends one `(gap len)`; `end` is where the extent before ends, and is moved on.
pub(crate) fn encode_extent(extent: &Extent, end: &mut u64, out: &mut Vec<u8>) {
    varint::encode(extent.first.get().wrapping_sub(*end), out);
    varint::encode(extent.pages, out);
    *end = extent.end();
}

/// Reads one `(gap len)` behind `end`, which must lie within `bounds`. On a fault it says which.
pub(crate) fn decode_extent(
    from: &mut &[u8],
    end: &mut u64,
    bounds: PageBounds,
) -> Result<std::result::Result<Extent, &'static str>> {
    let gap = varint::decode(from)?;
    let pages = varint::decode(from)?;
    if pages == 0 {
        return Ok(Err("an extent is empty"));
    }
    let extent = end.checked_add(gap).and_then(Pgno::new).map(|first| Extent::new(first, pages));
    let Some(extent) = extent.filter(|extent| bounds.holds(extent)) else {
        return Ok(Err("an extent lies outside the file"));
    };
    *end = extent.end();
    Ok(Ok(extent))
}

fn decode_available(from: &mut &[u8], bounds: PageBounds) -> Result<Vec<Extent>> {
    let mut end = 0;
    (0..decode_count(from)?).map(|_| free_extent(from, &mut end, bounds)).collect()
}

/// Appends a packed list to `out`.
pub fn encode_packed(freed: Txnid, extents: &[FreedExtent], out: &mut Vec<u8>) {
    let mut end = 0;
    for FreedExtent { extent, born } in extents {
        encode_extent(extent, &mut end, out);
        varint::encode(freed.0.wrapping_sub(born.0), out);
    }
}

/// Reads a packed list that fills `list`: extents freed in `freed` that wait for `blocker`.
pub fn decode_packed(
    mut list: &[u8],
    blocker: Txnid,
    freed: Txnid,
    bounds: PageBounds,
) -> Result<Vec<FreedExtent>> {
    let mut extents = Vec::new();
    let mut end = 0;
    while !list.is_empty() {
        extents.push(decode_freed(&mut list, &mut end, blocker, freed, bounds)?);
    }
    Ok(extents)
}

fn decode_freed(
    from: &mut &[u8],
    end: &mut u64,
    blocker: Txnid,
    freed: Txnid,
    bounds: PageBounds,
) -> Result<FreedExtent> {
    let extent = free_extent(from, end, bounds)?;
    match freed.0.checked_sub(varint::decode(from)?).map(Txnid) {
        Some(born) if born <= blocker => Ok(FreedExtent { extent, born }),
        _ => bad("an extent was not born by its blocker"),
    }
}

fn free_extent(from: &mut &[u8], end: &mut u64, bounds: PageBounds) -> Result<Extent> {
    decode_extent(from, end, bounds)?.or_else(bad)
}

fn decode_count(from: &mut &[u8]) -> Result<u64> {
    match varint::decode(from)? {
        0 => bad("a section is empty"),
        count => Ok(count),
    }
}

fn bad<T>(why: &'static str) -> Result<T> {
    Err(FormatError::BadFreeRecord(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bounds, extent};
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_the_head_of_this_file_draws() {
        let group = PendingGroup {
            blocker: Txnid(7),
            freed: Txnid(9),
            extents: vec![
                FreedExtent { extent: extent(300, 2), born: Txnid(7) },
                FreedExtent { extent: extent(302, 1), born: Txnid(1) },
            ],
        };
        let inline =
            InlineFree { available: vec![extent(32, 1), extent(40, 200)], pending: vec![group.pack()] };
        let bytes = [1, 2, 32, 1, 7, 0xc8, 1, 2, 7, 2, 7, 0xac, 2, 2, 2, 0, 1, 8];
        assert_eq!(inline.pending[0].unpack(bounds(32, 303)), Ok(group));
        assert_eq!(inline.encode(), bytes);
        assert_eq!(InlineFree::decode(&bytes, bounds(32, 303)), Ok(inline));
        assert_eq!(InlineFree::decode(&[], bounds(32, 303)), Ok(InlineFree::default()));
    }

    #[test]
    fn a_bad_area_says_why() {
        let table: [(&[u8], &str); 8] = [
            (&[3], "a section's kind is not known"),
            (&[1, 0], "a section is empty"),
            (&[1, 1, 40, 0], "an extent is empty"),
            (&[1, 1, 31, 1], "an extent lies outside the file"),
            (&[1, 1, 99, 2], "an extent lies outside the file"),
            (&[1, 1, 40, 1, 1, 1, 50, 1], "it lists available pages twice"),
            (&[2, 7, 0, 3, 40, 1, 1], "a group was not freed after its blocker"),
            (&[2, 7, 2, 4, 40, 1, 1], "a group is longer than the area"),
        ];
        for (bytes, why) in table {
            let error = FormatError::BadFreeRecord(why);
            assert_eq!(InlineFree::decode(bytes, bounds(32, 100)), Err(error), "{bytes:?}");
        }
        let cut_short = FormatError::BadVarint("it is cut short");
        assert_eq!(InlineFree::decode(&[1, 2, 40, 1], bounds(32, 100)), Err(cut_short));
    }

    #[test]
    fn a_bad_list_says_why_when_it_is_unpacked() {
        let table: [(&[u8], &str); 4] = [
            (&[40, 1, 1], "an extent was not born by its blocker"),
            (&[40, 1, 10], "an extent was not born by its blocker"),
            (&[40, 0, 3], "an extent is empty"),
            (&[99, 2, 3], "an extent lies outside the file"),
        ];
        for (list, why) in table {
            let group = PackedGroup { blocker: Txnid(7), freed: Txnid(9), list: list.to_vec() };
            assert_eq!(group.unpack(bounds(32, 100)), Err(FormatError::BadFreeRecord(why)), "{list:?}");
        }
    }

    /// Extents with gaps and lengths of all magnitudes, freed in one transaction.
    fn groups() -> impl Strategy<Value = (PendingGroup, u64)> {
        let part = (0u32..20, 0u32..12, any::<u16>(), any::<u64>());
        (0u64..1 << 40, 1u64..1 << 20, prop::collection::vec(part, 1..200)).prop_map(
            |(blocker, delta, parts)| {
                let mut end = 32;
                let mut extents = Vec::new();
                for (gap_bits, len_bits, noise, born) in parts {
                    let first = end + u64::from(noise) % (1 << gap_bits);
                    let pages = 1 + u64::from(noise) % (1 << len_bits);
                    end = first + pages;
                    extents.push(FreedExtent {
                        extent: extent(first, pages),
                        born: Txnid(born % (blocker + 1)),
                    });
                }
                (PendingGroup { blocker: Txnid(blocker), freed: Txnid(blocker + delta), extents }, end)
            },
        )
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn what_is_written_reads_back_and_is_as_long_as_said((group, end) in groups(), room in 0usize..1500) {
            let available: Vec<Extent> = group.extents.iter().map(|freed| freed.extent).collect();
            let packed = group.pack();
            prop_assert_eq!(packed.unpack(bounds(32, end)), Ok(group.clone()));
            prop_assert!(packed.unpack(bounds(32, end - 1)).is_err());
            let inline = InlineFree { available: available.clone(), pending: vec![packed.clone(), packed] };
            let bytes = inline.encode();
            prop_assert_eq!(bytes.len(), inline.len_bytes());
            prop_assert_eq!(InlineFree::decode(&bytes, bounds(32, end)), Ok(inline));
            if bounds(32, end).end.get() > 33 {
                prop_assert!(InlineFree::decode(&bytes, bounds(32, end - 1)).is_err());
            }

            let fitting = fit_available(&available, room);
            prop_assert!(available_len_bytes(&available[..fitting]) <= room);
            prop_assert!(fitting == available.len() || available_len_bytes(&available[..=fitting]) > room);

            let fitting = fit_packed(group.freed, &group.extents, room);
            let mut packed = Vec::new();
            encode_packed(group.freed, &group.extents[..fitting], &mut packed);
            prop_assert!(packed.len() <= room);
            prop_assert_eq!(packed.len(), packed_len_bytes(group.freed, &group.extents[..fitting]));
            let read = decode_packed(&packed, group.blocker, group.freed, bounds(32, end));
            prop_assert_eq!(read.as_deref(), Ok(&group.extents[..fitting]));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, section in 0u8..3) {
            if let Some(first) = bytes.first_mut() {
                *first = section;
            }
            for byte in bytes.iter_mut().skip(1) {
                *byte %= 16;
            }
            if let Ok(inline) = InlineFree::decode(&bytes, bounds(2, 1000)) {
                prop_assert_eq!(inline.encode().len(), bytes.len());
            }
            let _ = decode_packed(&bytes, Txnid(5), Txnid(9), bounds(0, 1000));
        }
    }
}
