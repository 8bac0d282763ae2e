//! Why another engine is ahead where one is, and what it would take to change that.
//!
//! A sentence for each kind of measure, not for each peer: what MapleDB does that costs this. Figures are in the rows. A row without a sentence is a finding without an explanation, and the report says so.

/// What is said of some measures.
pub struct Reason {
    /// How the names of the measures begin.
    measures: &'static [&'static str],
    /// What they have in common.
    pub title: &'static str,
    /// Why another may be ahead.
    pub why: &'static str,
    /// What it would take.
    pub remedy: &'static str,
}

/// The first that fits a measure is the one for it.
const REASONS: [Reason; 14] = [
    Reason {
        measures: &["point read of a value of 1 MB", "durable puts of 1 MB", "churn of large values"],
        title: "values of many pages",
        why: "A value is summed chunk by chunk before it is written, and its pages are synced through the map; a read checks the header of \
              its run.",
        remedy: "Summing and writing a chunk while it is in the cache; syncing what was written by its range alone.",
    },
    Reason {
        measures: &["overwrite, 100 per", "durable batches of 1,000"],
        title: "scattered overwrites in one commit",
        why: "An engine with a log appends the entries alone and sorts them later. A copy-on-write \
              tree writes the leaf and branch of each, nearly two pages for every put of a hundred, makes them present, and syncs them.",
        remedy: "A buffer in front of the tree that every reader looks into; short of that, runs kept long by moving what is \
                 left in sparse ones.",
    },
    Reason {
        measures: &["delete"],
        title: "deletes",
        why: "An engine with a log writes a mark for what is deleted and clears it away later; here the pages of each entry \
              are rewritten, or walked and freed, at once.",
        remedy: "As for overwrites. Subtrees could be freed unread if branches told the age of what is below them.",
    },
    Reason {
        measures: &["durable commit", "bytes dirtied", "bytes to the device"],
        title: "durable commits of one put",
        why: "A commit writes the pages of its path and a meta, four pages here; a write-ahead log writes a record of one or \
              two, and appends those of many threads to the same block. Where threads share a commit (batch) it writes a leaf and \
              nearly a branch for each of them, in short runs all over the file, so the disk's rate of small writes bounds it; \
              and a flight over commits of several processes takes two syncs.",
        remedy: "Longer runs: pages written in one run cost the disk a fourth of what they cost singly. A list in shared memory of the pages that \
                 each process has written, so that one sync can vouch for them all.",
    },
    Reason {
        measures: &["nested transaction", "savepoint"],
        title: "transactions within a transaction",
        why: "What is taken back leaves every own page and all of free space exactly as it was: an older page is copied before it is \
              changed, and new ones go back to where they were taken from.",
        remedy: "A profile, which has not been made: beginning one touches no page.",
    },
    Reason {
        measures: &["relaxed commit", "YCSB"],
        title: "commits without a sync",
        why: "Each commit copies its path, seals its pages, and puts a whole head into shared memory, so that no crash of a \
              process or the system can damage the file. LMDB without syncs on a \
              writable map copies too, but sums nothing and may leave a file that cannot be opened; engines with a log \
              append to a buffer.",
        remedy: "A sync that does not hold the writer lock was tried, and commits took half as long again on two cores, it seems because \
                 each page that it writes is taken from the map of a thread that runs. Fewer such pages: runs of \
                 overwritten leaves kept together.",
    },
    Reason {
        measures: &["insertion of pairs", "all duplicates", "file size of a multimap"],
        title: "multimaps",
        why: "A pair that goes into a leaf rewrites its sub-page there, and one that goes into a tree of duplicates changes the \
              counts of two trees, which others do not keep.",
        remedy: "Finding the place in a sub-page by heads, as in a leaf.",
    },
    Reason {
        measures: &["random insertion", "sorted load"],
        title: "loads in one transaction",
        why: "New pages are filled with zeros, populated and stored to through the map; those of unsorted input are summed \
              at the end, and only then written.",
        remedy: "Writing the finished pages of a large transaction by `pwrite`, which would spare them the zeros and the map.",
    },
    Reason {
        measures: &["file size", "file to live data"],
        title: "file sizes",
        why: "A pair takes a slot of 8 bytes with the head of its key and starts at a multiple of 8; copy-on-write keeps the \
              pages of both metas' states and of every reader's. With a pinned reader a database is there as \
              the reader sees it, as it stands, and as far as the last commits have changed it, which is much of a small one. Engines that \
              rewrite in place or merge sorted files keep one.",
        remedy: "Keys without their prefix in leaves, which could not be handed out in place.",
    },
    Reason {
        measures: &["warm open", "cold recovery"],
        title: "opening",
        why: "Opening joins or makes the shared memory, takes locks that survive no process, compares the files' identities, \
              maps the file twice, and verifies the pages that the newest meta vouches for.",
        remedy: "Believing a clean close, whose mark is in the lock file, without that last step.",
    },
    Reason {
        measures: &["cold random read", "bytes read per cold", "random reads/s, a third"],
        title: "cold reads",
        why: "A lookup reads the leaf and, until it is in memory, the branch above it; an engine whose indexes are in its own \
              memory reads one block.",
        remedy: "Keeping branches in memory by lock or by a walk at opening.",
    },
    Reason {
        measures: &["miss"],
        title: "lookups of what is not there",
        why: "A filter of bits tells without a look at the data; a tree goes down to the leaf.",
        remedy: "A filter in front of each leaf, for which its parent has no room.",
    },
    Reason {
        measures: &["multi_get"],
        title: "many keys at once, in the processor's cache",
        why: "Lookups side by side hide the wait for memory; where there is none, sorting them out costs what it saves.",
        remedy: "Going down one by one while the pages of the first few lookups come from the cache.",
    },
    Reason {
        measures: &["point read", "begin and end", "range", "full scan", "count"],
        title: "reads",
        why: "Each page is held against its reference and the memo of verified pages, and a read pins its snapshot in shared \
              memory.",
        remedy: "A transaction kept and renewed, so that a read begins with the pin alone.",
    },
];

/// What is said of `measure`.
pub fn of(measure: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| reason.measures.iter().any(|beginning| measure.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_beginning_that_fits_decides() {
        assert_eq!(
            of("point read of a value of 1 MB").map(|reason| reason.title),
            Some("values of many pages")
        );
        assert_eq!(of("point read, L2").map(|reason| reason.title), Some("reads"));
        assert!(of("something nobody has measured").is_none());
    }

    #[test]
    fn every_row_of_the_published_results_in_which_another_is_ahead_is_explained() {
        let published =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks/results.json");
        let results = crate::results::Results::load(&published).expect("published results");
        let unexplained: Vec<_> =
            crate::report::behind(&results).into_iter().filter(|(reason, _)| reason.is_none()).collect();
        let rows: Vec<_> = unexplained.into_iter().flat_map(|(_, rows)| rows).collect();
        assert!(rows.is_empty(), "{rows:#?}");
    }
}
