//! Embedding vectors, read in place: the nearest neighbours of a vector, by all cores, without copying or decoding.
//!
//! A vector of 384 numbers is a plain record, 1,536 bytes. Reading gives `&[f32; 384]` into the map, so a search touches each vector
//! once, where the page cache holds it, and several processes share that memory. `split` cuts the table into even parts by
//! subtree counts, one for each thread.
//!
//! ```sh
//! cargo run --release --package mapledb-examples --bin embeddings -- 50000
//! ```

use std::thread;
use std::time::Instant;

use mapledb::{Env, Pod, Range, Result, Table};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const DIMENSIONS: usize = 384;
type Vector = [f32; DIMENSIONS];

const VECTORS: Table<'static, u64, Pod<Vector>> = Table::new("vectors");
const TITLES: Table<'static, u64, str> = Table::new("titles");

/// A document, and how alike it is: the cosine of the angle, since all vectors have length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hit {
    id: u64,
    likeness: f32,
}

fn main() -> Result<()> {
    let count: u64 = std::env::args().nth(1).map_or(5_000, |text| text.parse().expect("a number of vectors"));
    let dir = tempfile::tempdir().expect("a directory");
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(dir.path().join("vectors.maple")) }?;
    store(&env, count)?;

    let txn = env.read()?;
    let vectors = txn.table(&VECTORS)?;
    let sought = vectors.get(&(count / 2))?.expect("it was stored");
    assert_eq!(sought.as_ptr().align_offset(align_of::<f32>()), 0);

    let threads = thread::available_parallelism().map_or(2, usize::from);
    let began = Instant::now();
    let hits = nearest(vectors.iter()?.split(threads)?, sought, 5)?;
    println!("{count} vectors compared in {:?} by {threads} threads", began.elapsed());
    let titles = txn.table(&TITLES)?;
    for hit in &hits {
        println!("{:.3}  {}", hit.likeness, titles.get(&hit.id)?.expect("every vector has a title"));
    }
    assert_eq!(hits[0].id, count / 2, "nothing is more like a vector than itself");
    assert_eq!(hits, nearest(vec![vectors.iter()?], sought, 5)?, "one thread finds the same");
    drop(txn);
    assert!(env.check(|_| {})?.is_clean());
    env.close()
}

/// Stores vectors and titles in one transaction, in order.
fn store(env: &Env, count: u64) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(7);
    let mut txn = env.write()?;
    let mut vectors = txn.open_table(&VECTORS)?;
    for id in 0..count {
        let vector: Vector = std::array::from_fn(|_| random.random_range(-1.0..1.0));
        vectors.append(&id, &Pod(normalised(&vector)))?;
    }
    let mut titles = txn.open_table(&TITLES)?;
    for id in 0..count {
        titles.append(&id, &format!("document {id}"))?;
    }
    txn.commit().map(drop)
}

fn normalised(vector: &Vector) -> Vector {
    let length = dot(vector, vector).sqrt();
    vector.map(|part| part / length)
}

/// In sixteen sums at a time, which the compiler makes vector instructions of.
fn dot(a: &Vector, b: &Vector) -> f32 {
    let mut sums = [0.0f32; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// The `count` vectors of all parts that are most like `sought`, the most like first. A thread for each part.
fn nearest(parts: Vec<Range<'_, u64, Pod<Vector>>>, sought: &Vector, count: usize) -> Result<Vec<Hit>> {
    let mut best = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || nearest_of(part, sought, count))).collect();
        threads.into_iter().try_for_each(|thread| {
            best.extend(thread.join().expect("a search does not panic")?);
            Ok::<_, mapledb::Error>(())
        })
    })?;
    keep_best(&mut best, count);
    Ok(best)
}

fn nearest_of(part: Range<'_, u64, Pod<Vector>>, sought: &Vector, count: usize) -> Result<Vec<Hit>> {
    let mut best = Vec::with_capacity(2 * count);
    for entry in part {
        let (id, vector) = entry?;
        best.push(Hit { id, likeness: dot(vector, sought) });
        if best.len() == 2 * count {
            keep_best(&mut best, count);
        }
    }
    keep_best(&mut best, count);
    Ok(best)
}

fn keep_best(hits: &mut Vec<Hit>, count: usize) {
    hits.sort_by(|a, b| b.likeness.total_cmp(&a.likeness).then(a.id.cmp(&b.id)));
    hits.truncate(count);
}
