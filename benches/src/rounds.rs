//! Rounds that alternate between the sides of a comparison, and what their samples say.

use crate::Result;

/// One side of a comparison: its name, and what it measures in a round: `N` figures at once, where one
/// piece of work answers several questions.
pub struct Side<'a, const N: usize> {
    /// The name in tables and JSON.
    pub name: String,
    /// Measures round n.
    pub run: Box<dyn FnMut(usize) -> Result<[f64; N]> + 'a>,
}

impl<'a, const N: usize> Side<'a, N> {
    /// A side.
    pub fn new(name: &str, run: impl FnMut(usize) -> Result<[f64; N]> + 'a) -> Self {
        Self { name: name.to_owned(), run: Box::new(run) }
    }
}

/// What one side measured for one question, a sample a round.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Whose they are.
    pub side: String,
    /// In the order of the rounds.
    pub values: Vec<f64>,
}

impl Samples {
    /// The median.
    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    /// Only the sample of one round.
    pub fn only(&self, round: usize) -> Samples {
        Samples { side: self.side.clone(), values: vec![self.values[round]] }
    }

    /// The last sample by the first.
    pub fn last_to_first(&self) -> Samples {
        let share = match self.values[..] {
            [first, .., last] => last / first,
            _ => f64::NAN,
        };
        Samples { side: self.side.clone(), values: vec![share] }
    }

    /// The smallest and the largest.
    pub fn spread(&self) -> (f64, f64) {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        (low, self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// These figures by those of `base`: the median of the rounds' own quotients, not the quotient of the
    /// medians. What slowed a whole round down cancels out of its quotient.
    pub fn by(&self, base: &Samples) -> f64 {
        let quotients: Vec<f64> =
            self.values.iter().zip(&base.values).map(|(own, base)| own / base).collect();
        median(&quotients)
    }
}

/// The middle by rank; of an even number of values the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Runs every side once in each of `rounds` rounds, after `warm_up` rounds that are not counted. The side
/// that begins changes with the round, so that none always finds the caches or the disk as another left
/// them. Returns, for each of the `N` questions, the samples of every side.
pub fn alternate<const N: usize>(
    warm_up: usize,
    rounds: usize,
    mut sides: Vec<Side<'_, N>>,
) -> Result<[Vec<Samples>; N]> {
    let empty = || sides.iter().map(|side| Samples { side: side.name.clone(), values: Vec::new() }).collect();
    let mut samples: [Vec<Samples>; N] = std::array::from_fn(|_| empty());
    let count = sides.len();
    for round in 0..warm_up + rounds {
        for turn in 0..count {
            let index = (turn + round) % count;
            let figures = (sides[index].run)(round)?;
            if round < warm_up {
                continue;
            }
            for (question, figure) in figures.into_iter().enumerate() {
                samples[question][index].values.push(figure);
            }
        }
    }
    Ok(samples)
}

/// The value below which `share` of `values` lie, by the nearest rank.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_alternate_and_the_warm_up_is_not_counted() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name: &'static str| {
            let order = &order;
            Side::new(name, move |round| {
                order.borrow_mut().push_str(name);
                Ok([round as f64])
            })
        };
        let [samples] = alternate(1, 3, vec![side("A"), side("B")]).unwrap();
        assert_eq!(*order.borrow(), "ABBAABBA");
        assert_eq!(samples[0].values, [1.0, 2.0, 3.0]);
        assert_eq!(samples[1].side, "B");
    }

    #[test]
    fn medians_spreads_and_percentiles_are_by_rank() {
        let of = |values: &[f64]| Samples { side: String::new(), values: values.to_vec() };
        assert_eq!(of(&[5.0, 1.0, 3.0]).median(), 3.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(of(&[4.0, 1.0, 2.0]).spread(), (1.0, 4.0));
        assert_eq!(of(&[2.0, 30.0, 4.0]).by(&of(&[1.0, 10.0, 4.0])), 2.0);
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 50.0);
        assert_eq!(percentile(&mut values, 0.99), 99.0);
        assert_eq!(percentile(&mut [7.0], 0.5), 7.0);
    }
}
