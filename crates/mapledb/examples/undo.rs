//! Undo and redo by named snapshots: each change of a document names the state it leaves, and going back is a rollback.
//!
//! ```sh
//! cargo run --package mapledb --example undo
//! ```

use mapledb::{Env, Error, Result, Table};

const LINES: Table<'static, u32, str> = Table::new("lines");

/// A document whose changes can be taken back and made again, across restarts too.
struct Document {
    env: Env,
    /// The change that the document shows.
    at: u32,
    /// The last change that can be made again.
    last: u32,
}

/// Changes that can be taken back; what older ones hold is given up.
const STEPS_MAX: u32 = 3;

fn name(change: u32) -> String {
    format!("change {change:06}")
}

impl Document {
    fn open(env: Env) -> Result<Document> {
        let mut txn = env.write()?;
        txn.open_table(&LINES)?;
        txn.create_snapshot(&name(0))?;
        txn.commit()?;
        Ok(Document { env, at: 0, last: 0 })
    }

    /// Writes a line. The change and the name of the state after it become durable together.
    fn write(&mut self, line: u32, text: &str) -> Result<()> {
        let mut txn = self.env.write()?;
        txn.open_table(&LINES)?.put(&line, text)?;
        for undone in self.at + 1..=self.last {
            txn.drop_snapshot(&name(undone))?;
        }
        self.at += 1;
        self.last = self.at;
        txn.create_snapshot(&name(self.at))?;
        if let Some(old) = self.at.checked_sub(STEPS_MAX + 1) {
            txn.drop_snapshot(&name(old))?;
        }
        txn.commit().map(drop)
    }

    /// Shows the state after another change; false if it is not kept.
    fn go_to(&mut self, change: Option<u32>) -> Result<bool> {
        let Some(change) = change.filter(|change| *change <= self.last) else { return Ok(false) };
        match self.env.roll_back(&name(change)) {
            Ok(_) => self.at = change,
            Err(Error::SnapshotMissing { .. }) => return Ok(false),
            Err(other) => return Err(other),
        }
        Ok(true)
    }

    fn undo(&mut self) -> Result<bool> {
        self.go_to(self.at.checked_sub(1))
    }

    fn redo(&mut self) -> Result<bool> {
        self.go_to(self.at.checked_add(1))
    }

    fn text(&self) -> Result<String> {
        let txn = self.env.read()?;
        let lines = txn.table(&LINES)?;
        let lines: Result<Vec<&str>> = lines.iter()?.map(|line| line.map(|(_, text)| text)).collect();
        Ok(lines?.join(" / "))
    }
}

fn main() -> Result<()> {
    run()
}

/// A few changes, taken back and made again.
pub fn run() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(dir.path().join("document.maple")) }?;
    let mut document = Document::open(env)?;
    for (line, text) in
        ["maples", "are red", "in autumn", "and green in May", "where it rains"].into_iter().enumerate()
    {
        document.write(line as u32, text)?;
    }
    println!("written:       {}", document.text()?);
    let mut undone = 0;
    while document.undo()? {
        undone += 1;
        println!("undo:          {}", document.text()?);
    }
    assert_eq!((undone, document.text()?.as_str()), (STEPS_MAX, "maples / are red"));
    assert!(document.redo()?);
    println!("redo:          {}", document.text()?);
    document.write(1, "are yellow")?;
    assert!(!document.redo()?, "another change was made since");
    println!("written anew:  {}", document.text()?);
    assert_eq!(document.text()?, "maples / are yellow / in autumn");
    for snapshot in document.env.snapshots()? {
        println!(
            "{}: keeps {} bytes, {} of them alone",
            snapshot.name, snapshot.retained_bytes, snapshot.alone_bytes
        );
    }
    document.env.check(|_| ()).map(|report| assert!(report.is_clean()))
}
