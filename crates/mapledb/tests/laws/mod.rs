//! What holds for every type of keys and values.
#![allow(dead_code, unused_macros)]

use std::cmp::Ordering;
use std::fmt::Debug;

use mapledb::{Codec, Error, Key, KeyPart, Part, Place, Table};
use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

use crate::files::{TestFile, check, options};

/// Cases from a fixed seed, so that a run can be told from another only by its code. `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` ask for others.
pub fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x4d61_706c_6544_420a);
    }
    config
}

pub fn bytes<T: Codec + ?Sized>(value: &T) -> Vec<u8> {
    T::with_bytes(value, |bytes| Ok(bytes.to_vec())).expect("it has bytes")
}

fn read<T: Part>(bytes: &[u8]) -> T {
    T::decode(bytes).expect("it reads back")
}

/// A value reads back from its bytes alone and before others, and has the length its type says.
pub fn reads_back<T: Part>(value: &T) {
    let alone = bytes(value);
    assert_eq!(bytes(&read::<T>(&alone)), alone);
    let mut inner = Vec::new();
    value.append(&mut inner, Place::Inner);
    let inner_len = inner.len();
    inner.extend_from_slice(b"\0\xffrest");
    let mut rest = &inner[..];
    let again = T::take(&mut rest, Place::Inner).expect("it reads back");
    assert_eq!(rest, b"\0\xffrest");
    assert_eq!(bytes(&again), alone);
    if let Some(len) = T::LEN {
        assert_eq!((alone.len(), inner_len), (len, len));
    }
}

/// Two keys sort by their bytes as by `order`: alone, and before a part that says the opposite.
pub fn sorts<T: KeyPart + Key + Clone + Debug>(a: &T, b: &T, order: fn(&T, &T) -> Ordering) {
    let by_value = order(a, b);
    assert_eq!(bytes(a).cmp(&bytes(b)), by_value, "{a:?} and {b:?}");
    let (low, high) = if by_value == Ordering::Less { (255u8, 0u8) } else { (0, 255) };
    let by_second = by_value.then(low.cmp(&high));
    assert_eq!(bytes(&(a.clone(), low)).cmp(&bytes(&(b.clone(), high))), by_second, "{a:?} and {b:?}");
    let (a, b) = (vec![a.clone(), b.clone()], vec![a.clone()]);
    assert_eq!(bytes(&a).cmp(&bytes(&b)), Ordering::Greater, "a list is greater than its beginning: {a:?}");
}

/// Bytes are an error, or a value whose only bytes they are.
pub fn decodes_or_refuses<T: Part>(junk: &[u8]) {
    match T::decode(junk) {
        Ok(value) => assert_eq!(bytes(&value), junk, "two byte strings are one {}", T::type_name()),
        Err(error) => assert!(matches!(error, Error::Decode { len, .. } if len == junk.len()), "{error:?}"),
    }
}

/// Bytes that are nearly those of a value.
pub fn spoiled(mut bytes: Vec<u8>, at: usize, how: u8, byte: u8) -> Vec<u8> {
    let at = at % (bytes.len() + 1);
    match how % 3 {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, byte),
        _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
    }
    bytes
}

macro_rules! laws {
    ($($name:ident: $type:ty, $values:expr, $order:expr;)*) => {$(
        proptest! {
            #![proptest_config(cases())]

            #[test]
            fn $name(
                a in $values, b in $values, at: usize, how: u8, byte in prop_oneof![0..3u8, 254..=255u8, any::<u8>()],
                junk in vec(prop_oneof![0..3u8, any::<u8>()], 0..24),
            ) {
                let order: fn(&$type, &$type) -> Ordering = $order;
                reads_back::<$type>(&a);
                sorts::<$type>(&a, &b, order);
                sorts::<$type>(&a, &a, order);
                decodes_or_refuses::<$type>(&junk);
                decodes_or_refuses::<$type>(&spoiled(bytes(&a), at, how, byte));
                decodes_or_refuses::<($type, u8)>(&spoiled(bytes(&(a.clone(), 7u8)), at, how, byte));
                decodes_or_refuses::<Vec<$type>>(&spoiled(bytes(&vec![a, b]), at, how, byte));
            }
        }
    )*};
}

/// Opens a table made as `A` as one of `B` and sees both named.
pub fn refuses_and_names_both<A: Codec + ?Sized, B: Codec + ?Sized>() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.open_table(&Table::<u8, A>::new("t")).expect("table");
    let other = Table::<u8, B>::new("t");
    let refused = txn.open_table(&other).map(|_| ()).expect_err("refused");
    assert!(matches!(refused, Error::TableTypes { .. }), "{refused:?}");
    txn.commit().expect("commit");
    let refused = env.read().expect("read").table(&other).map(|_| ()).expect_err("refused").to_string();
    for name in [A::type_name(), B::type_name()] {
        assert!(refused.contains(&name), "{refused:?} does not name {name}");
    }
    check(&env);
}
