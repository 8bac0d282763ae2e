//! Pictures of a file: a strip of characters, in colour where a terminal shows it, an SVG, and a PNG.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use mapledb::{PageKind, SpaceMap, Stretch};

use crate::failure::Failure;
use crate::output::Output;
use crate::text::form;

/// Places of a line of the strip.
const LINE: usize = 64;
/// Stretches of a line of the SVG.
const SVG_LINE: usize = 64;
/// The side of a stretch there, in pixels.
const SIDE: usize = 12;

/// How a kind of page looks: a character, a colour of terminals, one of SVG, and what it is.
struct Look {
    kind: PageKind,
    character: char,
    ansi: u8,
    rgb: &'static str,
    words: &'static str,
}

const fn look(kind: PageKind, character: char, ansi: u8, rgb: &'static str, words: &'static str) -> Look {
    Look { kind, character, ansi, rgb, words }
}

const LOOKS: [Look; PageKind::ALL.len()] = [
    look(PageKind::Meta, 'M', 35, "#7b3294", "metas"),
    look(PageKind::Leaf, '#', 32, "#1b9e77", "leaves"),
    look(PageKind::Branch, '+', 36, "#0868ac", "branches"),
    look(PageKind::UpperBranch, '*', 34, "#08306b", "upper branches"),
    look(PageKind::Overflow, '=', 92, "#a6d854", "large values"),
    look(PageKind::Duplicates, '%', 93, "#66a61e", "trees of duplicates"),
    look(PageKind::System, 's', 95, "#c994c7", "catalog and free-space records"),
    look(PageKind::Available, '.', 37, "#e0e0e0", "available"),
    look(PageKind::Waiting, '~', 33, "#e6ab02", "waiting for a snapshot"),
    look(PageKind::Behind, '_', 90, "#f7f7f7", "behind the used part"),
    look(PageKind::Other, '?', 31, "#d7301f", "in no record"),
];

fn look_of(kind: PageKind) -> &'static Look {
    LOOKS.iter().find(|look| look.kind == kind).unwrap_or(&LOOKS[LOOKS.len() - 1])
}

/// The kinds that a map shows, in their order.
fn shown(map: &SpaceMap) -> impl Iterator<Item = &'static Look> {
    LOOKS.iter().filter(|look| map.stretches.iter().any(|stretch| stretch.mostly() == look.kind))
}

/// Prints the strip, line by line with the page each begins at, and what its characters mean.
pub fn strip(map: &SpaceMap, output: &mut Output) -> Result<(), Failure> {
    let in_colour =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let paint = |look: &Look, text: &str| match in_colour {
        true => format!("\x1b[{}m{text}\x1b[0m", look.ansi),
        false => text.to_owned(),
    };
    let width = map.file_pages.to_string().len();
    output.line("")?;
    for line in map.stretches.chunks(LINE) {
        let places: String =
            runs(line).map(|(look, len)| paint(look, &look.character.to_string().repeat(len))).collect();
        output.line(format!("{:width$} [{places}]", line[0].first_page))?;
    }
    for look in shown(map) {
        output.line(format!("{:width$}  {} {}", "", paint(look, &look.character.to_string()), look.words))?;
    }
    Ok(())
}

/// Stretches of one look in a row.
fn runs(line: &[Stretch]) -> impl Iterator<Item = (&'static Look, usize)> {
    let chunks = line.chunk_by(|one, other| one.mostly() == other.mostly());
    chunks.map(|chunk| (look_of(chunk[0].mostly()), chunk.len()))
}

