//! `space` and `defrag`: what is free is told, drawn and given back.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::MetadataExt;

use common::Place;
use serde_json::Value;

fn json(place: &Place, verb: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("{verb} --json"))).unwrap()
}

/// A database of which the first two thirds are free.
fn with_holes() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    for part in 1..4 {
        let rows: String = (0..8000).map(|n| format!("key{part}{n:06},{}\n", "v".repeat(60))).collect();
        assert_eq!(place.maple_reading("load a.maple -f csv --no-header", rows.as_bytes()).code, Some(0));
    }
    place.ok("del a.maple --prefix key1");
    place.ok("del a.maple --prefix key2");
    place
}

#[test]
fn the_report_adds_up_and_the_map_covers_the_file() {
    let place = with_holes();
    let space = json(&place, "space a.maple --map --parts 40");
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let sum = ["pages_in_use", "available_pages", "waiting_pages"].map(|name| number(&space, name));
    assert_eq!(sum.iter().sum::<u64>(), number(&space, "used_pages"));
    let parts = space["map"]["stretches"].as_array().unwrap();
    assert!(parts.len() <= 40);
    let of = |name: &str| parts.iter().map(|part| number(part, name)).sum::<u64>();
    assert_eq!(of("pages"), number(&space["map"], "file_pages"));
    assert_eq!((of("available"), of("waiting"), of("other")), (sum[1], sum[2], 0));
    let words = place.ok("space a.maple --map --parts 100");
    assert!(words.contains("  0 [MM") && words.contains("# leaves") && !words.contains('\x1b'), "{words}");
    place.ok("space a.maple --frozen --map --quiet");
}

#[test]
fn a_png_has_the_colour_of_each_stretch() {
    let place = with_holes();
    place.ok("space a.maple --parts 100 --out a.PNG");
    let map = json(&place, "space a.maple --map --parts 100");
    let stretches = map["map"]["stretches"].as_array().unwrap();
    let decoder =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(place.path("a.PNG")).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    let info = reader.info();
    assert_eq!(
        (frame.width, frame.height),
        (66 * 12, (100_u32.min(stretches.len() as u32).div_ceil(64) + 2) * 12)
    );
    let palette = info.palette.clone().unwrap();
    let described: Vec<_> = info.utf8_text.iter().map(|chunk| chunk.get_text().unwrap()).collect();
    assert!(described[0].contains("a.maple: ") && described[1].contains("#1b9e77 leaves"), "{described:?}");
    for (at, stretch) in stretches.iter().enumerate() {
        let (x, y) = (12 + at % 64 * 12 + 5, 12 + at / 64 * 12 + 5);
        let colour = usize::from(pixels[y * frame.width as usize + x]) * 3;
        let rgb = &palette[colour..colour + 3];
        match stretch["mostly"].as_str().unwrap() {
            "meta" => assert_eq!(rgb, [0x7b, 0x32, 0x94]),
            "leaf" => assert_eq!(rgb, [0x1b, 0x9e, 0x77]),
            "available" => assert_eq!(rgb, [0xe0; 3]),
            _ => assert_ne!(rgb, [255; 3]),
        }
    }
    assert_eq!(pixels[0], pixels[pixels.len() - 1], "the edge is of the background");
    place.check("a.maple");
}

#[test]
fn a_picture_is_a_well_formed_document_of_every_stretch() {
    let place = with_holes();
    place.ok("space a.maple --parts 50 --out a.svg");
    let svg = std::fs::read_to_string(place.path("a.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
    let stretches =
        json(&place, "space a.maple --map --parts 50")["map"]["stretches"].as_array().unwrap().len();
    assert_eq!(svg.matches("<title>pages ").count(), stretches);
    for tag in ["rect", "text", "title"] {
        let (opened, closed) =
            (svg.matches(&format!("<{tag}")).count(), svg.matches(&format!("</{tag}>")).count());
        let empty = if tag == "rect" { svg.matches("/>").count() } else { 0 };
        assert_eq!(opened, closed + empty, "{tag}");
    }
    let told = place.fails(4, "space a.maple --out none/a.svg");
    assert!(told.contains("cannot create none/a.svg"), "{told}");
}

#[test]
fn defrag_packs_the_file_within_its_limits_and_says_why_it_ended() {
    let place = with_holes();
    let used = json(&place, "info a.maple")["used_pages"].as_u64().unwrap();
    let all = place.ok("dump a.maple");
    for (limit, word) in [
        ("--time 0", "time_limit"),
        ("--batch 5 --commits 1", "commit_limit"),
        ("--batch 5 --pages 1", "page_limit"),
    ] {
        assert_eq!(json(&place, &format!("defrag a.maple {limit}"))["stopped"], word);
    }
    let done = json(&place, "defrag a.maple");
    assert_eq!(done["stopped"], "done");
    let about = place.path("a.maple").metadata().unwrap();
    assert!(done["used_pages"].as_u64().unwrap() < used * 2 / 3, "{used} became {done}");
    assert_eq!(done["file_bytes"], about.len());
    if done["given_back_bytes"].as_u64().unwrap() > 0 {
        assert!(about.blocks() * 512 < used * 4096, "{done}");
    }
    place.check("a.maple");
    assert_eq!(place.ok("dump a.maple"), all);
    assert!(
        place
            .ok("defrag a.maple")
            .starts_with("moved 0 pages with 0 commits; there is nothing left to gain\n")
    );
    place.fails(2, "defrag a.maple --batch 0");
    place.fails(2, "defrag a.maple --time soon");
    place.fails(4, "defrag none.maple");
}

#[test]
fn defrag_names_the_snapshot_or_the_reader_that_it_waits_for() {
    let place = with_holes();
    let rows: String = (0..8000).map(|n| format!("key4{n:06},{}\n", "v".repeat(60))).collect();
    assert_eq!(place.maple_reading("load a.maple -f csv --no-header", rows.as_bytes()).code, Some(0));
    place.ok("snapshot create a.maple monday");
    place.ok("del a.maple --prefix key3");
    let told = json(&place, "defrag a.maple");
    if told["stopped"] == "pinned" {
        assert_eq!(told["holders"][0]["name"], "monday", "{told}");
        let words = place.ok("defrag a.maple");
        assert!(words.contains("held by the snapshot \"monday\" (\"maple space\""), "{words}");
    } else {
        panic!("{told}");
    }
    place.check("a.maple");
}
