//! The orders that units are read in.

use rand::SeedableRng;
use rand::distr::{Distribution, Uniform};
use rand::rngs::SmallRng;
use rand_distr::Zipf;
use serde::{Deserialize, Serialize};

/// The exponent of the skewed order: that of YCSB's default.
const SKEW: f64 = 0.99;

/// A prime that scatters the hot units of the skewed order over the file; larger than any number of units, so
/// that it has no factor in common with one.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c55;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Every unit as likely as any other.
    Uniform,
    /// By Zipf's law, the hot ones scattered over the file.
    Skewed,
    /// One after the other; each thread begins in a part of its own.
    Sequential,
}

impl Order {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Order::Uniform => "uniform",
            Order::Skewed => "skewed",
            Order::Sequential => "sequential",
        }
    }

    /// The numbers below `units` that each of `threads` threads reads, `length` of them, in round `round`.
    pub fn indexes(self, units: u64, threads: usize, length: usize, seed: u64) -> Vec<Vec<u64>> {
        let of = |thread: usize| self.of_thread(units, threads, thread, length, seed);
        (0..threads).map(of).collect()
    }

    fn of_thread(self, units: u64, threads: usize, thread: usize, length: usize, seed: u64) -> Vec<u64> {
        let mut random = SmallRng::seed_from_u64(seed << 8 | thread as u64);
        match self {
            Order::Uniform => {
                let any = Uniform::new(0, units).expect("there is a unit");
                any.sample_iter(&mut random).take(length).collect()
            }
            Order::Skewed => {
                let ranks = Zipf::new(units as f64, SKEW).expect("the exponent is positive");
                ranks
                    .sample_iter(&mut random)
                    .take(length)
                    .map(|rank| scattered(rank as u64 - 1, units))
                    .collect()
            }
            Order::Sequential => {
                let first = units / threads as u64 * thread as u64 + seed.wrapping_mul(length as u64);
                (first..).take(length).map(|index| index % units).collect()
            }
        }
    }
}

/// Where rank `rank` of the skewed order lies.
fn scattered(rank: u64, units: u64) -> u64 {
    (u128::from(rank) * u128::from(SCATTER) % u128::from(units)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [Order; 3] = [Order::Uniform, Order::Skewed, Order::Sequential];

    #[test]
    fn a_seed_gives_the_same_numbers_and_all_of_them_exist() {
        for order in ORDERS {
            let indexes = order.indexes(1000, 3, 5000, 7);
            assert_eq!(indexes, order.indexes(1000, 3, 5000, 7));
            assert_ne!(indexes[0], indexes[1]);
            assert!(indexes.iter().flatten().all(|&index| index < 1000));
        }
    }

    #[test]
    fn scattering_moves_every_rank_somewhere_else() {
        let mut places: Vec<u64> = (0..4096).map(|rank| scattered(rank, 4096)).collect();
        assert_ne!(places, (0..4096).collect::<Vec<_>>());
        places.sort_unstable();
        assert_eq!(places, (0..4096).collect::<Vec<_>>());
    }

    #[test]
    fn a_tenth_of_the_units_gets_most_skewed_reads_and_a_tenth_of_the_uniform_ones() {
        let share = |order: Order| {
            let mut reads = vec![0; 1000];
            order.indexes(1000, 1, 20_000, 1)[0].iter().for_each(|&index| reads[index as usize] += 1);
            reads.sort_unstable_by(|left, right| right.cmp(left));
            reads[..100].iter().sum::<u64>() as f64 / 20_000.0
        };
        assert!(share(Order::Skewed) > 0.6, "{}", share(Order::Skewed));
        assert!(share(Order::Uniform) < 0.2, "{}", share(Order::Uniform));
    }
}
