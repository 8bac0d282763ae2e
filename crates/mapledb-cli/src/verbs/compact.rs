//! `maple compact FILE`: the file written afresh and put in its own place, while nobody else has it open.
//!
//! The file is held exclusively from before the copy is made until the copy has taken its name, so nobody can commit to
//! what is about to go. Whoever is killed on the way leaves the old file or the new one, and a draft beside it at most.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;
use mapledb::Env;
use mapledb_os::NamedDraft;
use serde::Serialize;

use crate::cli::Manner;
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::{interrupt, progress, table};

/// Write the file afresh without free space, while nobody else has it open
#[derive(Debug, Args)]
#[command(after_help = IN_PLACE)]
pub struct CompactArgs {
    /// The database
    file: PathBuf,
    /// Let go of the named snapshots, which the new file does not have; refused without this if there are any
    #[arg(long)]
    drop_snapshots: bool,
}

const IN_PLACE: &str = "\
Every table is written sorted and full to a new file, which then takes the place of the old one: the disk needs room for \
both until then. Only the latest state is written, so a file with named snapshots is refused unless they may go. The new \
file has the permissions and the owner of the old one, and an identity of its own. Refused while another process has the \
file open; beside others, \"maple trim\" gives free space back, and \"maple copy --compact\" makes a second file.";

#[derive(Debug, Serialize)]
struct Compacted {
    path: PathBuf,
    txnid: u64,
    entries: u64,
    pages: u64,
    bytes_before: u64,
    bytes: u64,
    dropped_snapshots: Vec<String>,
}

/// Does it.
pub fn run(args: &CompactArgs, manner: Manner) -> Result<(), Failure> {
    interrupt::catch()?;
    let env = door::open_alone(&args.file, manner)?;
    let path = env.path().to_owned();
    refuse_other_names(&path)?;
    let dropped_snapshots = snapshots(&env)?;
    if !args.drop_snapshots {
        refuse_to_drop(&path, &dropped_snapshots)?;
    }
    let bytes_before = len_bytes(&path)?;
    let draft = NamedDraft::beside(&path).map_err(|error| failure(error.into()))?;
    let copied = write_afresh(&env, draft.path(), manner)?;
    keep_owner(&path, draft.path())?;
    interrupt::check()?;
    draft.replace(&path).map_err(|error| failure(error.into()))?;
    door::close(env)?;
    let bytes = len_bytes(&path)?;
    let compacted = Compacted {
        path,
        txnid: copied.txnid,
        entries: copied.entries,
        pages: copied.pages,
        bytes_before,
        bytes,
        dropped_snapshots,
    };
    output::report(manner.json, &compacted, Compacted::in_words)
}

fn write_afresh(env: &Env, to: &Path, manner: Manner) -> Result<mapledb::CopyReport, Failure> {
    let bar = progress::bar(manner.quiet, 0, "entries");
    let copied = env.copy_to(to, true, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        !interrupt::is_requested()
    });
    bar.finish_and_clear();
    copied.map_err(failure)
}

fn snapshots(env: &Env) -> Result<Vec<String>, Failure> {
    Ok(env.snapshots().map_err(failure)?.into_iter().map(|snapshot| snapshot.name).collect())
}

/// What has a name is kept until its user drops it.
fn refuse_to_drop(path: &Path, snapshots: &[String]) -> Result<(), Failure> {
    if snapshots.is_empty() {
        return Ok(());
    }
    let (path, names) = (path.display(), named(snapshots));
    Err(Failure::file(format!(
        "{path} has {names}, and compacting keeps none: --drop-snapshots lets go of them, \"maple defrag\" does not"
    )))
}

/// The snapshots by their names, the first of them where there are many.
fn named(snapshots: &[String]) -> String {
    const NAMES_MAX: usize = 8;
    let names: Vec<String> = snapshots.iter().take(NAMES_MAX).map(|name| format!("{name:?}")).collect();
    let more = match snapshots.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = if snapshots.len() == 1 { "the snapshot" } else { "the snapshots" };
    format!("{what} {}{more}", names.join(", "))
}

/// A file of several names cannot be replaced under one of them: the others would keep the old one.
fn refuse_other_names(path: &Path) -> Result<(), Failure> {
    let names = about(path)?.nlink();
    if names <= 1 {
        return Ok(());
    }
    let why =
        format!("{} has {names} names (hard links), and the others would keep the old file", path.display());
    Err(Failure::file(format!("{why}: remove them first, or use \"maple copy --compact\"")))
}

fn keep_owner(of: &Path, on: &Path) -> Result<(), Failure> {
    let (wanted, has) = (about(of)?, about(on)?);
    if (wanted.uid(), wanted.gid()) == (has.uid(), has.gid()) {
        return Ok(());
    }
    chown(on, Some(wanted.uid()), Some(wanted.gid()))
        .map_err(|error| Failure::os("give its owner to the compacted copy of", of, error))
}

fn len_bytes(path: &Path) -> Result<u64, Failure> {
    about(path).map(|about| about.len())
}

fn about(path: &Path) -> Result<std::fs::Metadata, Failure> {
    path.metadata().map_err(|error| Failure::os("look up", path, error))
}

impl Compacted {
    fn in_words(&self, output: &mut Output) -> Result<(), Failure> {
        let (before, now) = (table::size(self.bytes_before), table::size(self.bytes));
        let entries = table::plural(self.entries, "entry", "entries");
        output.line(format!("compacted commit {}: {entries}; {before} became {now}", self.txnid))?;
        match self.dropped_snapshots.is_empty() {
            true => Ok(()),
            false => output.line(format!("let go of {}", named(&self.dropped_snapshots))),
        }
    }
}
