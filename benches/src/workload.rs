//! What is put and looked up: keys that are a function of one 64-bit word each, and values that name their key. All of
//! it follows from a seed, and all of it is made before a clock starts.

use crate::Result;

/// Bytes of a key, unless a row says otherwise.
pub const KEY_BYTES: usize = 24;

/// Bytes of a value, unless a row says otherwise.
pub const VALUE_BYTES: usize = 150;

/// Bytes that values are filled from: random, so that no engine's compression makes less of them.
const POOL_BYTES: usize = 16 << 10;

/// What sets the tags of a value's versions apart.
const VERSION_STEP: u64 = 0xd6e8_feb8_6659_fd93;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same sequence on every machine and for ever.
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by the high half of a product; its bias is below 2^-32 for bounds that fit
    /// 32 bits.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Brings `items` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Keys, one after the other.
#[derive(Clone, Debug)]
pub struct Keys {
    bytes: Vec<u8>,
    width: usize,
}

impl Keys {
    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All of them.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.width)
    }
}

/// Keys and values, one after the other.
#[derive(Clone, Debug)]
pub struct Entries {
    /// The keys.
    pub keys: Keys,
    values: Vec<u8>,
    value_bytes: usize,
}

impl Entries {
    /// How many.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All of them.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.iter().zip(self.values.chunks_exact(self.value_bytes))
    }

    /// Bytes of a value.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// At most `batch` of them at a time.
    pub fn batches(&self, batch: usize) -> impl Iterator<Item = impl Iterator<Item = (&[u8], &[u8])>> {
        let keys = self.keys.bytes.chunks(batch * self.keys.width);
        let values = self.values.chunks(batch * self.value_bytes);
        keys.zip(values).map(|(keys, values)| {
            keys.chunks_exact(self.keys.width).zip(values.chunks_exact(self.value_bytes))
        })
    }
}

/// A set of `entries` random keys and their values.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How many entries the database holds.
    pub entries: usize,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value: at least 16.
    pub value_bytes: usize,
    seed: u64,
    pool: Vec<u8>,
}

impl Workload {
    /// `entries` keys of `key_bytes` and their values of `value_bytes`.
    pub fn new(entries: usize, key_bytes: usize, value_bytes: usize, seed: u64) -> Self {
        assert!(key_bytes >= 8, "a key holds its word: {key_bytes} bytes");
        assert!(value_bytes >= 16, "a value holds its tag and version: {value_bytes} bytes");
        let mut pool = vec![0; POOL_BYTES];
        SplitMix64::new(seed).fill(&mut pool);
        Self { entries, key_bytes, value_bytes, seed, pool }
    }

    /// What the entries hold: keys and values.
    pub fn live_bytes(&self) -> u64 {
        (self.entries * (self.key_bytes + self.value_bytes)) as u64
    }

    /// The word of key `at`. A bijection: no two keys are the same, and none from `entries` on is in the database.
    pub fn word(&self, at: usize) -> u64 {
        SplitMix64::new(self.seed.wrapping_add((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))).next_u64()
    }

    /// The words of the keys at `places`, in that order.
    pub fn words(&self, places: impl Iterator<Item = usize>) -> Vec<u64> {
        places.map(|at| self.word(at)).collect()
    }

    /// The words of all keys in the order of the keys.
    pub fn sorted_words(&self) -> Vec<u64> {
        let mut words = self.words(0..self.entries);
        words.sort_unstable();
        words
    }

    /// The keys of `words`: the word, big-endian, and bytes that follow from it.
    pub fn keys(&self, words: &[u64]) -> Keys {
        let mut bytes = vec![0; words.len() * self.key_bytes];
        for (word, key) in words.iter().zip(bytes.chunks_exact_mut(self.key_bytes)) {
            let (head, rest) = key.split_at_mut(8);
            head.copy_from_slice(&word.to_be_bytes());
            SplitMix64::new(*word).fill(rest);
        }
        Keys { bytes, width: self.key_bytes }
    }

    /// The keys of `words` with values of the `version`th time that they are put. No two are alike, of one key neither: an engine
    /// that is given what it has already may do nothing, and would be measured at that.
    pub fn entries(&self, words: &[u64], version: u64) -> Entries {
        let mut values = vec![0; words.len() * self.value_bytes];
        for (place, (word, value)) in words.iter().zip(values.chunks_exact_mut(self.value_bytes)).enumerate()
        {
            let version = version << 32 | place as u64;
            let (tag, rest) = value.split_at_mut(8);
            let (number, rest) = rest.split_at_mut(8);
            tag.copy_from_slice(&(word ^ version.wrapping_mul(VERSION_STEP)).to_le_bytes());
            number.copy_from_slice(&version.to_le_bytes());
            let start = (word.wrapping_add(version.wrapping_mul(97)) % (POOL_BYTES as u64 / 2)) as usize;
            for chunk in rest.chunks_mut(POOL_BYTES / 2) {
                chunk.copy_from_slice(&self.pool[start..start + chunk.len()]);
            }
        }
        Entries { keys: self.keys(words), values, value_bytes: self.value_bytes }
    }

