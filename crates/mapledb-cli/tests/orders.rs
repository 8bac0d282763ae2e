//! Tables in every order, from the command line: made, listed, gone through, searched, dumped, loaded, copied and compared; and
//! those in an order that is a program's own, of which it can do less, and says so.
#![allow(clippy::unwrap_used)]

mod common;

use std::cmp::Ordering;

use common::Place;
use mapledb::{Env, KeyOrder, Multimap, NamedOrder, Table};

struct Shortest;

impl NamedOrder for Shortest {
    const NAME: &'static str = "shortest/1";

    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

#[test]
fn tables_in_orders_of_ours_are_worked_on_like_any_other() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("create a.maple -t hosts --keys str --values str --order reverse");
    for host in ["www.example.org", "example.com", "mail.example.org"] {
        place.ok(&format!("put a.maple -t hosts {host} x"));
    }
    place.ok("create a.maple -t counts --order integer");
    for key in ["hex:0001", "hex:0200", "hex:ff00"] {
        place.ok(&format!("put a.maple -t counts {key} x"));
    }
    let refused = place.fails(2, "create a.maple -t numbers --keys u64 --order integer");
    assert!(refused.contains("keys of type \"u64\" cannot be in integer order"), "{refused}");
    let refused = place.fails(2, "create a.maple -t numbers --multimap --values u32 --value-order integer");
    assert!(refused.contains("duplicates of type \"u32\" cannot be in integer order"), "{refused}");
    let keys = |scan: &str| {
        place.ok(scan).lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("scan a.maple -t hosts"), ["mail.example.org", "www.example.org", "example.com"]);
    assert_eq!(keys("scan a.maple -t counts"), ["hex:0200", "hex:ff00", "hex:0001"]);
    assert_eq!(keys("scan a.maple -t hosts --from www.example.org"), ["www.example.org", "example.com"]);
    assert_eq!(place.ok("get a.maple -t hosts example.com"), "x\n");
    assert_eq!(place.ok("rank a.maple -t hosts example.com"), "2 of 3 entries\n");
    let refused = place.fails(2, "scan a.maple -t hosts --prefix www");
    assert!(refused.contains("in the order \"reverse\" of this table: use --from and --until"), "{refused}");
    let refused = place.fails(3, "put a.maple -t counts hex:000000 x");
    assert!(refused.contains("cannot stand beside integers of 2 bytes"), "{refused}");
    let listed = place.ok("tables a.maple");
    assert!(
        listed.contains("reverse") && listed.contains("integer") && listed.contains("bytewise"),
        "{listed}"
    );
    place.check("a.maple");
    for format in ["jsonl", "bytevalue"] {
        place.ok(&format!("dump a.maple -q -f {format} -o a.{format}"));
        place.ok(&format!("load --create {format}.maple a.{format}"));
        place.check(&format!("{format}.maple"));
        assert_eq!(keys(&format!("scan {format}.maple -t counts")), ["hex:0200", "hex:ff00", "hex:0001"]);
    }
    assert_eq!(place.ok("diff a.maple jsonl.maple"), "");
    place.ok("copy a.maple exact.maple");
    place.ok("copy a.maple small.maple --compact");
    for copy in ["exact", "small"] {
        place.check(&format!("{copy}.maple"));
        assert_eq!(place.ok(&format!("diff a.maple {copy}.maple")), "");
    }
    // The same entries in another order differ in that alone.
    place.ok("create other.maple -t hosts --keys str --values str");
    for host in ["www.example.org", "example.com", "new.example.org"] {
        place.ok(&format!("put other.maple -t hosts {host} x"));
    }
    let told = place.maple("diff a.maple other.maple -t hosts");
    let told = String::from_utf8(told.stdout).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "@ hosts",
            "- keys str, values str, order reverse",
            "+ keys str, values str, order bytewise",
            "- mail.example.org\tx",
            "+ new.example.org\tx",
        ]
    );
}

#[test]
fn a_dump_is_not_loaded_into_a_table_of_another_order() {
    let place = Place::new();
    place.ok("create a.maple -t hosts --keys str --values str --order reverse");
    place.ok("put a.maple -t hosts example.com x");
    place.ok("dump a.maple -q -o a.jsonl -t hosts");
    place.ok("create b.maple -t hosts --keys str --values str");
    let refused = place.fails(3, "load b.maple a.jsonl");
    assert!(
        refused.contains("the dump is in the order \"reverse\", and the table in the order \"bytewise\""),
        "{refused}"
    );
    place.ok("dump a.maple -q --format csv -t hosts -o a.csv");
    let refused = place.fails(3, "load b.maple a.csv --format csv -t hosts --order reverse");
    assert!(refused.contains("in the order \"bytewise\", and --order asks for \"reverse\""), "{refused}");
    assert_eq!(place.ok("stat b.maple -t hosts --json").matches("\"entries\":0").count(), 1);
    place.check("b.maple");
}

