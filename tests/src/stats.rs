//! Percentiles.

use serde::Serialize;

/// A sample's percentiles, in its own unit; all 0 for an empty sample.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// How many values there were.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Percentiles {
    /// Of these values, in any order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return Self::default() };
        // The smallest value that at least so many per cent of all values do not exceed.
        let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1).min(last)];
        Self { count: sorted.len(), min: sorted[0], p50: at(50), p95: at(95), p99: at(99), max: sorted[last] }
    }
}

#[cfg(test)]
mod tests {
    use super::Percentiles;

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let p = Percentiles::of((1..=100).rev().map(f64::from));
        assert_eq!((p.count, p.min, p.p50, p.p95, p.p99, p.max), (100, 1.0, 50.0, 95.0, 99.0, 100.0));
        let p = Percentiles::of([3.0]);
        assert_eq!((p.min, p.p50, p.p99), (3.0, 3.0, 3.0));
        assert_eq!(Percentiles::of([]).count, 0);
    }

    #[test]
    fn ten_values_have_their_largest_as_95th_percentile() {
        let p = Percentiles::of((1..=10).map(f64::from));
        assert_eq!((p.p50, p.p95), (5.0, 10.0));
    }
}
