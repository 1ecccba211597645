//! Bits of a header from a peer, most significant first. Reading past the end gives nothing and never panics.

/// Reads bits from the beginning of some bytes on.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// The next `count` bits, at most 32.
    pub(crate) fn read(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// Leaves out `count` bits.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        let at = self.at.checked_add(count as usize)?;
        (at <= self.bytes.len() * 8).then(|| self.at = at)
    }

    /// `ue(v)`: an unsigned Exp-Golomb code (ITU-T H.265, 9.2). At most 2^32 - 2.
    pub(crate) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1 + u64::from(self.read(zeros)?)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_come_most_significant_first_and_end_with_the_bytes() {
        let mut bits = Bits::new(&[0b1010_0000, 0xff]);
        assert_eq!((bits.flag(), bits.read(3), bits.read(8)), (Some(true), Some(2), Some(0x0f)));
        assert_eq!((bits.skip(5), bits.read(5), bits.read(4), bits.flag()), (None, None, None, None));
    }

    #[test]
    fn exp_golomb_codes_are_those_of_the_standards_table() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let codes: Vec<_> = std::iter::from_fn(|| bits.exp_golomb()).take(5).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let longest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Bits::new(&longest).exp_golomb(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0; 9]).exp_golomb(), None);
    }

    proptest! {
        #[test]
        fn no_reading_panics(bytes: Vec<u8>, steps in proptest::collection::vec((0u8..4, 0u32..33), 0..50)) {
            let mut bits = Bits::new(&bytes);
            for (step, count) in steps {
                match step {
                    0 => drop(bits.read(count)),
                    1 => drop(bits.skip(count)),
                    2 => drop(bits.exp_golomb()),
                    _ => drop(bits.flag()),
                }
            }
        }
    }
}
