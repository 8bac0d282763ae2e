//! Types of other crates, behind features: times, identifiers, and whatever `serde` writes.

mod files;
#[macro_use]
mod laws;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use files::{TestFile, check, options};
use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};
use laws::*;
use mapledb::{Codec, Error, Part, Serde, Table};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Nanoseconds around zero, around the ends, and anywhere.
fn instant() -> impl Strategy<Value = Timestamp> {
    let (min, max) = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    let second = 1_000_000_000;
    prop_oneof![-2 * second..2 * second, min..min + second, max - second..=max, min..=max]
        .prop_map(|nanos| Timestamp::from_nanosecond(nanos).expect("in range"))
}

fn span() -> impl Strategy<Value = SignedDuration> {
    let seconds = prop_oneof![-2..3i64, i64::MIN..i64::MIN + 2, i64::MAX - 1..=i64::MAX, any::<i64>()];
    (seconds, 0..1_000_000_000i32)
        .prop_map(|(seconds, nanos)| SignedDuration::new(seconds, if seconds < 0 { -nanos } else { nanos }))
}

fn date() -> impl Strategy<Value = Date> {
    (prop_oneof![-9999..=9999i16, -1..2i16], 1..=12i8, 1..=28i8)
        .prop_map(|(year, month, day)| Date::new(year, month, day).expect("a day"))
}

fn time() -> impl Strategy<Value = Time> {
    (0..24i8, 0..60i8, 0..60i8, prop_oneof![0..2i32, 0..1_000_000_000])
        .prop_map(|(hour, minute, second, nanos)| Time::new(hour, minute, second, nanos).expect("a time"))
}

laws! {
    instants: Timestamp, instant(), Ord::cmp;
    spans: SignedDuration, span(), Ord::cmp;
    dates: Date, date(), Ord::cmp;
    times: Time, time(), Ord::cmp;
    dates_with_times: DateTime, (date(), time()).prop_map(|(date, time)| date.to_datetime(time)), Ord::cmp;
    identifiers: Uuid, any::<u128>().prop_map(Uuid::from_u128), Ord::cmp;
    identifiers_in_others: (Option<Uuid>, Timestamp),
        (proptest::option::of((0..3u128).prop_map(Uuid::from_u128)), instant()), Ord::cmp;
}

