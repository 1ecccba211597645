//! Bits of a header from a peer, most significant first. Reading past the end gives nothing and never panics.
//!
//! NAL units hold bytes that keep start codes out of them (emulation prevention, ITU-T H.264, 7.4.1); [`Rbsp`] is the
//! beginning of one without those.

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

    /// How many bits were read or left out.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// `se(v)`: a signed Exp-Golomb code (ITU-T H.264, 9.1.1).
    pub(crate) fn signed_exp_golomb(&mut self) -> Option<i32> {
        let code = i64::from(self.exp_golomb()?);
        Some((if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 }) as i32)
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

/// The first bytes of a NAL unit, `N` at most, as an RBSP (ITU-T H.264, 7.3.1). It takes no allocation.
#[derive(Clone, Debug)]
pub(crate) struct Rbsp<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Rbsp<N> {
    pub(crate) fn of(nal: &[u8]) -> Self {
        let (mut bytes, mut len, mut zeros) = ([0; N], 0, 0);
        for &byte in nal {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            if len == N {
                break;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes[len] = byte;
            len += 1;
        }
        Self { bytes, len }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn bits(&self) -> Bits<'_> {
        Bits::new(self.bytes())
    }
}

/// The whole RBSP of a NAL unit.
pub(crate) fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut rbsp = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        rbsp.push(byte);
    }
    rbsp
}

/// A NAL unit of an RBSP: the other way round.
pub(crate) fn with_emulation_prevention(rbsp: &[u8]) -> Vec<u8> {
    let mut nal = Vec::with_capacity(rbsp.len() + 8);
    let mut zeros = 0;
    for &byte in rbsp {
        if zeros >= 2 && byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        nal.push(byte);
    }
    nal
}

/// Writes bits, most significant first.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    len: usize,
}

impl BitWriter {
    pub(crate) fn flag(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.len % 8);
        }
        self.len += 1;
    }

    /// `ue(v)`.
    pub(crate) fn exp_golomb(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let bits = 64 - code.leading_zeros();
        for bit in (0..2 * bits - 1).rev() {
            self.flag(bit < bits && code >> bit & 1 == 1);
        }
    }

    /// The lowest `count` bits.
    pub(crate) fn write(&mut self, value: u32, count: u32) {
        (0..count).rev().for_each(|bit| self.flag(value >> bit & 1 == 1));
    }

    /// Some `ue(v)`.
    pub(crate) fn exp_golombs(&mut self, values: &[u32]) {
        for value in values {
            self.exp_golomb(*value);
        }
    }

    /// `rbsp_trailing_bits()`: a one, and zeros up to a whole byte.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.flag(true);
        self.bytes
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

    #[test]
    fn signed_codes_are_those_of_the_standards_table() {
        let mut writer = BitWriter::default();
        writer.exp_golombs(&[0, 1, 2, 3, 4]);
        let bytes = writer.finish();
        let mut bits = Bits::new(&bytes);
        let codes: Vec<_> = std::iter::from_fn(|| bits.signed_exp_golomb()).take(5).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(codes: Vec<u32>, flags: Vec<bool>) {
            let mut writer = BitWriter::default();
            for code in &codes {
                writer.exp_golomb((*code).min(u32::MAX - 1));
            }
            for flag in &flags {
                writer.flag(*flag);
            }
            let bytes = writer.finish();
            let mut bits = Bits::new(&bytes);
            for code in codes {
                prop_assert_eq!(bits.exp_golomb(), Some(code.min(u32::MAX - 1)));
            }
            for flag in flags {
                prop_assert_eq!(bits.flag(), Some(flag));
            }
            prop_assert_eq!(bits.flag(), Some(true), "the stop bit");
        }

        #[test]
        fn emulation_prevention_goes_to_and_fro(
            rbsp in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 0..100)
        ) {
            let nal = with_emulation_prevention(&rbsp);
            prop_assert!(!nal.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] < 3), "{nal:?}");
            prop_assert_eq!(&without_emulation_prevention(&nal), &rbsp);
            let head = Rbsp::<16>::of(&nal);
            prop_assert_eq!(head.bytes(), &rbsp[..rbsp.len().min(16)]);
        }

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
