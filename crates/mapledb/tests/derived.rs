//! Derived keys and values obey the laws of all others, and files record what they are.

mod files;
#[macro_use]
mod laws;

use std::cmp::Ordering;

use files::{TestFile, check, options};
use laws::*;
use mapledb::{Codec, Error, Le, MapleKey, MapleValue, Part, Table};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, MapleKey, MapleValue)]
struct Visit {
    person: String,
    year: i32,
    tags: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, MapleKey, MapleValue)]
enum Shape {
    Nothing,
    Named(String),
    Box { wide: i8, high: Option<i8> },
    Empty {},
    Many(Visit, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, MapleKey, MapleValue)]
enum Level {
    Low,
    Middle,
    High,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, MapleKey, MapleValue)]
struct Pair<A, B>(A, B);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, MapleKey, MapleValue)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, MapleKey, MapleValue)]
#[maple(name = "grid/2")]
struct Grid<const N: usize> {
    rows: [u16; N],
}

#[derive(Clone, Copy, Debug, PartialEq, MapleValue)]
struct Foreign {
    number: Le<u32>,
    ratio: f64,
}

mod elsewhere {
    use mapledb::MapleValue;

    /// The same name and structure in another module.
    #[derive(MapleValue)]
    pub struct Visit {
        pub person: String,
        pub year: i32,
        pub tags: Vec<u8>,
    }

    pub mod renamed {
        use mapledb::MapleValue;

        /// The same types under other names.
        #[derive(MapleValue)]
        pub struct Visit {
            pub guest: String,
            pub year: i32,
            pub tags: Vec<u8>,
        }

        /// Grows at its end, under one name.
        #[derive(MapleValue)]
        #[maple(name = "colour")]
        pub enum Two {
            Red,
            Blue(u8),
        }

        #[derive(Debug, PartialEq, MapleValue)]
        #[maple(name = "colour")]
        pub enum Three {
            Red,
            Blue(u8),
            Green { shade: u16 },
        }
    }

    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable, MapleValue)]
    #[repr(C)]
    #[maple(in_place)]
    pub struct Point {
        pub x: core::primitive::f32,
        pub y: f32,
    }
}

/// As the other point, of other fields.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable, MapleValue)]
#[repr(C)]
#[maple(in_place)]
struct Point {
    x: u32,
    y: u32,
}

fn text() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('\0'), Just('a'), any::<char>()], 0..4)
        .prop_map(|letters| letters.into_iter().collect())
}

fn visit() -> impl Strategy<Value = Visit> {
    (text(), -2..3i32, vec(0..2u8, 0..3)).prop_map(|(person, year, tags)| Visit { person, year, tags })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Nothing),
        text().prop_map(Shape::Named),
        (any::<i8>(), proptest::option::of(-1..2i8)).prop_map(|(wide, high)| Shape::Box { wide, high }),
        Just(Shape::Empty {}),
        (visit(), any::<bool>()).prop_map(|(visit, is_so)| Shape::Many(visit, is_so)),
    ]
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::Low), Just(Level::Middle), Just(Level::High)]
}

laws! {
    structs: Visit, visit(), Ord::cmp;
    enums: Shape, shape(), Ord::cmp;
    plain_enums: Level, level(), Ord::cmp;
    lists_of_plain_enums: Vec<Level>, vec(level(), 0..4), Ord::cmp;
    units: Unit, Just(Unit), Ord::cmp;
    generics: Pair<Shape, Pair<Level, Visit>>,
        (shape(), level(), visit()).prop_map(|(a, b, c)| Pair(a, Pair(b, c))), Ord::cmp;
    arrays_within: Grid<3>, any::<[u16; 3]>().prop_map(|rows| Grid { rows }), Ord::cmp;
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn values_that_are_no_keys_read_back(number: u32, ratio in any::<u64>().prop_map(f64::from_bits), junk: Vec<u8>) {
        reads_back(&Foreign { number: Le(number), ratio });
        reads_back(&vec![Foreign { number: Le(number), ratio }; 2]);
        decodes_or_refuses::<Foreign>(&junk);
        decodes_or_refuses::<Option<Foreign>>(&junk);
    }
}