/// Names and bytes that files hold: neither may ever change.
#[test]
fn names_and_bytes_are_these() {
    fn is<T: Part>(value: T, name: &str, hex: &[u8]) {
        assert_eq!((&*T::type_name(), &bytes(&value)[..]), (name, hex));
    }
    let minus = Timestamp::from_nanosecond(-1).expect("in range");
    is(minus, "timestamp", &[0x7f, 255, 255, 255, 255, 255, 255, 255, 0x3b, 0x9a, 0xc9, 0xff]);
    is(SignedDuration::from_nanos(1), "signed-duration", &[128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    is(Date::constant(1815, 12, 10), "date", &[0x87, 0x17, 12, 10]);
    is(Time::constant(23, 59, 58, 7), "time", &[23, 59, 58, 0, 0, 0, 7]);
    is(Date::constant(0, 1, 1).at(1, 2, 3, 4), "datetime", &[128, 0, 1, 1, 1, 2, 3, 0, 0, 0, 4]);
    is(Uuid::from_u128(1), "uuid", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let old = Serde(Old { number: 7, text: Some("a".to_string()) });
    assert_eq!(bytes(&old), b"\x82\xa6number\x07\xa4text\xa1a");
    assert_eq!(<Serde<Old>>::type_name(), "msgpack:Record");
    assert_eq!(<Serde<Tree>>::type_name(), "msgpack:Tree");
    assert_eq!(<Serde<Choice>>::type_name(), "msgpack:Choice");
    assert_eq!(<Serde<BTreeMap<String, u8>>>::type_name(), "msgpack:map");
    assert_eq!(<Serde<Vec<u8>>>::type_name(), "msgpack:list");
    assert_eq!(<Serde<serde_json::Value>>::type_name(), "msgpack:any");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Record")]
struct Old {
    number: u64,
    text: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Record")]
struct New {
    #[serde(default)]
    tags: Vec<String>,
    text: Option<String>,
    number: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(i64),
    Some { left: String, right: Option<bool> },
}

fn old() -> impl Strategy<Value = Old> {
    (any::<u64>(), any::<Option<String>>()).prop_map(|(number, text)| Old { number, text })
}

fn choice() -> impl Strategy<Value = Choice> {
    let some = any::<(String, Option<bool>)>().prop_map(|(left, right)| Choice::Some { left, right });
    prop_oneof![Just(Choice::Nothing), any::<i64>().prop_map(Choice::One), some]
}

fn read_or_refused<T: Serialize + serde::de::DeserializeOwned>(junk: &[u8]) {
    if let Err(error) = <Serde<T>>::decode(junk) {
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_serde_writes_reads_back(
        old in old(), list in vec(choice(), 0..4), junk: Vec<u8>, at: usize, how: u8, byte: u8,
    ) {
        let coded = bytes(&Serde(old.clone()));
        prop_assert_eq!(&<Serde<Old>>::decode(&coded).expect("it reads back"), &old);
        let new = <Serde<New>>::decode(&coded).expect("a later type reads it");
        prop_assert_eq!(new, New { tags: Vec::new(), text: old.text, number: old.number });
        let coded_list = bytes(&Serde(list.clone()));
        prop_assert_eq!(<Serde<Vec<Choice>>>::decode(&coded_list).expect("it reads back"), list);
        for junk in [junk, spoiled(coded, at, how, byte), spoiled(coded_list, at, how, byte)] {
            read_or_refused::<Old>(&junk);
            read_or_refused::<Vec<Choice>>(&junk);
            read_or_refused::<Tree>(&junk);
            read_or_refused::<serde_json::Value>(&junk);
        }
    }
}

/// An enum that holds itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Next(Box<Chain>),
}

fn chain(links: usize) -> Chain {
    (0..links).fold(Chain::End, |chain, _| Chain::Next(Box::new(chain)))
}

#[test]
fn bytes_that_nest_without_end_are_an_error_and_no_overflow_of_the_stack() {
    for link in [&b"\x91"[..], b"\x81", b"\xc7", b"\x81\xa4Next", b"\x92\xa4Next"] {
        let deep = link.repeat(1 << 20);
        read_or_refused::<Tree>(&deep);
        read_or_refused::<Chain>(&deep);
        read_or_refused::<Vec<Choice>>(&deep);
        read_or_refused::<serde_json::Value>(&deep);
        let ended = [deep, b"\xa3End".to_vec()].concat();
        assert!(<Serde<Chain>>::decode(&ended).is_err());
    }
}

#[test]
fn a_value_that_nests_too_deep_to_be_read_is_not_written() {
    let fits = chain(128);
    assert_eq!(<Serde<Chain>>::decode(&bytes(&Serde(fits.clone()))).expect("it reads back"), fits);
    let refused = <Serde<Chain>>::with_bytes(&Serde(chain(129)), |_| Ok(())).expect_err("refused");
    assert!(matches!(refused, Error::Encode { .. }), "{refused:?}");
    assert!(refused.to_string().contains("nests more than 128"), "{refused}");
}

#[test]
fn every_kind_and_length_reads_back() {
    fn back<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
        let value = Serde(value);
        assert!(<Serde<T>>::decode(&bytes(&value)).is_ok_and(|again| again == value.0), "{value:?}");
    }
    for len in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        back("x".repeat(len));
        back(vec![7u64; len]);
        back((0..len as u32).map(|n| (n, n.to_string())).collect::<BTreeMap<_, _>>());
    }
    for shift in 0..64 {
        back((1u64 << shift, -1i64 << shift, 1.5f32, -0.1f64, true, 'ÿ', ()));
    }
    back((i128::MIN, u128::MAX, Some(1u8), None::<u8>));
}

#[test]
fn bytes_behind_a_value_are_refused() {
    let mut coded = bytes(&Serde(7u64));
    coded.push(0);
    assert!(matches!(<Serde<u64>>::decode(&coded), Err(Error::Decode { len: 2, .. })));
}

/// A value that `serde` refuses to write.
#[derive(Debug, Deserialize)]
struct Refusing;

impl Serialize for Refusing {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[test]
fn a_value_that_serde_refuses_to_write_changes_nothing() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut table = txn.open_table(&Table::<u8, Serde<Refusing>>::new("t")).expect("table");
    let refused = table.put(&1, &Serde(Refusing)).expect_err("refused");
    assert!(matches!(refused, Error::Encode { .. }), "{refused:?}");
    assert!(refused.to_string().contains("msgpack:Refusing: not today"), "{refused}");
    assert_eq!(table.len(), 0);
    txn.commit().expect("it is as good as before");
    check(&env);
}

#[test]
fn a_table_of_another_type_is_refused_in_words_that_name_both() {
    refuses_and_names_both::<Timestamp, SignedDuration>();
    refuses_and_names_both::<Date, DateTime>();
    refuses_and_names_both::<Time, u64>();
    refuses_and_names_both::<Uuid, u128>();
    refuses_and_names_both::<Serde<Old>, Serde<Choice>>();
    refuses_and_names_both::<Serde<String>, str>();
}

#[test]
fn a_table_of_a_type_that_has_grown_reads_on() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let value = Old { number: 1, text: None };
    let key = (Uuid::from_u128(7), Timestamp::UNIX_EPOCH);
    txn.open_table(&Table::<(Uuid, Timestamp), Serde<Old>>::new("t"))
        .expect("table")
        .put(&key, &Serde(value))
        .expect("put");
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    let table = txn.table(&Table::<(Uuid, Timestamp), Serde<New>>::new("t")).expect("the same name");
    assert_eq!(table.get(&key).expect("get").expect("it is there").number, 1);
    assert_eq!(table.prefix_parts(&(key.0,)).expect("range").remaining().expect("count"), 1);
    drop(txn);
    check(&env);
}
