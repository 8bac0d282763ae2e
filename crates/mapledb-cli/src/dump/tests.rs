use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::failure::Kind;

#[path = "../../tests/common/hostile.rs"]
mod hostile;

const WITH_HEADER: Columns = Columns { header: true, plain: false };

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn table(name: Option<&str>, keys: &str, values: &str) -> TableHead {
    let types = Some((Type::recorded(keys), Type::recorded(values)));
    TableHead {
        name: name.map(str::to_owned),
        types,
        order: None,
        duplicates: None,
        duplicate_order: None,
        sequence: 0,
        line: 0,
    }
}

fn write(format: Format, tables: &[(TableHead, Pairs)]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut sink = sink(format, true, (4096, None), Box::new(&mut text));
    let mut records = 0;
    for (head, pairs) in tables {
        sink.begin(head).unwrap();
        for (key, value) in pairs {
            sink.record(key, value).unwrap();
            records += 1;
        }
    }
    sink.finish(records).unwrap();
    drop(sink);
    text
}

/// Reads a dump whose records come before any table, if it names none, under the default table.
fn read(format: Format, columns: Columns, text: &[u8]) -> Result<Vec<(TableHead, Pairs)>, Failure> {
    let mut source = source(format, columns, Box::new(Cursor::new(text)));
    let mut tables: Vec<(TableHead, Pairs)> = Vec::new();
    while let Some(item) = source.next_item()? {
        match item {
            Item::Table(head) => tables.push((TableHead { line: 0, order: None, ..head }, Vec::new())),
            Item::Record(record) => {
                if tables.is_empty() {
                    tables.push((
                        TableHead {
                            name: None,
                            types: None,
                            order: None,
                            duplicates: None,
                            sequence: 0,
                            duplicate_order: None,
                            line: 0,
                        },
                        Vec::new(),
                    ));
                }
                let (head, pairs) = tables.last_mut().unwrap();
                let (keys, values) = head.types.clone().unwrap_or((Type::Bytes, Type::Bytes));
                let understood = |field: Field, kind| {
                    field.into_bytes(kind).map_err(|why| Failure::input(why).at(record.line))
                };
                pairs.push((understood(record.key, &keys)?, understood(record.value, &values)?));
            }
        }
    }
    Ok(tables)
}

fn refusal(format: Format, text: &[u8]) -> String {
    let failure = read(format, WITH_HEADER, text).unwrap_err();
    assert_eq!(failure.kind, Kind::Input);
    failure.message
}

fn hostile() -> Pairs {
    let mut pairs: Pairs = hostile::TEXTS
        .iter()
        .flat_map(|text| [(text.as_bytes().to_vec(), Vec::new()), (Vec::new(), text.as_bytes().to_vec())])
        .collect();
    pairs.push(((0..=255).collect(), (0..=255).rev().collect()));
    pairs.push((vec![0xff; 3], vec![0; 3]));
    pairs
}

const FORMATS: [Format; 5] = [Format::Jsonl, Format::Csv, Format::Tsv, Format::Bytevalue, Format::Print];

#[test]
fn every_format_gives_back_hostile_bytes() {
    for format in FORMATS {
        let text = write(format, &[(table(None, "bytes", "bytes"), hostile())]);
        let tables = read(format, WITH_HEADER, &text).unwrap();
        assert_eq!(tables.len(), 1, "{format:?}");
        assert_eq!(tables[0].1, hostile(), "{format:?}");
    }
}

#[test]
fn columns_give_back_hostile_bytes_a_line_each() {
    for format in [Format::Csv, Format::Tsv] {
        let text = write(format, &[(table(None, "bytes", "bytes"), hostile())]);
        let lines = text.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(lines, hostile().len() + 1, "{format:?}");
    }
}

#[test]
fn several_tables_keep_their_names_and_in_json_their_types() {
    let pairs: Pairs = vec![(vec![0, 0, 0, 7], b"Ida".to_vec())];
    for format in [Format::Jsonl, Format::Bytevalue, Format::Print] {
        let written = [
            (table(None, "bytes", "bytes"), hostile()),
            (table(Some("empty"), "str", "(u8,str)"), Vec::new()),
            (table(Some("weird \\ name\n=é\\0"), "u32", "str"), pairs.clone()),
        ];
        let read = read(format, WITH_HEADER, &write(format, &written)).unwrap();
        assert_eq!(read.len(), 3);
        for ((wrote_head, wrote), (read_head, read)) in written.iter().zip(&read) {
            assert_eq!(read_head.name, wrote_head.name);
            assert_eq!(read, wrote);
            assert_eq!(
                read_head.types,
                (format == Format::Jsonl).then(|| wrote_head.types.clone()).flatten()
            );
        }
    }
}

