//! The laws of types: their bytes sort as their values do wherever they stand, each value reads back, no two byte strings
//! are one value, and whatever the bytes are, they are a value or an error.

mod files;
#[macro_use]
mod laws;

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use files::{TestFile, check, options};
use laws::*;
use mapledb::{Codec, Error, Key, Le, Part, Pod, PodVec, Table};
use proptest::collection::vec;
use proptest::prelude::*;

/// Text in which everything that could confuse an order is frequent.
fn text() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('ÿ'), any::<char>()], 0..5)
        .prop_map(|letters| letters.into_iter().collect())
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0u8), Just(1), Just(254), Just(255), any::<u8>()], 0..5)
}

/// Any bits, and those around which a float's order turns.
fn float() -> impl Strategy<Value = f64> {
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
    ];
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        proptest::sample::select(odd.to_vec()),
        any::<i8>().prop_map(f64::from)
    ]
}

fn short_float() -> impl Strategy<Value = f32> {
    prop_oneof![any::<u32>().prop_map(f32::from_bits), float().prop_map(|float| float as f32)]
}

fn time() -> impl Strategy<Value = Duration> {
    (prop_oneof![0..3u64, any::<u64>()], 0..1_000_000_000u32)
        .prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

laws! {
    unsigned_8: u8, any::<u8>(), Ord::cmp;
    unsigned_16: u16, any::<u16>(), Ord::cmp;
    unsigned_32: u32, any::<u32>(), Ord::cmp;
    unsigned_64: u64, any::<u64>(), Ord::cmp;
    unsigned_128: u128, any::<u128>(), Ord::cmp;
    signed_8: i8, any::<i8>(), Ord::cmp;
    signed_16: i16, any::<i16>(), Ord::cmp;
    signed_32: i32, any::<i32>(), Ord::cmp;
    signed_64: i64, any::<i64>(), Ord::cmp;
    signed_128: i128, any::<i128>(), Ord::cmp;
    floats_64: f64, float(), f64::total_cmp;
    floats_32: f32, short_float(), f32::total_cmp;
    booleans: bool, any::<bool>(), Ord::cmp;
    letters: char, any::<char>(), Ord::cmp;
    nothing: (), Just(()), Ord::cmp;
    texts: String, text(), Ord::cmp;
    blobs: Vec<u8>, blob(), Ord::cmp;
    optional_texts: Option<String>, proptest::option::of(text()), Ord::cmp;
    options_of_options: Option<Option<u8>>, proptest::option::of(proptest::option::of(0..3u8)), Ord::cmp;
    byte_arrays: [u8; 4], any::<[u8; 4]>(), Ord::cmp;
    empty_arrays: [String; 0], Just([]), Ord::cmp;
    text_arrays: [String; 2], (text(), text()).prop_map(|(a, b)| [a, b]), Ord::cmp;
    lists_of_numbers: Vec<i16>, vec(-2..3i16, 0..4), Ord::cmp;
    lists_of_texts: Vec<String>, vec(text(), 0..3), Ord::cmp;
    lists_of_blobs: Vec<Vec<u8>>, vec(blob(), 0..3), Ord::cmp;
    lists_of_nothing: Vec<()>, vec(Just(()), 0..3), Ord::cmp;
    lists_of_options: Vec<Option<u8>>, vec(proptest::option::of(0..2u8), 0..4), Ord::cmp;
    ones: (String,), (text(),), Ord::cmp;
    pairs: (String, i32), (text(), -2..3i32), Ord::cmp;
    nested: ((Vec<u8>, bool), Vec<i8>, Option<String>),
        ((blob(), any::<bool>()), vec(-1..2i8, 0..3), proptest::option::of(text())), Ord::cmp;
    addresses: IpAddr, any::<IpAddr>(), Ord::cmp;
    addresses_4: Ipv4Addr, any::<Ipv4Addr>(), Ord::cmp;
    addresses_6: Ipv6Addr, any::<Ipv6Addr>(), Ord::cmp;
    durations: Duration, time(), Ord::cmp;
}

type Twelve = (u8, bool, String, i8, Vec<u8>, u16, Option<u8>, String, i64, [u8; 2], char, String);

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn tuples_of_twelve(
        a in (0..2u8, any::<bool>(), text(), 0..2i8, blob(), 0..2u16),
        b in (proptest::option::of(0..2u8), text(), -1..1i64, any::<[u8; 2]>(), any::<char>(), text()),
        c in (proptest::option::of(0..2u8), text(), -1..1i64, any::<[u8; 2]>(), any::<char>(), text()),
        junk: Vec<u8>,
    ) {
        let join = |b: (Option<u8>, String, i64, [u8; 2], char, String)| -> Twelve {
            let a = a.clone();
            (a.0, a.1, a.2, a.3, a.4, a.5, b.0, b.1, b.2, b.3, b.4, b.5)
        };
        let (b, c) = (join(b), join(c));
        reads_back(&b);
        prop_assert_eq!(bytes(&b).cmp(&bytes(&c)), b.cmp(&c));
        decodes_or_refuses::<Twelve>(&junk);
    }

    #[test]
    fn little_endian_numbers_read_back(a: u64, b: i32, c in float(), junk: Vec<u8>) {
        reads_back(&Le(a));
        reads_back(&(Le(b), Le(c)));
        prop_assert_eq!(bytes(&Le(a)), a.to_le_bytes());
        decodes_or_refuses::<Le<u16>>(&junk);
    }

    #[test]
    fn borrowed_types_and_owned_ones_have_the_same_bytes(text in text(), blob in blob(), junk: Vec<u8>) {
        prop_assert_eq!(bytes(&text), bytes(&text[..]));
        prop_assert_eq!(bytes(&blob), bytes(&blob[..]));
        prop_assert_eq!(str::decode(&junk).is_ok(), String::decode(&junk).is_ok());
    }

    #[test]
    fn records_in_place_are_bytes_as_they_are(a: [u32; 3], list: Vec<u64>, junk in vec(any::<u64>(), 0..6), cut in 0..8usize) {
        prop_assert_eq!(bytes(&Pod(a)), bytemuck::bytes_of(&a));
        prop_assert_eq!(bytes(&PodVec(list.clone())), bytemuck::cast_slice::<u64, u8>(&list));
        let junk: &[u8] = bytemuck::cast_slice(&junk);
        let junk = &junk[..junk.len().saturating_sub(cut)];
        prop_assert_eq!(<Pod<[u32; 3]>>::decode(junk).is_ok(), junk.len() == 12);
        prop_assert_eq!(<PodVec<u64>>::decode(junk).is_ok(), junk.len().is_multiple_of(8));
    }
}