#[test]
#[allow(unsafe_code)]
fn of_a_table_in_a_programs_own_order_what_needs_no_order_works() {
    let place = Place::new();
    // SAFETY: nothing but MapleDB writes to the test's own file.
    let env = unsafe { Env::options().create(place.path("a.maple")) }.unwrap();
    let mut txn = env.write().unwrap();
    let words = Table::<str, str>::new("words").in_order(KeyOrder::named::<Shortest>());
    let mut table = txn.open_table(&words).unwrap();
    for word in ["oak", "maple", "elm", "birch", "yew"] {
        table.put(word, "tree").unwrap();
    }
    txn.commit().unwrap();
    env.close().unwrap();
    let listed = place.ok("tables a.maple");
    assert!(listed.contains("shortest/1"), "{listed}");
    let checked = place.ok("check a.maple");
    assert!(checked.starts_with("table \"words\": all but the order of its keys"), "{checked}");
    assert!(checked.contains("clean: "), "{checked}");
    place.ok("stat a.maple -t words");
    let scanned = "elm\ttree\noak\ttree\nyew\ttree\nbirch\ttree\nmaple\ttree\n";
    assert_eq!(place.ok("scan a.maple -t words"), scanned);
    place.ok("copy a.maple b.maple --compact");
    assert!(place.ok("check b.maple").contains("clean: "));
    assert_eq!(place.ok("scan b.maple -t words"), scanned);
    let dumped = place.ok("dump a.maple -q -t words");
    assert!(dumped.contains("\"order\":\"shortest/1\""), "{dumped}");
    for verb in [
        "get a.maple -t words oak",
        "put a.maple -t words fir tree",
        "del a.maple -t words oak",
        "rank a.maple -t words oak",
    ] {
        let refused = place.fails(4, verb);
        assert!(refused.contains("an order that this program does not have"), "{verb}: {refused}");
    }
    for verb in ["diff a.maple b.maple", "load --create c.maple a.jsonl"] {
        place.ok("dump a.maple -q -t words -o a.jsonl --force");
        let refused = place.fails(4, verb);
        assert!(refused.contains("\"shortest/1\" is a program's own"), "{verb}: {refused}");
    }
    // The program finds all of it in the compact copy.
    // SAFETY: as above.
    let env = unsafe { Env::options().open(place.path("b.maple")) }.unwrap();
    assert_eq!(env.read().unwrap().table(&words).unwrap().get("maple").unwrap(), Some("tree"));
    env.close().unwrap();
    place.ok("del a.maple -t words --drop");
    place.check("a.maple");
}

#[test]
#[allow(unsafe_code)]
fn of_a_multimap_with_duplicates_in_a_programs_own_order_what_needs_no_order_works() {
    let place = Place::new();
    // SAFETY: nothing but MapleDB writes to the test's own file.
    let env = unsafe { Env::options().create(place.path("a.maple")) }.unwrap();
    let mut txn = env.write().unwrap();
    let words = Multimap::<str, str>::new("words").duplicates_in(KeyOrder::named::<Shortest>());
    txn.open_multimap(&words).unwrap().insert_all("tree", ["oak", "maple", "elm"]).unwrap();
    txn.commit().unwrap();
    env.close().unwrap();
    let listed: serde_json::Value = serde_json::from_str(&place.ok("tables a.maple --json")).unwrap();
    let told = &listed["tables"][1];
    assert_eq!((&told["order"], &told["duplicates"]["order"]), (&"bytewise".into(), &"shortest/1".into()));
    let checked = place.ok("check a.maple");
    assert!(checked.starts_with("table \"words\": all but the order of its keys or duplicates"), "{checked}");
    let scanned = "tree\telm\ntree\toak\ntree\tmaple\n";
    assert_eq!(place.ok("scan a.maple -t words"), scanned);
    place.ok("copy a.maple b.maple --compact");
    assert_eq!(place.ok("scan b.maple -t words"), scanned);
    let dumped = place.ok("dump a.maple -q -t words");
    assert!(dumped.contains("\"duplicates\":{\"order\":\"shortest/1\",\"len\":null}"), "{dumped}");
    let rescued = place.ok("rescue a.maple - -q");
    assert!(rescued.contains("\"duplicates\":{\"order\":\"shortest/1\",\"len\":null}"), "{rescued}");
    for verb in ["put a.maple -t words tree fir", "del a.maple -t words tree --value oak"] {
        let refused = place.fails(4, verb);
        assert!(refused.contains("an order that this program does not have"), "{verb}: {refused}");
    }
    let refused = place.fails(4, "diff a.maple b.maple");
    assert!(refused.contains("\"shortest/1\" is a program's own"), "{refused}");
    place.ok("dump a.maple -q -t words -o a.jsonl");
    let refused = place.fails(3, "load --create c.maple a.jsonl");
    assert!(refused.contains("\"shortest/1\" is no order of duplicates"), "{refused}");
    place.ok("create d.maple -t words --keys str --values str --multimap");
    place.ok("put d.maple -t words tree fir");
    place.ok("dump d.maple -q -t words -o d.jsonl");
    let refused = place.fails(3, "load a.maple d.jsonl");
    let both = "duplicates are of any length in the order \"bytewise\", and those of the table are of any length in the order \"shortest/1\"";
    assert!(refused.contains(both), "{refused}");
    // SAFETY: as above.
    let env = unsafe { Env::options().open(place.path("b.maple")) }.unwrap();
    assert!(env.read().unwrap().multimap(&words).unwrap().contains("tree", "maple").unwrap());
    env.close().unwrap();
    place.ok("del a.maple -t words tree");
    place.ok("del a.maple -t words --drop");
    place.check("a.maple");
}