#[test]
fn the_text_that_others_write_is_read() {
    let mdb_dump = b"VERSION=3\nformat=bytevalue\ndatabase=t1\ntype=btree\nmapsize=1048576\nmaxreaders=126\n\
        db_pagesize=4096\nHEADER=END\n 61\n 76\nDATA=END\n";
    let tables = read(Format::Bytevalue, WITH_HEADER, mdb_dump).unwrap();
    assert_eq!(tables[0].0.name.as_deref(), Some("t1"));
    assert_eq!(tables[0].1, [(b"a".to_vec(), b"v".to_vec())]);
    let db_dump =
        b"VERSION=3\r\nformat=print\r\ntype=hash\r\nduplicates=0\r\nkeys=1\r\nh_nelem=4\r\nHEADER=END\r\n \
        \\00\\FF\\\\\r\n \r\nDATA=END\r\n\r\n";
    let tables = read(Format::Print, WITH_HEADER, db_dump).unwrap();
    assert_eq!(tables[0].1, [(b"\0\xff\\".to_vec(), Vec::new())]);
    let jq = b"{\"value\":\"b\",\"key\":\"a\"}\r\n\n{\"key\": \"\", \"value\": {\"hex\": \"FF\"}}";
    let tables = read(Format::Jsonl, WITH_HEADER, jq).unwrap();
    assert_eq!(tables[0].1, [(b"a".to_vec(), b"b".to_vec()), (Vec::new(), vec![0xff])]);
    let spreadsheet = b"\xef\xbb\xbfkey,value\r\n\"a\n\"\"b\"\"\",\"x,y\"\r\n";
    let tables = read(Format::Csv, WITH_HEADER, spreadsheet).unwrap();
    assert_eq!(tables[0].1, [(b"a\n\"b\"".to_vec(), b"x,y".to_vec())]);
}

#[test]
fn plain_columns_take_every_prefix_as_text() {
    let columns = Columns { header: false, plain: true };
    for (format, text) in [(Format::Csv, &b"hex:zz,@x\n"[..]), (Format::Tsv, b"hex:zz\t@x\n")] {
        let tables = read(format, columns, text).unwrap();
        assert_eq!(tables[0].1, [(b"hex:zz".to_vec(), b"@x".to_vec())]);
    }
}

/// A section with this in its header and on its data lines.
fn section(header: &str, data: &str) -> Vec<u8> {
    format!("VERSION=3\nformat=print\n{header}HEADER=END\n{data}").into_bytes()
}

#[test]
fn malformed_berkeley_text_is_refused_by_line() {
    let table: [(&[u8], &str); 14] = [
        (b"", "the dump is empty"),
        (b"\n\nVERSION=2\n", "line 3: \"VERSION=2\" where VERSION=3 belongs"),
        (
            b"VERSION=3\ntype=btree\nHEADER=END\n",
            "line 1: the header has no format= line: bytevalue or print",
        ),
        (b"VERSION=3\nformat=hex\n", "line 2: format=hex is not known: bytevalue and print are"),
        (b"VERSION=3\nformat=print\n", "line 3: the dump is cut short: it ends before HEADER=END"),
        (b"VERSION=3\nnonsense\n", "line 2: \"nonsense\" is no header line"),
        (b"VERSION=3\n\xff=1\n", "line 2: the header line is not UTF-8"),
        (&section("", " a\n b\n"), "line 6: the dump is cut short: it ends before DATA=END"),
        (&section("", " a\n"), "line 5: the dump is cut short: it ends before DATA=END"),
        (&section("", " a\nDATA=END\n"), "line 4: the key has no value"),
        (&section("", "a\n"), "line 4: a data line begins with a space"),
        (
            &section("", " a\n b\\0\n"),
            "line 5: a backslash before neither a backslash nor two hexadecimal digits",
        ),
        (&section("", "DATA=END\nmore\n"), "line 5: \"more\" where VERSION=3 belongs"),
        (&section("database=\\ff\n", ""), "line 3: the table's name is not UTF-8"),
    ];
    for (text, why) in table {
        assert_eq!(refusal(Format::Print, text), why, "{}", text.escape_ascii());
    }
    let bytevalue = b"VERSION=3\nformat=bytevalue\nHEADER=END\n 61\n 6\nDATA=END\n";
    assert_eq!(refusal(Format::Bytevalue, bytevalue), "line 5: an odd number of hexadecimal digits");
    let bytevalue = b"VERSION=3\nformat=bytevalue\nHEADER=END\n 6x\n 6\nDATA=END\n";
    assert_eq!(refusal(Format::Bytevalue, bytevalue), "line 4: column 3 is not a hexadecimal digit");
}