    /// `count` random keys of the database.
    pub fn uniform(&self, count: usize, random: &mut SplitMix64) -> Vec<u64> {
        self.words((0..count).map(|_| random.below(self.entries)))
    }

    /// `count` keys of the database of which a few are drawn often.
    pub fn skewed(&self, count: usize, zipf: &Zipf, random: &mut SplitMix64) -> Vec<u64> {
        self.words((0..count).map(|_| zipf.draw(random)))
    }

    /// `count` keys that are nowhere put.
    pub fn missing(&self, count: usize, random: &mut SplitMix64) -> Vec<u64> {
        self.words((0..count).map(|_| self.entries + random.below(self.entries)))
    }
}

/// Whether `value` is one that `key` had at some time, whole. Reads two cache lines: the first and the last of it.
#[inline]
pub fn is_of(key: &[u8], value: &[u8], value_bytes: usize) -> bool {
    let (Some(word), Some(tag), Some(version)) = (key.first_chunk(), value.first_chunk(), value.get(8..16))
    else {
        return false;
    };
    let version = version.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    std::hint::black_box(value[value.len() - 1]);
    value.len() == value_bytes
        && u64::from_le_bytes(*tag) == u64::from_be_bytes(*word) ^ version.wrapping_mul(VERSION_STEP)
}

/// What a run does about wrong reads: nothing is worth a figure beside one.
pub fn refuse_wrong(wrong: usize, reads: usize) -> Result<()> {
    match wrong {
        0 => Ok(()),
        _ => Err(format!("{wrong} of {reads} reads gave no value, or not one that was put").into()),
    }
}

/// Zipf's distribution with exponent 0.99 over `0..items`, as YCSB draws it: the method of Gray and others, "Quickly
/// generating billion-record synthetic databases", SIGMOD 1994.
pub struct Zipf {
    items: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    const THETA: f64 = 0.99;

    /// Over `items` items. Sums up to a million terms and takes the rest by its integral.
    pub fn new(items: usize) -> Self {
        let summed = items.min(1_000_000);
        let head: f64 = (1..=summed).map(|n| (n as f64).powf(-Self::THETA)).sum();
        let integral = |n: f64| n.powf(1.0 - Self::THETA) / (1.0 - Self::THETA);
        let zeta = head + integral(items as f64) - integral(summed as f64);
        let two = 1.0 + 0.5f64.powf(Self::THETA);
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - Self::THETA)) / (1.0 - two / zeta);
        Self { items: items as f64, zeta, eta }
    }

    /// The next item.
    pub fn draw(&self, random: &mut SplitMix64) -> usize {
        let u = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let scaled = u * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(Self::THETA) {
            return 1;
        }
        let share = (self.eta * u - self.eta + 1.0).powf(1.0 / (1.0 - Self::THETA));
        ((self.items * share) as usize).min(self.items as usize - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = SplitMix64::new(1234567);
        let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423];
        assert_eq!(expected.map(|_| random.next_u64()), expected);
    }

    #[test]
    fn the_words_order_the_keys_and_none_is_twice_or_missing() {
        let workload = Workload::new(1000, 24, 150, 1);
        let words = workload.sorted_words();
        assert!(words.is_sorted_by(|a, b| a < b));
        let keys = workload.keys(&words);
        assert!(keys.iter().is_sorted());
        let missing = workload.missing(1000, &mut SplitMix64::new(2));
        assert!(missing.iter().all(|word| words.binary_search(word).is_err()));
    }

    #[test]
    fn a_value_is_told_from_that_of_another_key_and_from_a_piece() {
        let workload = Workload::new(2, 24, 150, 1);
        let entries = workload.entries(&workload.words(0..2), 7);
        let [(key, value), (_, other)] = entries.iter().collect::<Vec<_>>()[..] else {
            panic!("two entries")
        };
        assert!(is_of(key, value, 150));
        assert!(!is_of(key, other, 150));
        assert!(!is_of(key, &value[..149], 150));
        assert!(!is_of(key, &[], 150));
    }

    #[test]
    fn batches_hold_every_entry_once() {
        let workload = Workload::new(10, 8, 16, 1);
        let entries = workload.entries(&workload.sorted_words(), 0);
        let sizes: Vec<usize> = entries.batches(4).map(Iterator::count).collect();
        assert_eq!(sizes, [4, 4, 2]);
        assert!(entries.batches(4).flatten().eq(entries.iter()));
    }

    #[test]
    fn a_few_items_are_drawn_often() {
        let (zipf, mut random) = (Zipf::new(1_000_000), SplitMix64::new(1));
        let drawn: Vec<usize> = (0..10_000).map(|_| zipf.draw(&mut random)).collect();
        assert!(drawn.iter().all(|item| *item < 1_000_000));
        let top = drawn.iter().filter(|item| **item < 1000).count();
        assert!((4000..7000).contains(&top), "{top} of 10,000 among the first 1,000");
    }
}