/// The map as an SVG document.
pub fn svg(map: &SpaceMap, path: &str) -> String {
    let lines = map.stretches.len().div_ceil(SVG_LINE).max(1);
    let legend: Vec<&Look> = shown(map).collect();
    let width = SVG_LINE * SIDE + 2 * SIDE;
    let height = (lines + legend.len() + 4) * SIDE + (legend.len() + 1) * SIDE / 2;
    let mut svg = String::new();
    let title = escaped(&title(map, path));
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"{SIDE}\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{SIDE}\" y=\"{}\">{title}</text>\n",
        SIDE * 3 / 2
    );
    for (at, stretch) in map.stretches.iter().enumerate() {
        let (x, y) = (SIDE + at % SVG_LINE * SIDE, 2 * SIDE + at / SVG_LINE * SIDE);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"{}\" stroke=\"white\" stroke-width=\"0.5\">\
             <title>{}</title></rect>",
            look_of(stretch.mostly()).rgb,
            told(stretch)
        );
    }
    for (at, look) in legend.iter().enumerate() {
        let y = (lines + 3) * SIDE + at * SIDE * 3 / 2;
        let _ = writeln!(
            svg,
            "<rect x=\"{SIDE}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"{}\" stroke=\"grey\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            look.rgb,
            SIDE * 5 / 2,
            y + SIDE - 1,
            look.words
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The map as a PNG: the squares of the SVG in its colours. It has no letters; what the colours mean is in its text
/// under `Description`, and its title is that of the SVG.
pub fn png(map: &SpaceMap, path: &str) -> Result<Vec<u8>, png::EncodingError> {
    let lines = map.stretches.len().div_ceil(SVG_LINE).max(1);
    let (width, height) = ((SVG_LINE + 2) * SIDE, (lines + 2) * SIDE);
    let background = LOOKS.len() as u8;
    let mut pixels = vec![background; width * height];
    for (at, stretch) in map.stretches.iter().enumerate() {
        let kind = look_of(stretch.mostly()).kind;
        let colour = LOOKS.iter().position(|look| look.kind == kind).unwrap_or(LOOKS.len() - 1) as u8;
        let (x, y) = (SIDE + at % SVG_LINE * SIDE, SIDE + at / SVG_LINE * SIDE);
        // A line of the background stays between squares.
        for row in pixels.chunks_mut(width).skip(y).take(SIDE - 1) {
            row[x..x + SIDE - 1].fill(colour);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette());
    encoder.add_itxt_chunk("Title".to_owned(), title(map, path))?;
    let legend: Vec<String> = shown(map).map(|look| format!("{} {}", look.rgb, look.words)).collect();
    encoder.add_itxt_chunk("Description".to_owned(), legend.join("\n"))?;
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}

/// The colours of all kinds, in their order, and white.
fn palette() -> Vec<u8> {
    let parts = |rgb: &str| {
        let colour = u32::from_str_radix(&rgb[1..], 16).unwrap_or(0).to_be_bytes();
        [colour[1], colour[2], colour[3]]
    };
    LOOKS.iter().flat_map(|look| parts(look.rgb)).chain([255; 3]).collect()
}

fn title(map: &SpaceMap, path: &str) -> String {
    format!(
        "{}: {} pages of {} bytes, commit {}",
        form::harmless(path),
        map.file_pages,
        map.page_size,
        map.txnid
    )
}

/// What a stretch holds, for whoever points at it.
fn told(stretch: &Stretch) -> String {
    let kinds = LOOKS.iter().filter(|look| stretch.of(look.kind) > 0);
    let counts: Vec<String> = kinds.map(|look| format!("{} {}", stretch.of(look.kind), look.words)).collect();
    format!(
        "pages {} to {}: {}",
        stretch.first_page,
        stretch.first_page + stretch.len() - 1,
        counts.join(", ")
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_looks_different_and_is_told() {
        for kind in PageKind::ALL {
            assert_eq!(look_of(kind).kind, kind);
        }
        for (at, one) in LOOKS.iter().enumerate() {
            for other in &LOOKS[at + 1..] {
                assert!(one.character != other.character && one.rgb != other.rgb && one.ansi != other.ansi);
            }
        }
    }

    #[test]
    fn the_palette_has_every_colour_and_white() {
        let palette = palette();
        assert_eq!(palette.len(), 3 * (LOOKS.len() + 1));
        assert_eq!((&palette[..3], &palette[3 * LOOKS.len()..]), (&[0x7b, 0x32, 0x94][..], &[255; 3][..]));
    }

    #[test]
    fn what_a_path_says_cannot_break_out_of_the_picture() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