/// Names and bytes that files hold: neither may ever change.
#[test]
fn names_and_bytes_are_these() {
    fn is<T: Part>(value: T, name: &str, hex: &[u8]) {
        assert_eq!((&*T::type_name(), &bytes(&value)[..]), (name, hex));
    }
    is(258u16, "u16", &[1, 2]);
    is(-1i32, "i32", &[0x7f, 0xff, 0xff, 0xff]);
    is(1.0f64, "f64", &[0xbf, 0xf0, 0, 0, 0, 0, 0, 0]);
    is(-1.0f32, "f32", &[0x40, 0x7f, 0xff, 0xff]);
    is(true, "bool", &[1]);
    is('ÿ', "char", &[0, 0, 0, 255]);
    is((), "()", &[]);
    is("a\0".to_string(), "str", b"a\0");
    is(vec![0u8, 1], "bytes", &[0, 1]);
    is([0u8, 1], "[u8;2]", &[0, 1]);
    is(Some("a".to_string()), "option<str>", b"\x01a");
    is(None::<u64>, "option<u64>", &[0]);
    is(vec![1u16, 2], "[u16]", &[0, 1, 0, 2]);
    is(vec!["a".to_string(), String::new()], "[str]", b"\x01a\0\0\x01\0\0");
    is(("a\0".to_string(), 1u8), "(str,u8)", b"a\0\xff\0\0\x01");
    is((vec![1u16], 7u8), "([u16],u8)", &[1, 0, 1, 0, 7]);
    is((vec![1u8], 7u8), "(bytes,u8)", &[1, 0, 0, 7]);
    is((false,), "(bool)", &[0]);
    is(Le(258u32), "u32le", &[2, 1, 0, 0]);
    is(Ipv4Addr::LOCALHOST, "ipv4", &[127, 0, 0, 1]);
    is(Ipv6Addr::LOCALHOST, "ipv6", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    is(IpAddr::V4(Ipv4Addr::LOCALHOST), "ip", &[4, 127, 0, 0, 1]);
    is(Duration::new(1, 2), "duration", &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(<Pod<[f32; 3]>>::type_name(), "pod:12/4");
    assert_eq!(<PodVec<f64>>::type_name(), "[pod:8/8]");
}

#[test]
fn a_table_of_another_type_is_refused_in_words_that_name_both() {
    refuses_and_names_both::<f32, f64>();
    refuses_and_names_both::<bool, u8>();
    refuses_and_names_both::<char, u32>();
    refuses_and_names_both::<Option<u8>, u8>();
    refuses_and_names_both::<[u8; 4], [u8; 5]>();
    refuses_and_names_both::<Vec<u16>, Vec<i16>>();
    refuses_and_names_both::<(u8, String), (u8, Vec<u8>)>();
    refuses_and_names_both::<((u8, u8), u8), (u8, u8, u8)>();
    refuses_and_names_both::<Le<u64>, u64>();
    refuses_and_names_both::<Pod<[u32; 2]>, Pod<u64>>();
    refuses_and_names_both::<PodVec<u32>, Pod<u32>>();
    refuses_and_names_both::<Duration, (u64, u32)>();
    refuses_and_names_both::<IpAddr, Ipv4Addr>();
}

#[test]
fn owned_and_borrowed_text_open_the_same_table() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let owned = Table::<String, Vec<u8>>::new("t");
    txn.open_table(&owned).expect("table").put(&"a".to_string(), &vec![1]).expect("put");
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    let borrowed = txn.table(&Table::<str, [u8]>::new("t")).expect("the same types");
    assert_eq!(borrowed.get("a").expect("get"), Some(&[1][..]));
    assert_eq!(txn.table(&owned).expect("table").get(&"a".to_string()).expect("get"), Some(vec![1]));
    drop(txn);
    check(&env);
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Page([u64; 16384]);

// SAFETY: an array of numbers, of which all may be zero.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Page {}

// SAFETY: an array of numbers, whose size is a multiple of its alignment: no padding, any bytes are one.
#[allow(unsafe_code)]
unsafe impl bytemuck::Pod for Page {}

#[test]
fn records_are_read_where_they_lie_whatever_lies_before_them() {
    let file = TestFile::new();
    let env = file.open(options());
    let (numbers, pages) = (Table::<str, Pod<u64>>::new("numbers"), Table::<str, Pod<Page>>::new("pages"));
    let lists = Table::<str, PodVec<u64>>::new("lists");
    let mut txn = env.write().expect("write");
    let mut page = Pod(Page([7; 16384]));
    for len in 0..200usize {
        let key = "k".repeat(len);
        txn.open_table(&numbers).expect("table").put(&key, &Pod(len as u64)).expect("put");
        txn.open_table(&lists).expect("table").put(&key, &PodVec(vec![len as u64; len * 7])).expect("put");
    }
    for len in 0..3u64 {
        page.0.0[16383] = len;
        txn.open_table(&pages).expect("table").put(&len.to_string(), &page).expect("put");
    }
    let own = txn.table(&numbers).expect("table").get("kkk").expect("get").copied();
    assert_eq!(own, Some(3), "what a transaction has written itself lies as well");
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    for (entry, len) in txn.table(&numbers).expect("table").iter().expect("iter").zip(0u64..) {
        assert_eq!(*entry.expect("aligned").1, len);
    }
    for (entry, len) in txn.table(&lists).expect("table").iter().expect("iter").zip(0usize..) {
        assert_eq!(entry.expect("aligned").1, vec![len as u64; len * 7]);
    }
    for (entry, len) in txn.table(&pages).expect("table").iter().expect("iter").zip(0u64..) {
        let page: &Page = entry.expect("aligned").1;
        assert_eq!((page as *const Page as usize % 64, page.0[16383]), (0, len));
    }
    drop(txn);
    check(&env);
}

#[test]
fn a_record_that_lies_badly_is_an_error_that_says_so() {
    let words = [0u64; 3];
    let refused = <Pod<u64>>::decode(&bytemuck::bytes_of(&words)[1..9]).expect_err("refused");
    assert!(matches!(refused, Error::Misaligned { align: 8, .. }), "{refused:?}");
    assert!(refused.to_string().contains("no multiple of 8"), "{refused}");
    let refused = <PodVec<u64>>::decode(&bytemuck::bytes_of(&words)[1..9]).expect_err("refused");
    assert!(matches!(refused, Error::Misaligned { align: 8, .. }), "{refused:?}");
}

/// A type with a value that has no bytes.
struct Even(u8);

impl Codec for Even {
    type Item<'a> = u8;

    fn type_name() -> String {
        "even".to_string()
    }

    fn with_bytes<R>(value: &Even, act: impl FnOnce(&[u8]) -> mapledb::Result<R>) -> mapledb::Result<R> {
        if value.0 % 2 == 1 {
            return Err(Error::Encode { name: Even::type_name(), cause: format!("{} is odd", value.0) });
        }
        act(&[value.0])
    }

    fn decode(bytes: &[u8]) -> mapledb::Result<u8> {
        u8::decode(bytes)
    }
}

impl Key for Even {}

#[test]
fn a_value_that_cannot_be_written_changes_nothing() {
    let file = TestFile::new();
    let env = file.open(options());
    let table = Table::<Even, Even>::new("even");
    let mut txn = env.write().expect("write");
    let mut even = txn.open_table(&table).expect("table");
    even.put(&Even(2), &Even(4)).expect("put");
    let refusals = [
        even.put(&Even(2), &Even(5)).expect_err("refused"),
        even.put(&Even(3), &Even(4)).expect_err("refused"),
        even.append(&Even(7), &Even(4)).expect_err("refused"),
        even.delete(&Even(3)).expect_err("refused"),
        even.delete_range(&Even(3)..).expect_err("refused"),
        even.compare_and_set(&Even(2), Some(&Even(5)), None).expect_err("refused"),
        even.multi_get(&[Even(3)]).expect_err("refused"),
    ];
    for refused in refusals {
        assert!(matches!(refused, Error::Encode { .. }), "{refused:?}");
        assert!(refused.to_string().ends_with("is odd"), "{refused}");
    }
    txn.commit().expect("it is as good as before");
    let txn = env.read().expect("read");
    assert_eq!(txn.table(&table).expect("table").first().expect("first"), Some((2, 4)));
    assert_eq!(txn.table(&table).expect("table").len(), 1);
    drop(txn);
    check(&env);
}

#[test]
fn lazy_values_are_decoded_when_asked_for_and_not_before() {
    let file = TestFile::new();
    let env = file.open(options());
    let table = Table::<u8, bool>::new("t");
    let mut txn = env.write().expect("write");
    txn.open_table(&table).expect("table").put(&1, &true).expect("put");
    txn.table(&Table::untyped("t")).expect("table").put(&[2], &[7]).expect("put");
    let own = txn.table(&table).expect("table");
    let first = own.reading().expect("reading").lazily().first().expect("first");
    assert_eq!(first.expect("an entry").1.bytes(), [1]);
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    let table = txn.table(&table).expect("table");
    assert!(table.iter().expect("iter").any(|entry| entry.is_err()), "7 is no bool");
    let keys: Vec<_> = table.keys().expect("keys").rev().map(|key| key.expect("a key")).collect();
    assert_eq!(keys, [2, 1], "keys do not need their values");
    let good = table.lazily().get(&1).expect("get").expect("it is there");
    let bad = table.lazily().get(&2).expect("get").expect("it is there");
    assert_eq!((good.get().expect("a bool"), good.bytes(), bad.bytes()), (true, &[1][..], &[7][..]));
    assert!(matches!(bad.get(), Err(Error::Decode { .. })));
    drop(txn);
    check(&env);
}

#[test]
fn a_prefix_of_a_tuple_finds_all_that_have_its_parts_and_no_others() {
    let file = TestFile::new();
    let env = file.open(options());
    let table = Table::<(String, i8, Vec<u8>), ()>::new("t");
    let mut txn = env.write().expect("write");
    let mut all = Vec::new();
    for name in ["", "a", "a\0", "a\0b", "ab", "a\u{ff}"] {
        for number in [-1, 0, 1] {
            all.extend([vec![], vec![0], vec![255; 3]].map(|blob| (name.to_string(), number, blob)));
        }
    }
    for key in &all {
        txn.open_table(&table).expect("table").put(key, &()).expect("put");
    }
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    let table = txn.table(&table).expect("table");
    all.sort();
    for (name, number, _) in &all {
        let found: Vec<_> =
            table.prefix_parts(&(&name[..],)).expect("range").map(|entry| entry.expect("entry").0).collect();
        assert_eq!(found, all.iter().filter(|key| key.0 == *name).cloned().collect::<Vec<_>>());
        let found: Vec<_> = table
            .prefix_parts(&(&name[..], *number))
            .expect("range")
            .map(|entry| entry.expect("entry").0)
            .collect();
        let is_it = |key: &&(String, i8, Vec<u8>)| key.0 == *name && key.1 == *number;
        assert_eq!(found, all.iter().filter(is_it).cloned().collect::<Vec<_>>());
    }
    drop(txn);
    check(&env);
}