#[test]
fn headers_that_ask_for_what_is_not_there_are_refused() {
    let table = [
        ("recnum=1", "recnum=1 asks for record numbers, which MapleDB does not have yet"),
        ("keys=0", "keys=0 leaves out the keys: dump with keys (db_dump -k)"),
        ("type=recno", "a table of type=recno has no keys to load: btree and hash are read"),
        ("colour=red", "the header colour=red is not known"),
    ];
    for (header, why) in table {
        let text = section(&format!("{header}\n"), "DATA=END\n");
        assert_eq!(refusal(Format::Print, &text), format!("line 3: {why}"));
    }
}

#[test]
fn backslashes_that_old_mdb_dump_leaves_bare_are_told() {
    let data = " k\n c:\\6 x\nDATA=END\n";
    for bare in [" c:\\41", " \\ ", " \\", " \\zz", " \\\\\\20", " c:\\DAta"] {
        let text = section("mapsize=1048576\n", &format!(" k\n{bare}\nDATA=END\n"));
        assert!(
            refusal(Format::Print, &text).starts_with("line 6: a backslash that is not doubled"),
            "{bare}"
        );
    }
    assert!(refusal(Format::Print, &section("", data)).starts_with("line 5: a backslash before neither"));
    let fine = section("mapsize=1048576\n", " \\0a\\ff\n \\\\41\nDATA=END\n");
    let tables = read(Format::Print, WITH_HEADER, &fine).unwrap();
    assert_eq!(tables[0].1, [(b"\n\xff".to_vec(), b"\\41".to_vec())]);
}

/// `c:\data` and `\\host` of an old `mdb_dump -p` look like escapes.
#[test]
fn backslashes_that_may_mean_two_things_are_refused_unless_it_is_said_which() {
    for (line, meant) in [(" c:\\data", &b"c:\xdata"[..]), (" \\\\host", b"\\host"), (" \\0a", b"\n")] {
        let of_lmdb = section("maxreaders=126\n", &format!(" k\n{line}\nDATA=END\n"));
        let why = refusal(Format::Bytevalue, &of_lmdb);
        assert!(why.starts_with("line 6: a backslash, which old mdb_dump -p does not double"), "{why}");
        assert_eq!(
            read(Format::Print, WITH_HEADER, &of_lmdb).unwrap()[0].1,
            [(b"k".to_vec(), meant.to_vec())]
        );
        let of_db_dump = section("db_pagesize=4096\n", &format!(" k\n{line}\nDATA=END\n"));
        assert_eq!(
            read(Format::Bytevalue, WITH_HEADER, &of_db_dump).unwrap()[0].1,
            [(b"k".to_vec(), meant.to_vec())]
        );
    }
}

#[test]
fn malformed_json_lines_are_refused_by_line() {
    let shape = "neither {\"key\":…,\"value\":…} nor a table line nor a records line";
    let table: [(&[u8], &str); 14] = [
        (b"{\"key\":\"a\"}", &format!("line 1: {shape}")),
        (b"\n{\"key\":\"a\",\"value\":\"b\",\"more\":1}", &format!("line 2: {shape}")),
        (b"{\"key\":\"a\",\"key\":\"b\",\"value\":\"c\"}", &format!("line 1: {shape}")),
        (b"[]", &format!("line 1: {shape}")),
        (b"{\"keys\":\"u8\",\"values\":\"u8\"}", &format!("line 1: {shape}")),
        (b"{\"key\":\"a\",", "line 1: not JSON at column 11: EOF while parsing a value"),
        (
            b"{\"key\":\"\\ud800\",\"value\":\"\"}",
            "line 1: not JSON at column 15: unexpected end of hex escape",
        ),
        (b"{\"key\":\"\xff\",\"value\":\"\"}", "line 1: not JSON at column 9: invalid unicode code point"),
        (b"{\"key\":\"a\",\"value\":\"\"} x", "line 1: not JSON at column 24: trailing characters"),
        (b"{\"key\":1,\"value\":\"\"}", "1: a number where a string or {\"hex\":\"…\"} belongs"),
        (b"{\"key\":\"\",\"value\":\"\"}\n{\"records\":2}", "line 2: the dump counts 2 records, but holds 1"),
        (b"{\"records\":0}\n{\"key\":\"\",\"value\":\"\"}", "line 2: nothing may follow the records line"),
        (b"{\"records\":0}\n{\"records\":0}", "line 2: nothing may follow the records line"),
        (
            b"{\"table\":null,\"keys\":\"str\",\"values\":\"str\"}\n",
            "line 2: the dump is cut short: it ends before its records line",
        ),
    ];
    for (text, why) in table {
        assert_eq!(refusal(Format::Jsonl, text), why, "{}", text.escape_ascii());
    }
}

