//! G.722 (ITU-T G.722) at 64 kbit/s: two bands of ADPCM into 16-bit samples, two of them from each octet.
//!
//! Names are the Recommendation's. Every state is defined for every octet, so that what a camera sends cannot be wrong.

/// The receive quadrature mirror filter, of which the second half mirrors the first (table 11).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// The quantised difference of the lower band by six bits of its code, and by four (tables 7 and 8).
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
/// That of the higher band.
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How the scale of the lower band changes, by four bits of its code.
const WL: [i32; 16] = [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
/// That of the higher band.
const WH: [i32; 4] = [798, -214, 798, -214];

/// Powers of two in 32 steps (table 15).
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The decoder of one band.
#[derive(Debug)]
struct Band {
    /// The scale's logarithm, and the scale.
    nb: i32,
    det: i32,
    /// What the predictor expects, and the part of it that comes from differences.
    s: i32,
    sz: i32,
    /// Reconstructed signals, partly reconstructed ones and differences, newest first.
    r: [i32; 2],
    p: [i32; 2],
    d: [i32; 6],
    a: [i32; 2],
    b: [i32; 6],
}

impl Band {
    fn new(det: i32) -> Self {
        Self { nb: 0, det, s: 0, sz: 0, r: [0; 2], p: [0; 2], d: [0; 6], a: [0; 2], b: [0; 6] }
    }

    /// Blocks LOGSCL and SCALEL, or LOGSCH and SCALEH.
    fn rescale(&mut self, change: i32, most: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + change).clamp(0, most);
        let (step, down) = (ILB[(self.nb >> 6 & 31) as usize], shift - (self.nb >> 11));
        self.det = if down < 0 { step << -down } else { step >> down } << 2;
    }

    /// Block 4: takes a quantised difference and predicts the next sample.
    fn predict(&mut self, d: i32) {
        let same = |x: i32, y: i32| (x < 0) == (y < 0);
        let (r, p) = (saturated(self.s + d), saturated(self.sz + d));

        // UPPOL2 and UPPOL1.
        let [a1, a2] = self.a;
        let by_a1 = saturated(a1 << 2);
        let by_a1 = if same(p, self.p[0]) { (-by_a1).min(32_767) } else { by_a1 };
        let sign = if same(p, self.p[1]) { 128 } else { -128 };
        let a2 = (sign + (by_a1 >> 7) + ((a2 * 32_512) >> 15)).clamp(-12_288, 12_288);
        let sign = if same(p, self.p[0]) { 192 } else { -192 };
        let most = 15_360 - a2;
        let a1 = saturated(sign + ((a1 * 32_640) >> 15)).clamp(-most, most);
        self.a = [a1, a2];

        // UPZERO.
        for (b, before) in self.b.iter_mut().zip(self.d) {
            let step = if same(d, before) { 128 } else { -128 };
            *b = saturated(if d == 0 { 0 } else { step } + ((*b * 32_640) >> 15));
        }

        // DELAYA, FILTEP, FILTEZ and PREDIC.
        self.p = [p, self.p[0]];
        self.r = [r, self.r[0]];
        self.d.rotate_right(1);
        self.d[0] = d;
        let filtered = |x: i32, coefficient: i32| (coefficient * saturated(x + x)) >> 15;
        let sp = saturated(filtered(self.r[0], a1) + filtered(self.r[1], a2));
        self.sz = saturated(self.d.iter().zip(self.b).map(|(d, b)| filtered(*d, b)).sum());
        self.s = saturated(sp + self.sz);
    }
}

/// A decoder with what it remembers of the sound.
#[derive(Debug)]
pub(super) struct Decoder {
    low: Band,
    high: Band,
    /// The last twelve sums and differences of the bands, oldest first.
    sums: [i32; 12],
    differences: [i32; 12],
}

impl Default for Decoder {
    fn default() -> Self {
        Self { low: Band::new(32), high: Band::new(8), sums: [0; 12], differences: [0; 12] }
    }
}

impl Decoder {
    /// Decodes a packet.
    pub(super) fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) {
        for octet in packet {
            samples.extend(self.pair(*octet));
        }
    }

    fn pair(&mut self, octet: u8) -> [i16; 2] {
        let (low, high) = (usize::from(octet & 63), usize::from(octet >> 6));
        let limited = |x: i32| x.clamp(-16_384, 16_383);

        let r_low = limited(self.low.s + ((self.low.det * QM6[low]) >> 15));
        let d_low = (self.low.det * QM4[low >> 2]) >> 15;
        self.low.rescale(WL[low >> 2], 18_432, 8);
        self.low.predict(d_low);

        let d_high = (self.high.det * QM2[high]) >> 15;
        let r_high = limited(self.high.s + d_high);
        self.high.rescale(WH[high], 22_528, 10);
        self.high.predict(d_high);

        self.sums.rotate_left(1);
        self.sums[11] = r_low + r_high;
        self.differences.rotate_left(1);
        self.differences[11] = r_low - r_high;
        let filtered = |bands: &[i32; 12], backwards: bool| {
            let tap = |i: usize| if backwards { QMF[i] } else { QMF[11 - i] };
            let sum: i32 = bands.iter().enumerate().map(|(i, x)| x * tap(i)).sum();
            saturated(sum >> 11) as i16
        };
        [filtered(&self.differences, false), filtered(&self.sums, true)]
    }
}

fn saturated(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_octets_make_a_decoder_panic(packets: Vec<Vec<u8>>) {
            let (mut decoder, mut samples) = (Decoder::default(), vec![]);
            for packet in &packets {
                decoder.decode(packet, &mut samples);
            }
            prop_assert_eq!(samples.len(), packets.iter().map(|packet| packet.len() * 2).sum::<usize>());
        }
    }
}
