//! G.726 (ITU-T G.726): ADPCM of 16, 24, 32 and 40 kbit/s, into 16-bit samples.
//!
//! Names are the Recommendation's. Codewords stand in octets as RFC 3551, 4.5.4 packs them: the first one in the least
//! significant bits. ffmpeg's decoder departs from the Recommendation by a bit now and then: it keeps the fraction that
//! block MIX throws away, lets loud samples overflow, and at 40 kbit/s has the predictor forget twice as fast. Every state
//! is defined for every codeword, so that what a camera sends cannot be wrong.

/// How a rate quantises: tables 5 to 14 of the Recommendation, by the codeword's magnitude.
#[derive(Debug)]
struct Rate {
    /// `DQLN`: the normalised quantised difference, a logarithm.
    dqln: &'static [i32],
    /// `W(I)`: how the quantiser's scale changes.
    w: &'static [i32],
    /// `F(I)`: how stationary the sound is taken to be.
    f: &'static [i32],
}

const RATE_16: Rate = Rate { dqln: &[116, 365], w: &[-22, 439], f: &[0, 7] };
const RATE_24: Rate = Rate { dqln: &[-2048, 135, 273, 373], w: &[-4, 30, 137, 582], f: &[0, 1, 2, 7] };
const RATE_32: Rate = Rate {
    dqln: &[-2048, 4, 135, 213, 273, 323, 373, 425],
    w: &[-12, 18, 41, 64, 112, 198, 355, 1122],
    f: &[0, 0, 0, 1, 1, 1, 3, 7],
};
const RATE_40: Rate = Rate {
    dqln: &[-2048, -66, 28, 104, 169, 224, 274, 318, 358, 395, 429, 459, 488, 514, 539, 566],
    w: &[14, 14, 24, 39, 40, 41, 58, 100, 141, 179, 219, 280, 358, 440, 529, 696],
    f: &[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6],
};

/// A number as the predictor keeps it: sign, exponent and six bits (blocks FLOATA and FLOATB).
#[derive(Clone, Copy, Debug)]
struct Float {
    negative: bool,
    exponent: u32,
    mantissa: i32,
}

impl Float {
    const ZERO: Self = Self { negative: false, exponent: 0, mantissa: 32 };

    /// The sign is given apart, for a difference of zero has one.
    fn new(negative: bool, magnitude: i32) -> Self {
        let exponent = i32::BITS - magnitude.leading_zeros();
        let mantissa = if magnitude == 0 { 32 } else { magnitude << 6 >> exponent };
        Self { negative, exponent, mantissa }
    }

    /// Block FMULT: times a coefficient of the predictor.
    fn times(self, coefficient: i32) -> i32 {
        let coefficient_negative = coefficient < 0;
        let by = Self::new(coefficient_negative, (coefficient >> 2).abs() & 8_191);
        let exponent = self.exponent + by.exponent;
        let mantissa = (self.mantissa * by.mantissa + 48) >> 4;
        let magnitude = if exponent <= 26 {
            mantissa << 7 >> (26 - exponent)
        } else {
            mantissa << 7 << (exponent - 26) & 32_767
        };
        if self.negative == coefficient_negative { magnitude } else { -magnitude }
    }
}

/// A decoder with what it remembers of the sound.
#[derive(Debug)]
pub(super) struct Decoder {
    bits: u32,
    rate: &'static Rate,
    /// The predictor's coefficients and what they are multiplied by, newest first.
    a: [i32; 2],
    b: [i32; 6],
    sr: [Float; 2],
    dq: [Float; 6],
    /// Signs of the last two partly reconstructed signals: negative.
    pk: [bool; 2],
    dms: i32,
    dml: i32,
    ap: i32,
    yu: i32,
    yl: i32,
    /// A tone was detected.
    td: bool,
}

