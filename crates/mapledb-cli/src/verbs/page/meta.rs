//! A meta, field by field.

use std::fs::File;

use mapledb_format::free::list::InlineFree;
use mapledb_format::ids::META_BYTES;
use mapledb_format::{Extent, Meta, OrderId, Slot, TreeRecord};
use serde::Serialize;

use super::{Findings, hex32, hex64, read};
use crate::failure::Failure;
use crate::output::Output;
use crate::table;
use crate::time;

#[derive(Debug, Serialize)]
pub struct MetaReport {
    meta: String,
    offset_bytes: u64,
    #[serde(flatten)]
    fields: Option<Fields>,
    faults: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Fields {
    checksum: String,
    version: u32,
    page_size: usize,
    compatible_flags: String,
    read_only_compatible_flags: String,
    incompatible_flags: String,
    identity: String,
    txnid: u64,
    base_txnid: u64,
    pages_used: u64,
    committed_at: String,
    default_sequence: u64,
    trees: Vec<TreeReport>,
    free_available: Vec<ExtentReport>,
    free_pending: Vec<PendingReport>,
    manifest_pages: u32,
    manifest_digest: String,
    manifest: Vec<ExtentReport>,
}

#[derive(Debug, Serialize)]
struct TreeReport {
    tree: &'static str,
    root: Option<u64>,
    tag: String,
    depth: u8,
    order: &'static str,
    entries: u64,
    leaf_pages: u64,
    branch_pages: u64,
    overflow_pages: u64,
}

#[derive(Debug, Serialize)]
struct ExtentReport {
    first: u64,
    pages: u64,
}

#[derive(Debug, Serialize)]
struct PendingReport {
    blocker: u64,
    freed: u64,
    extents: Vec<FreedReport>,
}

#[derive(Debug, Serialize)]
struct FreedReport {
    first: u64,
    pages: u64,
    born: u64,
}

impl Findings for MetaReport {
    fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// Reads the meta of `slot`.
pub fn report(file: &File, slot: Slot) -> Result<MetaReport, Failure> {
    let bytes = read(file, slot.offset(), META_BYTES, &format!("meta {slot}"))?;
    let mut faults = Vec::new();
    let fields = match Meta::decode(&bytes, slot) {
        Ok(meta) => Some(fields(&meta, &bytes, &mut faults)),
        Err(fault) => {
            faults.push(fault.to_string());
            None
        }
    };
    Ok(MetaReport { meta: slot.to_string(), offset_bytes: slot.offset(), fields, faults })
}

fn fields(meta: &Meta, bytes: &[u8], faults: &mut Vec<String>) -> Fields {
    let head = &meta.head;
    let manifest = meta.manifest.extents(meta.bounds()).unwrap_or_else(|error| {
        faults.push(error.to_string());
        Vec::new()
    });
    let free = InlineFree::decode(head.inline_free(), meta.bounds()).unwrap_or_else(|error| {
        faults.push(error.to_string());
        InlineFree::default()
    });
    let mut pending = Vec::new();
    for group in &free.pending {
        match group.unpack(meta.bounds()) {
            Err(error) => faults.push(error.to_string()),
            Ok(group) => pending.push(group),
        }
    }
    Fields {
        checksum: hex64(bytes.first_chunk().map_or(0, mapledb_format::meta::stored_sum)),
        version: mapledb_format::meta::FORMAT_VERSION,
        page_size: meta.page_size.bytes(),
        compatible_flags: hex32(meta.compatible),
        read_only_compatible_flags: hex32(meta.read_only_compatible),
        incompatible_flags: hex32(meta.incompatible),
        identity: meta.identity.to_string(),
        txnid: head.txnid.get(),
        base_txnid: head.base_txnid.get(),
        pages_used: head.pages_used.get(),
        committed_at: time::rfc3339(head.committed_at),
        default_sequence: head.default_sequence,
        trees: vec![
            tree("default table", &head.default_table),
            tree("catalog", &head.catalog),
            tree("free space", &head.free),
            tree("snapshots", &head.snapshots),
        ],
        free_available: free.available.iter().map(extent).collect(),
        free_pending: pending
            .iter()
            .map(|group| PendingReport {
                blocker: group.blocker.get(),
                freed: group.freed.get(),
                extents: group
                    .extents
                    .iter()
                    .map(|freed| FreedReport {
                        first: freed.extent.first.get(),
                        pages: freed.extent.pages,
                        born: freed.born.get(),
                    })
                    .collect(),
            })
            .collect(),
        manifest_pages: meta.manifest.pages,
        manifest_digest: hex64(meta.manifest.digest),
        manifest: manifest.iter().map(extent).collect(),
    }
}

fn extent(extent: &Extent) -> ExtentReport {
    ExtentReport { first: extent.first.get(), pages: extent.pages }
}

fn tree(name: &'static str, record: &TreeRecord) -> TreeReport {
    TreeReport {
        tree: name,
        root: (!record.is_empty()).then(|| record.root.get()),
        tag: hex32(record.root_tag),
        depth: record.depth,
        order: match record.order {
            OrderId::Bytewise => "bytewise",
            OrderId::Reverse => "reverse",
            OrderId::Integer => "integer",
            OrderId::Named => "named",
        },
        entries: record.entries,
        leaf_pages: record.leaf_pages,
        branch_pages: record.branch_pages,
        overflow_pages: record.overflow_pages,
    }
}

/// Prints a meta for people.
pub fn in_words(report: &MetaReport, output: &mut Output) -> Result<(), Failure> {
    let mut fields = vec![("meta", report.meta.clone()), ("offset", table::size(report.offset_bytes))];
    let Some(found) = &report.fields else {
        return table::fields(output, fields);
    };
    fields.extend([
        ("checksum", found.checksum.clone()),
        ("version", found.version.to_string()),
        ("page size", found.page_size.to_string()),
        ("compatible flags", found.compatible_flags.clone()),
        ("read-only-compatible flags", found.read_only_compatible_flags.clone()),
        ("incompatible flags", found.incompatible_flags.clone()),
        ("identity", found.identity.clone()),
        ("txnid", found.txnid.to_string()),
        ("base txnid", found.base_txnid.to_string()),
        ("pages used", found.pages_used.to_string()),
        ("committed at", found.committed_at.clone()),
        ("default table's sequence", found.default_sequence.to_string()),
        ("free, available", extents(&found.free_available)),
        ("free, pending", pending(&found.free_pending)),
        ("manifest", extents(&found.manifest)),
        ("manifest checksums", found.manifest_pages.to_string()),
        ("manifest digest", found.manifest_digest.clone()),
    ]);
    table::fields(output, fields)?;
    output.line("")?;
    trees(&found.trees, output)
}

fn trees(trees: &[TreeReport], output: &mut Output) -> Result<(), Failure> {
    use table::Column::{Numbers, Words};
    let columns = [
        Words("tree"),
        Numbers("root"),
        Words("tag"),
        Numbers("depth"),
        Words("order"),
        Numbers("entries"),
        Numbers("leaf pages"),
        Numbers("branch pages"),
        Numbers("overflow pages"),
    ];
    let rows = trees.iter().map(|tree| {
        [
            tree.tree.to_owned(),
            tree.root.map_or_else(|| "-".to_owned(), |root| root.to_string()),
            tree.tag.clone(),
            tree.depth.to_string(),
            tree.order.to_owned(),
            table::count(tree.entries),
            table::count(tree.leaf_pages),
            table::count(tree.branch_pages),
            table::count(tree.overflow_pages),
        ]
    });
    table::rows(output, columns, rows)
}

/// `40, 44-47`.
fn extents(extents: &[ExtentReport]) -> String {
    if extents.is_empty() {
        return "none".to_owned();
    }
    let ranges: Vec<String> = extents.iter().map(|extent| range(extent.first, extent.pages)).collect();
    ranges.join(", ")
}

/// `40 (9 to 12, kept for 11)`: born in 9, freed in 12, and kept for snapshot 11.
fn pending(groups: &[PendingReport]) -> String {
    if groups.is_empty() {
        return "none".to_owned();
    }
    let one = |group: &PendingReport, freed: &FreedReport| {
        let pages = range(freed.first, freed.pages);
        format!("{pages} ({} to {}, kept for {})", freed.born, group.freed, group.blocker)
    };
    let all: Vec<String> =
        groups.iter().flat_map(|group| group.extents.iter().map(move |freed| one(group, freed))).collect();
    all.join(", ")
}

fn range(first: u64, pages: u64) -> String {
    if pages == 1 { first.to_string() } else { format!("{first}-{}", first.saturating_add(pages) - 1) }
}
