//! Conversions between media ticks and microseconds, in 64 bits and without overflow.

/// Microseconds in a second.
pub const US_PER_S: i64 = 1_000_000;

/// `ticks` of `timescale` in microseconds, rounded to the nearest.
pub fn ticks_to_us(ticks: i64, timescale: u32) -> i64 {
    scale(ticks, US_PER_S, i64::from(timescale))
}

/// `us` microseconds in ticks of `timescale`, rounded to the nearest.
pub fn us_to_ticks(us: i64, timescale: u32) -> i64 {
    scale(us, i64::from(timescale), US_PER_S)
}

fn scale(value: i64, to: i64, from: i64) -> i64 {
    let from = i128::from(from.max(1));
    let product = i128::from(value) * i128::from(to);
    let rounded = (product + product.signum() * from / 2) / from;
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn conversions_round_to_the_nearest() {
        assert_eq!(ticks_to_us(90_000, 90_000), 1_000_000);
        assert_eq!(ticks_to_us(1, 90_000), 11);
        assert_eq!(ticks_to_us(-1, 90_000), -11);
        assert_eq!(us_to_ticks(21_333, 48_000), 1024);
        assert_eq!(us_to_ticks(5, 0), 0);
    }

    proptest! {
        #[test]
        fn a_year_of_ticks_survives_a_round_trip(ticks in 0i64..90_000 * 86_400 * 365) {
            prop_assert!((us_to_ticks(ticks_to_us(ticks, 90_000), 90_000) - ticks).abs() <= 1);
        }

        #[test]
        fn no_time_overflows(ticks: i64, timescale: u32) {
            let _ = (ticks_to_us(ticks, timescale), us_to_ticks(ticks, timescale));
        }
    }
}