#[test]
fn malformed_columns_are_refused_by_line() {
    let header = "the first line must name the columns key and value; with --no-header there is none";
    let csv: [(&[u8], &str); 11] = [
        (b"", &format!("line 1: {header}")),
        (b"a,b\n", &format!("line 1: {header}")),
        (b"key,value\na,b\nc\n", "line 3: 1 field where key and value belong"),
        (b"key,value\n\"a\n\",b\nc,d,e\n", "line 4: 3 fields where key and value belong"),
        (b"key,value\na,\xff\n", "line 2: value: not UTF-8: write binary fields as hex:"),
        (b"key,value\r\na,b\r\nc\r\n", "line 3: 1 field where key and value belong"),
        (b"key,value\na,b\n\"c,d\ne,f\n", "line 3: a quote is never closed"),
        (b"key,value\na,\"b\n\"\"", "line 2: a quote is never closed"),
        (b"key,value\na\"b\",c\n", "line 2: a quote inside a field that does not begin with one"),
        (b"key,value\n\"a\"b,c\n", "line 2: a quoted field goes on after its closing quote"),
        (b"key,value\n\nhex:0,\n", "3: an odd number of hexadecimal digits"),
    ];
    for (text, why) in csv {
        assert_eq!(refusal(Format::Csv, text), why, "{}", text.escape_ascii());
    }
    let tsv: [(&[u8], &str); 6] = [
        (b"", &format!("line 1: {header}")),
        (b"key,value\n", &format!("line 1: {header}")),
        (b"key\tvalue\na\tb\n\n", "line 3: no tab between key and value"),
        (b"key\tvalue\na\tb\tc\n", "line 2: more than one tab: write tabs inside a field as esc:\\t"),
        (b"key\tvalue\n\xff\tb\n", "line 2: key: not UTF-8: write binary fields as hex:"),
        (b"key\tvalue\nu8:256\tb\n", "2: 256 is not of type u8 (0 to 255)"),
    ];
    for (text, why) in tsv {
        assert_eq!(refusal(Format::Tsv, text), why, "{}", text.escape_ascii());
    }
}

proptest! {
    #![proptest_config(crate::testing::cases())]

    #[test]
    fn every_format_gives_back_any_pairs(pairs: Pairs, texts: Vec<(String, String)>) {
        let mut pairs = pairs;
        pairs.extend(texts.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes())));
        for format in FORMATS {
            let text = write(format, &[(table(None, "bytes", "bytes"), pairs.clone())]);
            let tables = read(format, WITH_HEADER, &text).unwrap();
            let read = tables.into_iter().next().map(|(_, pairs)| pairs).unwrap_or_default();
            prop_assert_eq!(&read, &pairs, "{:?}", format);
        }
    }

    #[test]
    fn a_table_of_any_name_keeps_it(name: String) {
        for format in [Format::Jsonl, Format::Bytevalue, Format::Print] {
            let text = write(format, &[(table(Some(&name), "bytes", "bytes"), Vec::new())]);
            let tables = read(format, WITH_HEADER, &text).unwrap();
            prop_assert_eq!(tables[0].0.name.as_deref(), Some(&*name));
        }
    }

    #[test]
    fn a_dump_cut_anywhere_is_told(cut in 0usize..1000) {
        for format in [Format::Jsonl, Format::Bytevalue, Format::Print] {
            let pairs = vec![(b"a".to_vec(), vec![0xff; 20]), (b"b".to_vec(), b"\\".to_vec())];
            let text = write(format, &[(table(Some("t"), "bytes", "bytes"), pairs)]);
            // The last line feed may go without loss.
            let cut = cut % (text.len() - 1);
            let told = read(format, WITH_HEADER, &text[..cut]);
            prop_assert!(told.is_err() || (format == Format::Jsonl && cut == 0), "{:?} {}", format, cut);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes: Vec<u8>, text in "(VERSION=3\n|format=print\n|HEADER=END\n| a\\\\[0-9]*\n|DATA=END\n|\\{\"key\":[01\"]|key\tvalue\n|key,value\n|,|\t|\"|\r|\n)*") {
        for format in FORMATS {
            let _ = read(format, WITH_HEADER, &bytes);
            let _ = read(format, WITH_HEADER, text.as_bytes());
        }
    }
}
