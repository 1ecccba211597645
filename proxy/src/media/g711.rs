//! G.711 (ITU-T G.711): A-law and mu-law octets as RTP carries them (RFC 3551, 4.5.14), into 16-bit samples.

/// One octet of A-law.
pub(super) fn a_law(octet: u8) -> i16 {
    // Even bits are sent inverted (G.711, table 1a).
    let code = octet ^ 0x55;
    let segment = u32::from(code >> 4 & 7);
    let mantissa = i16::from(code & 15) << 4 | 8;
    let magnitude = match segment {
        0 => mantissa,
        _ => (mantissa + 0x100) << (segment - 1),
    };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// One octet of mu-law.
pub(super) fn mu_law(octet: u8) -> i16 {
    const BIAS: i16 = 0x84;
    // All bits are sent inverted (G.711, table 2a).
    let code = !octet;
    let segment = u32::from(code >> 4 & 7);
    let magnitude = (((i16::from(code & 15) << 3) + BIAS) << segment) - BIAS;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_law_are_those_of_the_table() {
        assert_eq!([0xd5, 0x55, 0xaa, 0x2a, 0xd4].map(a_law), [8, -8, 32_256, -32_256, 24]);
    }

    #[test]
    fn the_ends_of_mu_law_are_those_of_the_table() {
        assert_eq!([0xff, 0x7f, 0x80, 0x00, 0xfe].map(mu_law), [0, 0, 32_124, -32_124, 8]);
    }

    #[test]
    fn both_laws_rise_with_their_codes() {
        let a: Vec<_> = (0..128).map(|code| a_law(code ^ 0xd5)).collect();
        let mu: Vec<_> = (0..128).map(|code| mu_law(!code)).collect();
        for law in [a, mu] {
            assert!(law.windows(2).all(|pair| pair[0] < pair[1]), "{law:?}");
        }
    }
}
