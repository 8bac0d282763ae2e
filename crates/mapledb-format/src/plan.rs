//! Where to cut a node that is full, when its neighbour takes some of it, and when to join two that are not: decisions as pure
//! functions of sizes.

/// How a full node is cut in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPlan {
    /// How many cells stay on the left, the new one counted where it falls.
    pub left: usize,
}

/// Where the new cell falls decides what a good cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Anywhere: cut in the middle.
    Scattered,
    /// At the end of the last node of its level: leave the left one full, since more will follow.
    Appending,
}

/// Chooses the cut of cells of these `sizes` (slots counted in, the new cell among them) for nodes of `capacity` bytes.
///
/// Requires that no cell is larger than half of `capacity`, that the cells without the new one fit one node, and that
/// there are at least two: then a cut always exists. The middle is chosen by bytes.
pub fn split(sizes: &[usize], capacity: usize, growth: Growth) -> SplitPlan {
    let total: usize = sizes.iter().sum();
    let last = sizes.len().saturating_sub(1).max(1);
    if growth == Growth::Appending && total - sizes.last().copied().unwrap_or(0) <= capacity {
        return SplitPlan { left: last };
    }
    let mut left_bytes = 0;
    let mut best = None;
    for (index, size) in sizes.iter().enumerate().take(last) {
        left_bytes += size;
        let right_bytes = total - left_bytes;
        if left_bytes > capacity {
            break;
        }
        if right_bytes <= capacity {
            let uneven = left_bytes.abs_diff(right_bytes);
            match best {
                Some((_, least)) if least <= uneven => {}
                _ => best = Some((index + 1, uneven)),
            }
        }
    }
    SplitPlan { left: best.map_or(last, |(left, _)| left) }
}

/// Whether a neighbour with `room` of `capacity` bytes free is worth sharing a full node's cells with. Shared evenly, half of
/// that room is left for either, an eighth of a node at least: with less, the next few insertions would share again.
pub fn is_worth_sharing(room: usize, capacity: usize) -> bool {
    room >= capacity / 4
}

/// Chooses where to part the cells of two neighbours and a new one, of these `sizes`, slots counted in: how many go to the
/// left. As even as can be; `None` if no parting fits two nodes of `capacity` bytes.
pub fn share(sizes: &[usize], capacity: usize) -> Option<usize> {
    let total: usize = sizes.iter().sum();
    let SplitPlan { left } = split(sizes, capacity, Growth::Scattered);
    let left_bytes: usize = sizes.get(..left)?.iter().sum();
    let fits = left_bytes <= capacity && total - left_bytes <= capacity && left < sizes.len();
    fits.then_some(left)
}

/// Whether a node that uses `used` of `capacity` bytes is so empty that it looks for a neighbour to join.
pub fn is_sparse(used: usize, capacity: usize) -> bool {
    used < capacity / 3
}

/// Whether two neighbours that use `together` bytes become one node: it must leave some room, or the next insertion
/// would cut it again.
pub fn joins(together: usize, capacity: usize) -> bool {
    together <= capacity - capacity / 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_is_in_the_middle_by_bytes_or_at_the_end_when_appending() {
        let table = [
            (vec![10; 10], Growth::Scattered, 5),
            (vec![10; 10], Growth::Appending, 9),
            (vec![50, 10, 10, 10, 10, 10], Growth::Scattered, 1),
            (vec![45, 45, 30], Growth::Scattered, 1),
            (vec![50, 50], Growth::Appending, 1),
        ];
        for (sizes, growth, left) in table {
            assert_eq!(split(&sizes, 95, growth), SplitPlan { left }, "{sizes:?} {growth:?}");
        }
    }

    #[test]
    fn neighbours_share_evenly_what_fits_them() {
        assert_eq!(share(&[10; 12], 95), Some(6));
        assert_eq!(share(&[50, 10, 10, 10, 10, 10], 60), Some(1));
        assert_eq!(share(&[50, 50, 50], 95), None, "two of them fit nowhere");
        assert_eq!(share(&[10; 20], 95), None, "it is more than two nodes");
        assert!(is_worth_sharing(24, 96) && !is_worth_sharing(23, 96));
    }

    proptest! {
        #[test]
        fn both_halves_fit_and_neither_is_empty(
            sizes in prop::collection::vec(1usize..=500, 2..200),
            new in 1usize..=500,
            at: prop::sample::Index,
            appending: bool,
        ) {
            let capacity = 1000;
            let mut sizes: Vec<usize> = sizes
                .into_iter()
                .scan(0, |sum, size| { *sum += size; (*sum <= capacity).then_some(size) })
                .collect();
            let index = if appending { sizes.len() } else { at.index(sizes.len() + 1) };
            sizes.insert(index, new);
            prop_assume!(sizes.len() >= 2 && sizes.iter().sum::<usize>() > capacity);
            let growth = if appending { Growth::Appending } else { Growth::Scattered };
            let SplitPlan { left } = split(&sizes, capacity, growth);
            prop_assert!(left > 0 && left < sizes.len());
            prop_assert!(sizes[..left].iter().sum::<usize>() <= capacity);
            prop_assert!(sizes[left..].iter().sum::<usize>() <= capacity);
        }
    }
}
