//! Sound that is a plain run of samples, or as good as one (RFC 3551, 4.5): decoded into 16-bit samples.
//!
//! No browser plays these by Media Source Extensions: [`super::flac_encoder`] packs what comes out, without loss.

use super::{g711, g722, g726};

/// How it is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// G.711 A-law.
    ALaw,
    /// G.711 mu-law.
    MuLaw,
    /// 16 bits, big-endian, channels by turns.
    L16,
    /// G.722 at 64 kbit/s. Its RTP clock runs at half its sample rate (RFC 3551, 4.5.2).
    G722,
    /// G.726 with so many bits a sample.
    G726(u32),
}

impl Coding {
    /// The coding of this name in SDP, in lower case.
    pub fn of(encoding: &str) -> Option<Self> {
        Some(match encoding {
            "pcma" => Self::ALaw,
            "pcmu" => Self::MuLaw,
            "l16" => Self::L16,
            "g722" => Self::G722,
            "g726-16" => Self::G726(2),
            "g726-24" => Self::G726(3),
            "g726-32" => Self::G726(4),
            "g726-40" => Self::G726(5),
            _ => return None,
        })
    }

    /// Bits of one channel for each tick of RTP's clock.
    pub fn bits_per_tick(self) -> u32 {
        match self {
            Self::ALaw | Self::MuLaw | Self::G722 => 8,
            Self::L16 => 16,
            Self::G726(bits) => bits,
        }
    }

    /// Samples for each tick of RTP's clock.
    pub fn samples_per_tick(self) -> u32 {
        if self == Self::G722 { 2 } else { 1 }
    }
}

/// A decoder, and what it remembers.
#[derive(Debug)]
pub struct Decoder(Inner);

#[derive(Debug)]
enum Inner {
    ALaw,
    MuLaw,
    L16,
    G722(Box<g722::Decoder>),
    G726(Box<g726::Decoder>),
}

impl Decoder {
    /// A decoder at the beginning of its sound; nothing for a rate that G.726 does not have.
    pub fn new(coding: Coding) -> Option<Self> {
        Some(Self(match coding {
            Coding::ALaw => Inner::ALaw,
            Coding::MuLaw => Inner::MuLaw,
            Coding::L16 => Inner::L16,
            Coding::G722 => Inner::G722(Box::default()),
            Coding::G726(bits) => Inner::G726(Box::new(g726::Decoder::new(bits)?)),
        }))
    }

    /// Appends the samples of a packet, channels by turns.
    pub fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) {
        match &mut self.0 {
            Inner::ALaw => samples.extend(packet.iter().map(|octet| g711::a_law(*octet))),
            Inner::MuLaw => samples.extend(packet.iter().map(|octet| g711::mu_law(*octet))),
            Inner::L16 => {
                let (pairs, _) = packet.as_chunks();
                samples.extend(pairs.iter().map(|pair| i16::from_be_bytes(*pair)));
            }
            Inner::G722(decoder) => decoder.decode(packet, samples),
            Inner::G726(decoder) => decoder.decode(packet, samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l16_is_big_endian() {
        let mut samples = vec![];
        Decoder::new(Coding::L16).expect("no rate").decode(&[0x12, 0x34, 0xff, 0xfe, 0x77], &mut samples);
        assert_eq!(samples, [0x1234, -2]);
    }

    #[test]
    fn names_are_those_of_sdp() {
        assert_eq!(Coding::of("g726-24"), Some(Coding::G726(3)));
        assert_eq!(Coding::of("pcmu"), Some(Coding::MuLaw));
        assert_eq!(Coding::of("dvi4"), None);
    }
}