impl Decoder {
    /// A decoder for codewords of 2, 3, 4 or 5 bits: 16, 24, 32 or 40 kbit/s at 8,000 samples a second.
    pub(super) fn new(bits: u32) -> Option<Self> {
        let rate = match bits {
            2 => &RATE_16,
            3 => &RATE_24,
            4 => &RATE_32,
            5 => &RATE_40,
            _ => return None,
        };
        Some(Self {
            bits,
            rate,
            a: [0; 2],
            b: [0; 6],
            sr: [Float::ZERO; 2],
            dq: [Float::ZERO; 6],
            pk: [false; 2],
            dms: 0,
            dml: 0,
            ap: 0,
            yu: 544,
            yl: 34_816,
            td: false,
        })
    }

    /// Decodes the whole codewords of a packet; they begin anew with each packet.
    pub(super) fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) {
        let (mut held, mut held_bits) = (0u32, 0);
        for octet in packet {
            held |= u32::from(*octet) << held_bits;
            held_bits += 8;
            while held_bits >= self.bits {
                samples.push(self.sample(held & ((1 << self.bits) - 1)));
                held >>= self.bits;
                held_bits -= self.bits;
            }
        }
    }

    /// The sample of one codeword.
    fn sample(&mut self, code: u32) -> i16 {
        let negative = code >> (self.bits - 1) == 1;
        let index = if negative { (1 << self.bits) - 1 - code } else { code } as usize;
        let (dqln, w, f) = (self.rate.dqln[index], self.rate.w[index], self.rate.f[index]);

        // Speed control LIMA and MIX: the scale between its fast and its slow value.
        let al = if self.ap >= 256 { 64 } else { self.ap >> 2 };
        let apart = self.yu - (self.yl >> 6);
        let y = (self.yl >> 6) + ((apart.abs() * al) >> 6) * apart.signum();

        // ADDA and ANTILOG: the quantised difference.
        let dql = dqln + (y >> 2);
        let dq_magnitude = if dql < 0 { 0 } else { (128 + (dql & 127)) << 7 >> (14 - (dql >> 7 & 15)) };
        let dq = if negative { -dq_magnitude } else { dq_magnitude };

        // ACCUM: what the predictor expects.
        let sum = |pairs: &mut dyn Iterator<Item = (Float, i32)>| -> i32 {
            wrapped(pairs.map(|(value, coefficient)| value.times(coefficient)).sum())
        };
        let sezi = sum(&mut self.dq.iter().copied().zip(self.b));
        let sei = wrapped(sezi + sum(&mut self.sr.iter().copied().zip(self.a)));
        let (sez, se) = (sezi >> 1, sei >> 1);
        let sr = wrapped(se + dq);

        let tr = self.is_transition(dq_magnitude);
        self.adapt_predictor(negative, dq_magnitude, wrapped(dq + sez), tr);
        self.dq.rotate_right(1);
        self.dq[0] = Float::new(negative, dq_magnitude);
        self.sr.rotate_right(1);
        self.sr[0] = Float::new(sr < 0, sr.abs() & 32_767);

        // TONE and TRIGB.
        let tdp = self.a[1] < -11_776;
        self.adapt_scale(y, w);
        self.adapt_speed(y, f, tdp, tr);
        self.td = tdp && !tr;

        (sr * 4).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }

    /// Block TRANS: from a narrow band to another one, as modems do.
    fn is_transition(&self, dq_magnitude: i32) -> bool {
        let (whole, fraction) = (self.yl >> 15, self.yl >> 10 & 31);
        let threshold = if whole > 9 { 31 << 10 } else { (32 + fraction) << whole };
        self.td && dq_magnitude > (threshold + (threshold >> 1)) >> 1
    }

    /// Blocks UPA1, UPA2, UPB, LIMC, LIMD and TRIGB.
    fn adapt_predictor(&mut self, negative: bool, dq_magnitude: i32, dqsez: i32, tr: bool) {
        let pk0 = dqsez < 0;
        if tr {
            (self.a, self.b) = ([0; 2], [0; 6]);
        } else {
            let [a1, a2] = self.a;
            let (mut uga1, mut uga2) = (0, 0);
            if dqsez != 0 {
                uga1 = if pk0 == self.pk[0] { 192 } else { -192 };
                let fa1 = a1.clamp(-8_191, 8_191) << 2;
                let fa = if pk0 == self.pk[0] { -fa1 } else { fa1 };
                uga2 = ((if pk0 == self.pk[1] { 16_384 } else { -16_384 }) + fa) >> 7;
            }
            let a2 = (a2 + uga2 - (a2 >> 7)).clamp(-12_288, 12_288);
            let most = 15_360 - a2;
            self.a = [(a1 + uga1 - (a1 >> 8)).clamp(-most, most), a2];
            let leak = if self.bits == 5 { 9 } else { 8 };
            for (b, dq) in self.b.iter_mut().zip(&self.dq) {
                let step = if dq.negative == negative { 128 } else { -128 };
                let ugb = if dq_magnitude == 0 { 0 } else { step };
                *b = wrapped(*b + ugb - (*b >> leak));
            }
        }
        self.pk = [pk0, self.pk[0]];
    }

    /// Blocks FILTD, LIMB and FILTE.
    fn adapt_scale(&mut self, y: i32, w: i32) {
        self.yu = (y + (((w << 5) - y) >> 5)).clamp(544, 5_120);
        self.yl += self.yu + (-self.yl >> 6);
    }

    /// Blocks FILTA, FILTB, SUBTC, FILTC and TRIGA.
    fn adapt_speed(&mut self, y: i32, f: i32, tdp: bool, tr: bool) {
        self.dms += ((f << 9) - self.dms) >> 5;
        self.dml += ((f << 11) - self.dml) >> 7;
        let steady = y >= 1_536 && ((self.dms << 2) - self.dml).abs() < self.dml >> 3 && !tdp;
        let ax = if steady { 0 } else { 512 };
        self.ap = if tr { 256 } else { self.ap + ((ax - self.ap) >> 4) };
    }
}

