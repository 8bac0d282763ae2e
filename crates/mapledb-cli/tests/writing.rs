//! Verbs that write, their refusals and their exit codes.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;

fn letters() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    place.maple_reading("load a.maple -f csv --no-header", b"a,1\nb,2\nba,3\nbb,4\nc,5\nd,6\n");
    place
}

#[test]
fn create_makes_databases_and_tables_once() {
    let place = Place::new();
    let made: serde_json::Value =
        serde_json::from_str(&place.ok("create a.maple --page-size 16384 --json --mode 600")).unwrap();
    assert_eq!(made["page_size"], 16384);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&place.path("a.maple").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(place.fails(4, "create a.maple").contains("exists"));
    place.ok("create a.maple -t t --keys (u16,str) --values i128");
    assert_eq!(
        place.fails(4, "create a.maple -t t"),
        "maple: there is a table called \"t\" already: choose another name\n"
    );
    place.ok("create b.maple -t t");
    assert!(place.ok("tables b.maple").contains("\nt "));
    assert!(place.fails(2, "create a.maple -t u --page-size 4096").contains("leave --page-size out"));
    assert!(place.fails(2, "create c.maple --page-size 5000").contains("a power of two from 4096 to 65536"));
    assert!(place.fails(2, "create c.maple -t t --keys float").contains("known are bytes, str"));
    assert!(place.fails(2, "create c.maple --mode 999").contains("octal"));
    assert!(place.fails(4, "create missing/c.maple").contains("No such file or directory"));
    assert!(!place.path("c.maple").exists());
}

#[test]
fn a_table_or_key_that_is_not_there_has_its_own_exit_code() {
    let place = letters();
    assert_eq!(place.fails(1, "get a.maple nope"), "maple: there is no key \"nope\"\n");
    assert_eq!(place.fails(1, "del a.maple nope"), "maple: there is no key \"nope\"\n");
    for verb in [
        "get a.maple k -t t",
        "put a.maple k v -t t",
        "del a.maple k -t t",
        "scan a.maple -t t",
        "stat a.maple -t t",
        "dump a.maple -t t",
        "del a.maple --drop -t t",
    ] {
        let told = place.fails(4, verb);
        assert_eq!(
            told, "maple: there is no table called \"t\": \"maple tables\" lists those there are\n",
            "{verb}"
        );
    }
    let told = place.fails(1, "get a.maple nope --json");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told,
        serde_json::json!({"error": "there is no key \"nope\"", "kind": "absent", "exit_code": 1})
    );
}

#[test]
fn put_replaces_or_insists_on_a_new_key() {
    let place = letters();
    assert!(place.ok("put a.maple a 9 --json").starts_with("{\"replaced\":true,"));
    assert!(place.ok("put a.maple -5 -7 --json").starts_with("{\"replaced\":false,"));
    assert_eq!(place.ok("get a.maple -5"), "-7\n");
    assert_eq!(place.fails(1, "put a.maple a 10 --new"), "maple: the key \"a\" is there already\n");
    assert_eq!(place.ok("get a.maple a"), "9\n");
    place.ok("put a.maple e 7 --new");
    std::fs::write(place.path("value"), [0, 0xff, b'\n']).unwrap();
    place.ok("put a.maple f @value");
    assert_eq!(place.ok("get a.maple f"), "hex:00ff0a\n");
    let ended = place.maple_reading("put a.maple g @-", b"from standard input");
    assert_eq!(ended.code, Some(0));
    assert_eq!(place.ok("get a.maple g --raw"), "from standard input");
    assert_eq!(
        place.fails(4, "put a.maple h @missing"),
        "maple: cannot read missing: No such file or directory (os error 2); check the name\n"
    );
    assert_eq!(place.fails(2, "put a.maple hex:0 v"), "maple: hex:0: an odd number of hexadecimal digits\n");
    let long = format!("put a.maple {} v", "k".repeat(2000));
    assert_eq!(
        place.fails(3, &long),
        "maple: a key of 2000 bytes is too long: the most is 1024, and more where pages are larger\n"
    );
    place.check("a.maple");
}

