//! Full-text search: the postings of each word are the duplicates of its key, packed, and are intersected a page at a time.
//!
//! `POSTINGS` maps a word to the numbers of the documents it stands in. A word has few or millions: they are one multimap all the
//! same. A search takes the rarest word first, which a count of its duplicates tells for a descent, and looks the others up.
//!
//! ```sh
//! cargo run --release --package mapledb-examples --bin postings -- 20000
//! ```

use mapledb::{Env, Multimap, ReadTxn, Result, Table};

const DOCUMENTS: Table<'static, u64, str> = Table::new("documents");
const POSTINGS: Multimap<'static, str, u64> = Multimap::new("postings");

fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(20_000, |text| text.parse().expect("a number of documents"));
    let dir = tempfile::tempdir().expect("a directory");
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(dir.path().join("search.maple")) }?;
    let mut txn = env.write()?;
    for number in 0..count {
        let text = document(number);
        txn.open_table(&DOCUMENTS)?.append(&number, &text)?;
        let mut postings = txn.open_multimap(&POSTINGS)?;
        for word in text.split(' ') {
            postings.insert(word, &number)?;
        }
    }
    txn.commit()?;

    let txn = env.read()?;
    let stat = txn.multimap(&POSTINGS)?.stat();
    println!(
        "{count} documents, {} postings in {} pages",
        stat.entries,
        stat.leaf_pages + stat.overflow_pages
    );
    let found = search(&txn, &["even", "third", "tenth"])?;
    let expected: Vec<u64> = (0..count).filter(|number| number % 30 == 0).collect();
    assert_eq!(found, expected);
    println!("{} documents have all of: even third tenth", found.len());
    println!(
        "the last of them: {}",
        txn.table(&DOCUMENTS)?.get(&found[found.len() - 1])?.expect("it was stored")
    );
    println!(
        "of the word even: {} documents by bulk, {} by count",
        bulk(&txn, "even")?,
        txn.multimap(&POSTINGS)?.count_of("even")?
    );
    Ok(())
}

/// A document that says of its number what there is to say.
fn document(number: u64) -> String {
    let facts = [(2, "even"), (3, "third"), (10, "tenth"), (997, "rare")];
    let said = facts.iter().filter(|(divisor, _)| number.is_multiple_of(*divisor)).map(|(_, word)| *word);
    std::iter::once("number").chain(said).collect::<Vec<_>>().join(" ")
}

/// The documents in which all of these words stand.
fn search(txn: &ReadTxn, words: &[&str]) -> Result<Vec<u64>> {
    let postings = txn.multimap(&POSTINGS)?;
    let mut counted = Vec::new();
    for word in words {
        counted.push((postings.count_of(word)?, *word));
    }
    counted.sort_unstable();
    let Some(((_, rarest), others)) = counted.split_first() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    'documents: for document in postings.get(rarest)? {
        let document = document?;
        for (_, word) in others {
            if !postings.contains(word, &document)? {
                continue 'documents;
            }
        }
        found.push(document);
    }
    Ok(found)
}

/// How many documents a word stands in, counted on slices of whole pages.
fn bulk(txn: &ReadTxn, word: &str) -> Result<usize> {
    txn.multimap(&POSTINGS)?.arrays::<8>(word)?.map(|page| page.map(<[_]>::len)).sum()
}