/// In the 16 bits that the Recommendation computes with.
fn wrapped(value: i32) -> i32 {
    i32::from(value as i16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codewords_come_from_the_least_significant_bits_on() {
        // 24 kbit/s: eight codewords in three octets.
        for (bits, octets, codes) in [(2, 1, 4), (3, 3, 8), (4, 1, 2), (5, 5, 8)] {
            let mut samples = vec![];
            Decoder::new(bits).expect("a rate").decode(&vec![0x5a; octets], &mut samples);
            assert_eq!(samples.len(), codes, "{bits} bits");
        }
        let mut first_low = vec![];
        Decoder::new(4).expect("a rate").decode(&[0xf7], &mut first_low);
        assert!(first_low[0] > 0, "7 is the largest step up: {first_low:?}");
        assert!(Decoder::new(6).is_none());
    }

    /// A checksum of what a decoder makes of 60,000 octets of a fixed pseudo-random run, which visits all there is to
    /// visit: tones, transitions, saturation.
    fn checksum(bits: u32) -> u32 {
        let mut state = 1u32;
        let packet: Vec<u8> = (0..60_000)
            .map(|i: u32| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // By turns noise, and a few codewords again and again.
                if (i / 500).is_multiple_of(2) { (state >> 24) as u8 } else { (i / 500 * 37 % 251) as u8 }
            })
            .collect();
        let mut samples = vec![];
        Decoder::new(bits).expect("a rate").decode(&packet, &mut samples);
        samples.iter().fold(0u32, |sum, sample| sum.wrapping_mul(31).wrapping_add(u32::from(*sample as u16)))
    }

    #[test]
    fn samples_are_those_of_another_implementation() {
        // The same run through spandsp, sample by sample, but for those that it lets overflow and we limit.
        assert_eq!([2, 3, 4, 5].map(checksum), [3_568_556_257, 868_705_939, 3_117_678_570, 1_128_573_479]);
    }

    proptest! {
        #[test]
        fn no_codewords_make_a_decoder_panic(bits in 2u32..6, packets: Vec<Vec<u8>>) {
            let mut decoder = Decoder::new(bits).expect("a rate");
            let mut samples = vec![];
            for packet in &packets {
                decoder.decode(packet, &mut samples);
            }
            let octets: usize = packets.iter().map(|packet| packet.len() * 8 / bits as usize).sum();
            prop_assert_eq!(samples.len(), octets);
        }
    }
}