#[test]
fn del_takes_out_keys_all_or_none_and_ranges() {
    let place = letters();
    assert_eq!(place.fails(1, "del a.maple a nope"), "maple: there is no key \"nope\"\n");
    assert_eq!(place.ok("scan a.maple --count"), "6\n");
    place.ok("del a.maple a d");
    assert_eq!(place.ok("del a.maple --prefix b"), "3 entries taken out\n");
    assert_eq!(place.ok("scan a.maple"), "c\t5\n");
    assert_eq!(place.ok("del a.maple --from x"), "0 entries taken out\n");
    assert_eq!(place.ok("del a.maple --all"), "1 entry taken out\n");
    place.ok("create a.maple -t t");
    place.ok("put a.maple -t t k v");
    assert!(place.ok("del a.maple -t t --drop --json").starts_with("{\"deleted\":1,"));
    assert_eq!(place.ok("tables a.maple").lines().count(), 2);
    for wrong in [
        "del a.maple",
        "del a.maple k --all",
        "del a.maple k --prefix k",
        "del a.maple --drop",
        "del a.maple --all --from k",
    ] {
        place.fails(2, wrong);
    }
    place.check("a.maple");
}

#[test]
fn scan_takes_ranges_directions_and_limits() {
    let place = letters();
    let keys =
        |arguments: &str| place.ok(&format!("scan a.maple --keys-only {arguments}")).replace('\n', " ");
    assert_eq!(keys("--from b"), "b ba bb c d ");
    assert_eq!(keys("--after b"), "ba bb c d ");
    assert_eq!(keys("--to b"), "a b ");
    assert_eq!(keys("--until b"), "a ");
    assert_eq!(keys("--prefix b"), "b ba bb ");
    assert_eq!(keys("--prefix b --reverse"), "bb ba b ");
    assert_eq!(keys("--reverse -n 2"), "d c ");
    assert_eq!(keys("--from b --until c -n 2"), "b ba ");
    assert_eq!(keys("--from z"), "");
    assert_eq!(keys("--from c --to b"), "");
    assert_eq!(keys("-n 0"), "");
    assert_eq!(place.ok("scan a.maple --count --after b --to c"), "3\n");
    assert_eq!(place.ok("scan a.maple --count --json --prefix b -n 2"), "{\"count\":2}\n");
    assert_eq!(place.ok("scan a.maple --prefix bb --json"), "{\"key\":\"bb\",\"value\":\"4\"}\n");
    for wrong in ["--from a --after a", "--to a --until a", "--prefix a --from a", "--count --reverse"] {
        place.fails(2, &format!("scan a.maple {wrong}"));
    }
}

#[test]
fn typed_tables_order_and_show_numbers_as_numbers() {
    let place = Place::new();
    place.ok("create a.maple -t t --keys i32 --values u128");
    for number in ["-7", "500", "3", "-2147483648"] {
        place.ok(&format!("put a.maple -t t {number} 9"));
    }
    assert_eq!(place.ok("scan a.maple -t t"), "-2147483648\t9\n-7\t9\n3\t9\n500\t9\n");
    assert_eq!(
        place.ok("scan a.maple -t t --json --from -7 --until 4"),
        "{\"key\":-7,\"value\":\"9\"}\n{\"key\":3,\"value\":\"9\"}\n"
    );
    assert_eq!(
        place.fails(2, "get a.maple -t t x"),
        "maple: x is not of type i32 (-2147483648 to 2147483647)\n"
    );
    assert!(
        place
            .fails(2, "scan a.maple -t t --prefix 5")
            .starts_with("maple: keys of type i32 have no prefix as text")
    );
}

#[test]
fn usage_errors_are_exit_code_2_and_json_where_asked_for() {
    let place = Place::new();
    place.fails(2, "nonsense");
    place.fails(2, "get");
    let told: serde_json::Value = serde_json::from_str(&place.fails(2, "get --json")).unwrap();
    assert_eq!((&told["kind"], &told["exit_code"]), (&"usage".into(), &2.into()));
    assert_eq!(place.maple("--help").code, Some(0));
    assert_eq!(place.ok("--version"), format!("maple {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn names_cannot_play_tricks_on_the_terminal() {
    let place = Place::new();
    let ended = place.maple_with(&["info", "a\u{1b}[2J.maple"]);
    assert_eq!(ended.code, Some(4));
    assert!(!ended.stderr.contains('\u{1b}') && ended.stderr.contains("\\u{1b}[2J"), "{}", ended.stderr);
    place.ok("create a.maple");
    place.maple_with(&["create", "a.maple", "-t", "red\u{1b}[31m\nline"]);
    let listed = place.ok("tables a.maple");
    assert!(!listed.contains('\u{1b}') && listed.lines().count() == 3, "{listed}");
}
