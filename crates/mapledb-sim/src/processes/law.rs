//! The law of process death: of what stands when nobody is there, and of what one reader sees, look after look.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use super::bank::{self, Broken, Line, Reads, Size};
use super::status::{Entry, Outcome, RunWord, Status};

/// What stands in the file.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The generation.
    pub generation: u64,
    /// The last commit's number.
    pub head: u64,
    /// The journal.
    pub lines: Vec<Line>,
}

impl Standing {
    /// What stands in a snapshot, which is audited.
    ///
    /// # Errors
    /// What does not hold of it.
    pub fn of(txn: &impl Reads, head: u64, size: &Size) -> Result<Standing, Broken> {
        Ok(Standing { generation: bank::audit(txn, size)?, head, lines: bank::journal(txn)? })
    }
}

/// What stands is a prefix of the order of commits, with every acknowledged commit, relaxed ones too, and nothing that was
/// given up; `gives_txnids_once` says that no transaction's number may have been given out twice. A log is what one
/// writer was told.
///
/// # Errors
/// How it is broken.
pub fn holds(standing: &Standing, logs: &[Vec<Entry>], gives_txnids_once: bool) -> Result<(), Broken> {
    let Standing { head, lines, .. } = standing;
    let mut order: Vec<_> = lines.iter().map(|line| (line.generation, line.txnid)).collect();
    order.sort_unstable();
    for (at, pair) in order.iter().enumerate() {
        if pair.0 != at as u64 + 1 {
            return Err(format!("generation {} is missing from the journal", at + 1));
        }
        if at > 0 && order[at - 1].1 >= pair.1 {
            return Err(format!("txnid {} comes after {}", pair.1, order[at - 1].1));
        }
    }
    let committed: HashMap<_, _> =
        lines.iter().map(|line| ((line.writer, line.number), line.txnid)).collect();
    let mut given_out = HashSet::new();
    let mut may_stand = HashSet::new();
    for (writer, log) in logs.iter().enumerate() {
        for entry in log {
            if !given_out.insert(entry.txnid) && gives_txnids_once {
                return Err(format!("txnid {} was given out twice", entry.txnid));
            }
            if matches!(entry.outcome, Outcome::Relaxed | Outcome::Durable)
                && committed.get(&(writer as u64, entry.number)) != Some(&entry.txnid)
            {
                return Err(format!("writer {writer}'s commit {entry:?} was acknowledged and is lost"));
            }
            if matches!(entry.outcome, Outcome::Relaxed | Outcome::Durable | Outcome::Committing) {
                may_stand.insert((writer as u64, entry.number, entry.txnid));
            }
        }
    }
    if let Some(line) = lines.iter().find(|line| !may_stand.contains(&(line.writer, line.number, line.txnid)))
    {
        return Err(format!("{line:?} stands and was never committed"));
    }
    let last = order.last().map_or(0, |last| last.1);
    match given_out.contains(head) && *head != last {
        true => Err(format!("txnid {head} stands again: it was given out, and the last commit is {last}")),
        false => Ok(()),
    }
}

/// What a process has seen, which never goes back.
#[derive(Debug, Default)]
pub struct Onlooker {
    last_seen: (u64, u64),
}

impl Onlooker {
    /// Audits the snapshot of transaction `txnid`, begun when generation `acknowledged` had been acknowledged. Answers
    /// its txnid and generation.
    ///
    /// # Errors
    /// What does not hold of it, or comes before what was seen.
    pub fn look(
        &mut self,
        txn: &impl Reads,
        txnid: u64,
        size: &Size,
        acknowledged: u64,
        status: &Status,
    ) -> Result<(u64, u64), Broken> {
        let generation = bank::audit(txn, size)?;
        if generation < acknowledged {
            return Err(format!("generation {generation} is read after {acknowledged} was acknowledged"));
        }
        status.run(RunWord::Seen).fetch_max(generation, Ordering::SeqCst);
        let now = (txnid, generation);
        if now.0 < self.last_seen.0 || now.1 < self.last_seen.1 {
            return Err(format!("(txnid, generation) {now:?} is read after {:?}", self.last_seen));
        }
        self.last_seen = now;
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two writers: the first made commits 1 and 3, the second commit 2 and gave one up.
    fn sound() -> (Standing, Vec<Vec<Entry>>) {
        let line = |writer, number, generation| Line { writer, number, generation, txnid: generation + 10 };
        let lines = vec![line(0, 0, 1), line(0, 1, 3), line(1, 0, 2)];
        let entry = |number, txnid, outcome| Entry { txnid, number, outcome };
        let first = vec![entry(0, 11, Outcome::Durable), entry(1, 13, Outcome::Committing)];
        let second = vec![entry(0, 12, Outcome::Relaxed), entry(1, 14, Outcome::Aborted)];
        (Standing { generation: 3, head: 13, lines }, vec![first, second])
    }

    fn refusal(standing: &Standing, logs: &[Vec<Entry>]) -> String {
        holds(standing, logs, true).expect_err("the law is broken")
    }

    #[test]
    fn what_was_told_and_what_stands_agree() {
        let (standing, mut logs) = sound();
        assert_eq!(holds(&standing, &logs, true), Ok(()));
        // Not even committing is known of a writer that died before it stored so, or after.
        logs[1].push(Entry { txnid: 15, number: 1, outcome: Outcome::Begun });
        assert_eq!(holds(&standing, &logs, true), Ok(()));
    }

    #[test]
    fn a_lost_commit_is_told_by_the_log() {
        let (mut standing, mut logs) = sound();
        logs[1].push(Entry { txnid: 15, number: 1, outcome: Outcome::Durable });
        assert!(refusal(&standing, &logs).contains("was acknowledged and is lost"));
        logs[1].pop();
        // In the middle of the order, whoever acknowledged it.
        standing.lines.retain(|line| line.generation != 2);
        assert!(refusal(&standing, &logs).contains("generation 2 is missing"));
    }

    #[test]
    fn what_was_given_up_may_not_stand() {
        let (mut standing, logs) = sound();
        standing.lines.push(Line { writer: 1, number: 1, generation: 4, txnid: 14 });
        assert!(refusal(&standing, &logs).contains("was never committed"));
    }

    #[test]
    fn a_txnid_is_given_out_once_where_the_engine_promises_it() {
        let (standing, mut logs) = sound();
        logs[0].push(Entry { txnid: 14, number: 2, outcome: Outcome::Begun });
        assert!(refusal(&standing, &logs).contains("given out twice"));
        assert_eq!(holds(&standing, &logs, false), Ok(()));
    }
}