/// Names and bytes that files hold: neither may ever change.
#[test]
fn names_and_bytes_are_these() {
    fn is<T: Part>(value: T, name: &str, hex: &[u8]) {
        assert_eq!((&*T::type_name(), &bytes(&value)[..]), (name, hex));
    }
    let shapes = "Shape[Nothing,Named(str),Box{wide:i8,high:option<i8>},Empty{},\
        Many(Visit{person:str,year:i32,tags:bytes},bool)]";
    let visit = Visit { person: "a".into(), year: -1, tags: vec![7] };
    is(visit.clone(), "Visit{person:str,year:i32,tags:bytes}", b"a\0\0\x7f\xff\xff\xff\x07");
    is(Shape::Nothing, shapes, &[0]);
    is(Shape::Named("a".into()), shapes, b"\x01a");
    is(Shape::Box { wide: 0, high: None }, shapes, &[2, 0x80, 0]);
    is(Shape::Many(visit, true), shapes, b"\x04a\0\0\x7f\xff\xff\xff\x07\0\0\x01");
    is(Level::High, "Level[Low,Middle,High]", &[2]);
    is(vec![Level::High, Level::Low], "[Level[Low,Middle,High]]", &[2, 0]);
    is(Pair(1u8, Unit), "Pair(u8,Unit)", &[1]);
    is(Grid { rows: [1] }, "grid/2", &[0, 1]);
    is(
        Foreign { number: Le(1), ratio: 0.0 },
        "Foreign{number:u32le,ratio:f64}",
        &[1, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(<elsewhere::Point>::type_name(), "pod:Point{x:f32,y:f32}/8/4");
    assert_eq!((Level::LEN, Pair::<u8, Level>::LEN, Visit::LEN), (Some(1), Some(2), None));
}

#[test]
fn a_type_may_move_and_its_structure_may_not_change() {
    assert_eq!(Visit::type_name(), elsewhere::Visit::type_name());
    refuses_and_names_both::<Visit, elsewhere::renamed::Visit>();
    refuses_and_names_both::<Visit, (String, i32, Vec<u8>)>();
    refuses_and_names_both::<Pair<u8, u16>, Pair<u16, u8>>();
    refuses_and_names_both::<Level, u8>();
    refuses_and_names_both::<Grid<1>, [u16; 1]>();
    refuses_and_names_both::<Point, elsewhere::Point>();
    refuses_and_names_both::<Option<Level>, Option<Shape>>();
}

#[test]
fn an_enum_with_a_name_of_its_own_may_grow() {
    use elsewhere::renamed::{Three, Two};
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut colours = txn.open_table(&Table::<u8, Two>::new("t")).expect("table");
    colours.put(&0, &Two::Red).expect("put");
    colours.put(&1, &Two::Blue(3)).expect("put");
    let mut colours = txn.open_table(&Table::<u8, Three>::new("t")).expect("the same name");
    colours.put(&2, &Three::Green { shade: 7 }).expect("put");
    let all: Vec<_> = colours.iter().expect("iter").map(|entry| entry.expect("a colour").1).collect();
    assert_eq!(all, [Three::Red, Three::Blue(3), Three::Green { shade: 7 }]);
    let old = txn.table(&Table::<u8, Two>::new("t")).expect("table");
    let refused = old.get(&2).map(|_| ()).expect_err("it is none of these");
    assert!(matches!(refused, Error::Decode { .. }), "{refused:?}");
    assert!(refused.to_string().contains("colour"), "{refused}");
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn a_derived_record_is_read_where_it_lies() {
    let file = TestFile::new();
    let env = file.open(options());
    let table = Table::<Visit, Point>::new("t");
    let mut txn = env.write().expect("write");
    for year in 0..500 {
        let key = Visit { person: "ada".into(), year, tags: vec![1; year as usize % 17] };
        txn.open_table(&table).expect("table").put(&key, &Point { x: year as u32, y: 1 }).expect("put");
    }
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    for (entry, year) in txn.table(&table).expect("table").iter().expect("iter").zip(0..500) {
        let (key, point): (Visit, &Point) = entry.expect("aligned");
        assert_eq!((key.year, *point), (year, Point { x: year as u32, y: 1 }));
    }
    assert_eq!(bytes(&Point { x: 1, y: 2 }), [1, 0, 0, 0, 2, 0, 0, 0]);
    assert!(matches!(Point::decode(&[0; 7]), Err(Error::Decode { .. })));
    drop(txn);
    check(&env);
}
