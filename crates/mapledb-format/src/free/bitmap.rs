//! Which of a chunk's 1024 pages are available: 128 bytes, bit i % 8 of byte i / 8 for page i.

use std::ops::Range;

/// Pages in a chunk.
pub const CHUNK_PAGES: u32 = 1024;
/// The length of a bitmap in bytes.
pub const BITMAP_BYTES: usize = 128;

const WORDS: usize = 16;

const _: () = assert!(CHUNK_PAGES as usize == 8 * BITMAP_BYTES && BITMAP_BYTES == 8 * WORDS);

/// The available pages of one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bitmap {
    words: [u64; WORDS],
}

impl Bitmap {
    /// No page available.
    pub const EMPTY: Bitmap = Bitmap { words: [0; WORDS] };
    /// Every page available.
    pub const FULL: Bitmap = Bitmap { words: [u64::MAX; WORDS] };

    /// The bitmap of its bytes. Any bytes are one.
    pub fn from_bytes(bytes: &[u8; BITMAP_BYTES]) -> Bitmap {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Bitmap { words }
    }

    /// The bitmap's bytes.
    pub fn to_bytes(&self) -> [u8; BITMAP_BYTES] {
        let mut bytes = [0; BITMAP_BYTES];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// How many pages are available.
    pub fn available(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no page is available.
    pub fn is_empty(&self) -> bool {
        *self == Bitmap::EMPTY
    }

    /// Whether every page is available.
    pub fn is_full(&self) -> bool {
        *self == Bitmap::FULL
    }

    /// Whether `page` is available.
    pub fn contains(&self, page: u32) -> bool {
        self.words.get(page as usize / 64).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// Makes `pages` available. Refuses, changing nothing, if one of them is already or lies outside.
    #[must_use]
    pub fn set_range(&mut self, pages: Range<u32>) -> bool {
        let mask = mask(&pages);
        let allowed = pages.end <= CHUNK_PAGES && self.words.iter().zip(mask).all(|(word, m)| word & m == 0);
        if allowed {
            self.words.iter_mut().zip(mask).for_each(|(word, m)| *word |= m);
        }
        allowed
    }

    /// Takes `pages` away. Refuses, changing nothing, if one of them is not available.
    #[must_use]
    pub fn clear_range(&mut self, pages: Range<u32>) -> bool {
        let mask = mask(&pages);
        let allowed = pages.end <= CHUNK_PAGES && self.words.iter().zip(mask).all(|(word, m)| word & m == m);
        if allowed {
            self.words.iter_mut().zip(mask).for_each(|(word, m)| *word &= !m);
        }
        allowed
    }

    /// From the first available page to behind the last; empty if there is none.
    pub fn span(&self) -> Range<u32> {
        let holds = |word: &u64| *word != 0;
        let (Some(first), Some(last)) =
            (self.words.iter().position(holds), self.words.iter().rposition(holds))
        else {
            return 0..0;
        };
        let start = first as u32 * 64 + self.words[first].trailing_zeros();
        start..last as u32 * 64 + 64 - self.words[last].leading_zeros()
    }

    /// The runs of available pages, ascending, each as long as it can be.
    pub fn runs(&self) -> impl Iterator<Item = Range<u32>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, true)?;
            let end = self.next(start, false).unwrap_or(CHUNK_PAGES);
            from = end;
            Some(start..end)
        })
    }

    /// The longest run, the first of those equally long.
    ///
    /// The plain algorithm is `self.runs().min_by_key(|run| std::cmp::Reverse(run.len()))`, which looks at each of up to
    /// 512 runs. Here a bit says that so many pages from it on are available: of twice as many that is so where it is here
    /// and so many pages on, and of lengths between as far as powers of two add up to them. Some 20 steps of 16 words.
    pub fn longest_run(&self) -> Option<Range<u32>> {
        let mut powers = [[0; WORDS]; CHUNK_PAGES.ilog2() as usize + 1];
        let (mut starts, mut len, mut known) = (self.words, 1, 0);
        while starts != [0; WORDS] {
            powers[known] = starts;
            known += 1;
            if len == CHUNK_PAGES {
                break;
            }
            starts = both(&starts, &starts, len);
            len *= 2;
        }
        let largest = known.checked_sub(1)?;
        (starts, len) = (powers[largest], 1 << largest);
        for power in (0..largest).rev() {
            let longer = both(&starts, &powers[power], len);
            if longer != [0; WORDS] {
                (starts, len) = (longer, len + (1 << power));
            }
        }
        let first = starts.iter().position(|word| *word != 0)?;
        let start = first as u32 * 64 + starts[first].trailing_zeros();
        Some(start..start + len)
    }

    /// The first `pages` of the shortest run that has so many, the first of those equally long.
    pub fn best_fit(&self, pages: u32) -> Option<Range<u32>> {
        let fitting = self.runs().filter(|run| run.len() >= pages as usize);
        fitting.min_by_key(|run| run.len()).map(|run| run.start..run.start + pages)
    }

    /// The first page from `from` on that is available, or is not.
    fn next(&self, from: u32, available: bool) -> Option<u32> {
        let first = from as usize / 64;
        for (index, &word) in self.words.iter().enumerate().skip(first) {
            let word = if available { word } else { !word };
            let word = if index == first { word & (u64::MAX << (from % 64)) } else { word };
            if word != 0 {
                return Some(index as u32 * 64 + word.trailing_zeros());
            }
        }
        None
    }
}

