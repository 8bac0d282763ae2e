//! What is put and looked up: random keys, values that a key names, and the orders they are used in. All of
//! it follows from a seed, and all of it is made before a clock starts.

/// Bytes of a key.
pub const KEY_BYTES: usize = 24;

/// A key.
pub type Key = [u8; KEY_BYTES];

/// Bytes that values are cut from: more than a value is long, and little enough to stay in the caches, so
/// that making a value costs nothing beside putting it.
const POOL_BYTES: usize = 16 << 10;

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

/// The keys of a run in the orders it needs them, and the values they get.
pub struct Workload {
    /// All keys in the order of random insertion.
    pub inserted: Vec<Key>,
    /// All keys in ascending order.
    pub sorted: Vec<Key>,
    /// All keys in the order of lookups.
    pub looked_up: Vec<Key>,
    /// Keys that are nowhere put.
    pub missing: Vec<Key>,
    value_bytes: usize,
    pool: Vec<u8>,
}

impl Workload {
    /// `entries` random keys, and values of `value_bytes`.
    pub fn new(entries: usize, value_bytes: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut key = || {
            let mut key = [0; KEY_BYTES];
            random.fill(&mut key);
            key
        };
        let inserted: Vec<Key> = (0..entries).map(|_| key()).collect();
        let missing: Vec<Key> = (0..entries).map(|_| key()).collect();
        let mut sorted = inserted.clone();
        sorted.sort_unstable();
        let mut looked_up = inserted.clone();
        random.shuffle(&mut looked_up);
        let mut pool = vec![0; POOL_BYTES + value_bytes];
        random.fill(&mut pool);
        Self { inserted, sorted, looked_up, missing, value_bytes, pool }
    }

    /// The number of entries.
    pub fn entries(&self) -> usize {
        self.inserted.len()
    }

    /// The value that `key` has after it was put for the `version`th time.
    #[inline]
    pub fn value(&self, key: &Key, version: usize) -> &[u8] {
        let start = (usize::from(key[0]) << 8 | usize::from(key[1])).wrapping_add(version * 97) % POOL_BYTES;
        &self.pool[start..start + self.value_bytes]
    }

    /// `keys` with their values of `version`.
    pub fn entries_of<'a>(
        &'a self,
        keys: &'a [Key],
        version: usize,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        keys.iter().map(move |key| (key.as_slice(), self.value(key, version)))
    }

    /// The `length` keys of `keys` that round `round` uses, all of them in turn over the rounds.
    pub fn window(keys: &[Key], length: usize, round: usize) -> &[Key] {
        let length = length.min(keys.len());
        let windows = (keys.len() / length).max(1);
        let start = round % windows * length;
        &keys[start..start + length]
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
    fn every_order_holds_the_same_keys_and_none_that_is_missing() {
        let workload = Workload::new(1000, 150, 1);
        let mut looked_up = workload.looked_up.clone();
        looked_up.sort_unstable();
        assert_eq!(looked_up, workload.sorted);
        assert!(workload.missing.iter().all(|key| workload.sorted.binary_search(key).is_err()));
    }

    #[test]
    fn windows_go_round_all_keys() {
        let keys: Vec<Key> = (0..10u8).map(|n| [n; KEY_BYTES]).collect();
        let firsts: Vec<u8> = (0..4).map(|round| Workload::window(&keys, 3, round)[0][0]).collect();
        assert_eq!(firsts, [0, 3, 6, 0]);
        assert_eq!(Workload::window(&keys, 100, 7).len(), 10);
    }
}