/// The bits of `here` that `there` has so many pages on.
fn both(here: &[u64; WORDS], there: &[u64; WORDS], pages_on: u32) -> [u64; WORDS] {
    let (words, bits) = (pages_on as usize / 64, pages_on % 64);
    if words == 0 && bits > 0 {
        // The common case, laid out for vector instructions.
        let mut moved = there.map(|word| word >> bits);
        for at in 0..WORDS - 1 {
            moved[at] |= there[at + 1] << (64 - bits);
        }
        return std::array::from_fn(|at| here[at] & moved[at]);
    }
    let word = |at: usize| there.get(at).copied().unwrap_or(0);
    std::array::from_fn(|at| {
        let moved = match bits {
            0 => word(at + words),
            _ => word(at + words) >> bits | word(at + words + 1) << (64 - bits),
        };
        here[at] & moved
    })
}

/// The bits of `pages`; those outside a chunk have none.
fn mask(pages: &Range<u32>) -> [u64; WORDS] {
    let below = |page: u32, word: usize| match page.saturating_sub(word as u32 * 64) {
        bits @ 0..64 => (1u64 << bits) - 1,
        _ => u64::MAX,
    };
    std::array::from_fn(|word| below(pages.end, word) & !below(pages.start, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(runs: &[Range<u32>]) -> Bitmap {
        let mut bitmap = Bitmap::EMPTY;
        for run in runs {
            assert!(bitmap.set_range(run.clone()), "{run:?}");
        }
        bitmap
    }

    #[test]
    fn a_page_is_the_bit_it_is_said_to_be() {
        let bytes = of(&[0..1, 10..11, 1023..1024]).to_bytes();
        assert_eq!((bytes[0], bytes[1], bytes[127]), (1, 4, 0x80));
        assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 3);
    }

    #[test]
    fn the_smallest_run_that_suffices_is_taken_and_the_first_of_equals() {
        let bitmap = of(&[0..10, 60..70, 100..105, 200..205, 900..1024]);
        let table = [
            (1, Some(100..101)),
            (5, Some(100..105)),
            (6, Some(0..6)),
            (10, Some(0..10)),
            (11, Some(900..911)),
            (124, Some(900..1024)),
            (125, None),
            (u32::MAX, None),
        ];
        for (pages, expected) in table {
            assert_eq!(bitmap.best_fit(pages), expected, "{pages}");
        }
        assert_eq!(bitmap.longest_run(), Some(900..1024));
        assert_eq!(of(&[3..5, 7..9]).longest_run(), Some(3..5));
        assert_eq!(Bitmap::EMPTY.longest_run(), None);
        assert_eq!(Bitmap::FULL.longest_run(), Some(0..1024));
        assert!(Bitmap::FULL.is_full() && Bitmap::EMPTY.is_empty());
    }

    #[test]
    fn what_is_free_cannot_be_freed_nor_what_is_taken_be_taken() {
        let mut bitmap = Bitmap::EMPTY;
        assert!(bitmap.set_range(10..20));
        let before = bitmap;
        assert!(!bitmap.set_range(19..30));
        assert!(!bitmap.clear_range(19..21));
        assert!(!bitmap.set_range(1000..1025));
        assert!(!bitmap.clear_range(0..u32::MAX));
        assert_eq!(bitmap, before);
        assert!(bitmap.clear_range(10..20));
        assert!(bitmap.is_empty());
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn it_agrees_with_an_array_of_bools(
            ops in prop::collection::vec((any::<bool>(), 0u32..1100, 0u32..200), 0..60),
            pages in 1u32..200,
        ) {
            let mut bitmap = Bitmap::EMPTY;
            let mut model = [false; 1024];
            for (free, start, len) in ops {
                let range = start..start + len;
                let inside = range.end <= 1024;
                let allowed = inside && model[start as usize..range.end as usize].iter().all(|&bit| bit != free);
                let done = if free { bitmap.set_range(range.clone()) } else { bitmap.clear_range(range.clone()) };
                prop_assert_eq!(done, allowed);
                if allowed {
                    model[start as usize..range.end as usize].fill(free);
                }
            }
            let bits: Vec<bool> = (0..1024).map(|page| bitmap.contains(page)).collect();
            prop_assert_eq!(&bits[..], &model[..]);
            prop_assert_eq!(bitmap.available() as usize, model.iter().filter(|&&bit| bit).count());
            prop_assert_eq!(Bitmap::from_bytes(&bitmap.to_bytes()), bitmap);
            let mut rebuilt = [false; 1024];
            for run in bitmap.runs() {
                rebuilt[run.start as usize..run.end as usize].fill(true);
            }
            prop_assert_eq!(rebuilt, model);
            let (first, last) = (bitmap.runs().next(), bitmap.runs().last());
            prop_assert_eq!(bitmap.span(), first.map_or(0, |run| run.start)..last.map_or(0, |run| run.end));
            prop_assert_eq!(bitmap.longest_run(), bitmap.runs().min_by_key(|run| std::cmp::Reverse(run.len())));
            if let Some(found) = bitmap.best_fit(pages) {
                prop_assert!(bitmap.clear_range(found));
            } else {
                prop_assert!(bitmap.longest_run().is_none_or(|run| (run.len() as u32) < pages));
            }
        }
    }
}
