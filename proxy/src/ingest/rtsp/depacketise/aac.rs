//! AAC payloads (RFC 3640, modes AAC-hbr and AAC-lbr): a packet holds AU headers, and then access units, or a part of one.

use bytes::{Bytes, BytesMut};

use super::{Error, Packet, fmtp::Format};
use crate::media::bits::Bits;

/// The longest access unit that is put together of parts, in bytes. AAC has 768 bytes for each channel (ISO/IEC 14496-3, 4.5.3).
const MAX_UNIT_LEN: usize = 64 << 10;

/// An access unit that came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// For the decoder.
    pub data: Bytes,
    /// Its media time.
    pub timestamp: retina::Timestamp,
    /// So many packets did not come since the unit that was given before.
    pub loss: u16,
}

/// How many bits each field of an AU header has (3.2.1), by its parameter in SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lengths {
    size: u32,
    index: u32,
    index_delta: u32,
    cts_delta: u32,
    dts_delta: u32,
    random_access: bool,
    stream_state: u32,
    auxiliary: u32,
}

/// The access units of one track.
#[derive(Debug)]
pub struct Depacketiser {
    lengths: Lengths,
    /// Ticks from unit to unit.
    unit_ticks: u32,
    part: Option<Part>,
    lost: u16,
}

/// The beginning of an access unit.
#[derive(Debug)]
struct Part {
    data: BytesMut,
    size: usize,
    timestamp: retina::Timestamp,
}

impl Depacketiser {
    /// A track that SDP describes so, whose units last for so many ticks.
    pub fn new(format: &Format, unit_ticks: u32) -> Self {
        let low = format.get("mode").is_some_and(|mode| mode.eq_ignore_ascii_case("aac-lbr"));
        let (size, index) = if low { (6, 2) } else { (13, 3) };
        let bits = |name: &str, usual: u32| {
            format.get(name).and_then(|bits| bits.parse().ok()).filter(|bits| *bits <= 32).unwrap_or(usual)
        };
        let lengths = Lengths {
            size: bits("sizelength", size),
            index: bits("indexlength", index),
            index_delta: bits("indexdeltalength", index),
            cts_delta: bits("ctsdeltalength", 0),
            dts_delta: bits("dtsdeltalength", 0),
            random_access: bits("randomaccessindication", 0) == 1,
            stream_state: bits("streamstateindication", 0),
            auxiliary: bits("auxiliarydatasizelength", 0),
        };
        Self { lengths, unit_ticks, part: None, lost: 0 }
    }

    /// How many bytes are held.
    pub fn held_len(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.data.len())
    }

    /// Takes the next packet and adds to `out` the units that are whole. After an error it goes on with the next packet.
    pub fn push(&mut self, packet: &Packet, out: &mut Vec<AccessUnit>) -> Result<(), Error> {
        self.lost = self.lost.saturating_add(packet.loss);
        let mut part = self.part.take().filter(|_| packet.loss == 0);
        let (sizes, data) = self.lengths.read(&packet.payload)?;
        if let ([size], Some(begun)) = (&sizes[..], &mut part)
            && *size == begun.size
            && packet.timestamp.timestamp() == begun.timestamp.timestamp()
        {
            begun.data.extend_from_slice(&data);
            if begun.data.len() < begun.size {
                self.part = part;
            } else if begun.data.len() == begun.size
                && let Some(Part { data, timestamp, .. }) = part
            {
                self.give(data.freeze(), timestamp, out);
            } else {
                return Err(Error::AuHeaders);
            }
            return Ok(());
        }
        if let [size] = sizes[..]
            && size > data.len()
        {
            if size > MAX_UNIT_LEN {
                return Err(Error::TooLarge);
            }
            // After a loss it may be the middle of one. Its marker is set only where it is the end.
            if !packet.marker {
                let mut begun = BytesMut::with_capacity(size);
                begun.extend_from_slice(&data);
                self.part = Some(Part { data: begun, size, timestamp: packet.timestamp });
            }
            return if packet.marker && self.lost == 0 { Err(Error::AuHeaders) } else { Ok(()) };
        }
        let mut rest = data;
        for (at, size) in (0u32..).zip(sizes) {
            if size > rest.len() {
                return Err(Error::AuHeaders);
            }
            let unit = rest.split_to(size);
            let later = packet.timestamp.try_add(at.saturating_mul(self.unit_ticks));
            self.give(unit, later.unwrap_or(packet.timestamp), out);
        }
        Ok(())
    }

    fn give(&mut self, data: Bytes, timestamp: retina::Timestamp, out: &mut Vec<AccessUnit>) {
        if !data.is_empty() {
            out.push(AccessUnit { data, timestamp, loss: std::mem::take(&mut self.lost) });
        }
    }
}

impl Lengths {
    /// The sizes of the units in a payload, and what is behind its headers.
    fn read(&self, payload: &Bytes) -> Result<(Vec<usize>, Bytes), Error> {
        let short = || Error::Short(payload.len());
        let (bits, behind) = payload.split_first_chunk().ok_or_else(short)?;
        let bits = usize::from(u16::from_be_bytes(*bits));
        let headers = behind.get(..bits.div_ceil(8)).ok_or_else(short)?;
        let mut end = 2 + headers.len();
        let mut fields = Bits::new(headers);
        let mut sizes = vec![];
        while fields.position() < bits {
            let (size, index) = self.header(&mut fields, sizes.is_empty()).ok_or(Error::AuHeaders)?;
            if index != 0 {
                return Err(Error::Unsupported("interleaved AAC (AU-Index)"));
            }
            sizes.push(size as usize);
        }
        if sizes.is_empty() || fields.position() > bits {
            return Err(Error::AuHeaders);
        }
        if self.auxiliary > 0 {
            let section = payload.get(end..).unwrap_or_default();
            let size = Bits::new(section).read(self.auxiliary).ok_or_else(short)? as usize;
            end = end.saturating_add(size.saturating_add(self.auxiliary as usize).div_ceil(8));
        }
        if end > payload.len() { Err(short()) } else { Ok((sizes, payload.slice(end..))) }
    }

    /// One AU header (3.2.1.1): a size, and an index that is 0 where units come in order.
    fn header(&self, fields: &mut Bits<'_>, is_first: bool) -> Option<(u32, u32)> {
        let at = fields.position();
        let size = fields.read(self.size)?;
        let index = fields.read(if is_first { self.index } else { self.index_delta })?;
        // Each of these is there behind a flag that says so.
        for len in [self.cts_delta, self.dts_delta] {
            if len > 0 && fields.flag()? {
                fields.skip(len)?;
            }
        }
        fields.skip(u32::from(self.random_access) + self.stream_state)?;
        (fields.position() > at).then_some((size, index))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const HIGH: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3";

    fn depacketiser(format: &str) -> Depacketiser {
        Depacketiser::new(&Format::read(format), 1024)
    }

    fn packet(payload: &[u8], ticks: i64, marker: bool, loss: u16) -> Packet {
        let timestamp = retina::Timestamp::new(ticks, NonZeroU32::new(48_000).expect("not 0"), 0);
        let timestamp = timestamp.expect("fits");
        Packet { payload: Bytes::copy_from_slice(payload), timestamp, marker, loss }
    }

    /// Payloads of AAC-hbr: access units with their headers.
    fn payload(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = ((units.len() * 16) as u16).to_be_bytes().to_vec();
        payload.extend(units.iter().flat_map(|unit| ((unit.len() as u16) << 3).to_be_bytes()));
        payload.extend(units.concat());
        payload
    }

    fn told(depacketiser: &mut Depacketiser, packets: &[Packet]) -> Vec<(i64, Vec<u8>, u16)> {
        let mut out = vec![];
        for packet in packets {
            let _ = depacketiser.push(packet, &mut out);
        }
        out.into_iter().map(|unit| (unit.timestamp.timestamp(), unit.data.to_vec(), unit.loss)).collect()
    }

    #[test]
    fn several_units_of_a_packet_follow_each_other() {
        let packets =
            [packet(&payload(&[b"one", b"two"]), 0, true, 0), packet(&payload(&[b"three"]), 2048, true, 3)];
        let expected = [(0, b"one".to_vec(), 0), (1024, b"two".to_vec(), 0), (2048, b"three".to_vec(), 3)];
        assert_eq!(told(&mut depacketiser(HIGH), &packets), expected);
        // The same in AAC-lbr: 6 bits of size, 2 of index.
        let low = packet(&[0, 16, 3 << 2, 2 << 2, 1, 2, 3, 4, 5], 7, true, 0);
        let expected = [(7, vec![1, 2, 3], 0), (1031, vec![4, 5], 0)];
        assert_eq!(told(&mut depacketiser("mode=AAC-lbr"), &[low]), expected);
    }

    #[test]
    fn fields_that_nobody_needs_are_passed_over() {
        let format =
            "sizelength=13;indexlength=3;ctsdeltalength=4;randomaccessindication=1;auxiliarydatasizelength=8";
        // Size 2, index 0, no CTS, random access; 4 bits of auxiliary data.
        let odd = packet(&[0, 18, 0, 16, 0b0100_0000, 4, 0xf0, 7, 8], 0, true, 0);
        assert_eq!(told(&mut depacketiser(format), &[odd]), [(0, vec![7, 8], 0)]);
    }

    #[test]
    fn a_unit_in_parts_is_whole_or_nothing() {
        let unit: Vec<u8> = (0..100).collect();
        let part = |range: std::ops::Range<usize>, marker, loss| {
            packet(&[&[0, 16, 3, 0x20][..], &unit[range]].concat(), 0, marker, loss)
        };
        let next = || packet(&payload(&[b"next"]), 1024, true, 0);
        let whole = [part(0..40, false, 0), part(40..80, false, 0), part(80..100, true, 0), next()];
        assert_eq!(
            told(&mut depacketiser(HIGH), &whole),
            [(0, unit.clone(), 0), (1024, b"next".to_vec(), 0)]
        );
        for without in 0..3usize {
            let mut packets = whole.to_vec();
            packets.remove(without);
            packets[without].loss = 1;
            let came = told(&mut depacketiser(HIGH), &packets);
            assert_eq!(came.last(), Some(&(1024, b"next".to_vec(), 1)), "without part {without}");
            assert_eq!(came.len(), 1);
        }
    }

    #[test]
    fn headers_that_lie_are_named() {
        let error = |payload: &[u8]| depacketiser(HIGH).push(&packet(payload, 0, true, 0), &mut vec![]);
        assert_eq!(error(&[]), Err(Error::Short(0)));
        assert_eq!(error(&[0, 16, 0]), Err(Error::Short(3)));
        assert_eq!(error(&[0, 0, 1, 2]), Err(Error::AuHeaders));
        assert_eq!(
            error(&[0, 16, 0, 24, 1, 2]),
            Err(Error::AuHeaders),
            "the last packet of more than there is"
        );
        assert_eq!(error(&[0, 32, 0, 8, 0, 24, 1, 2]), Err(Error::AuHeaders));
        assert_eq!(error(&[0, 16, 0, 9, 1]), Err(Error::Unsupported("interleaved AAC (AU-Index)")));
    }

    proptest! {
        #[test]
        fn no_packets_make_it_panic_or_grow(
            format: String,
            lengths in vec((prop_oneof![Just("sizelength"), Just("indexlength"), Just("ctsdeltalength"), Just("auxiliarydatasizelength")], 0u32..40), 0..4),
            packets in vec((vec(any::<u8>(), 0..60), 0i64..3, any::<bool>(), 0u16..2), 0..30),
        ) {
            let lengths: String = lengths.iter().flat_map(|(name, bits)| [name.to_string(), "=".into(), bits.to_string(), ";".into()]).collect();
            let mut depacketiser = depacketiser(&(lengths + &format));
            let mut taken = 0;
            for (payload, ticks, marker, loss) in packets {
                let mut out = vec![];
                let _ = depacketiser.push(&packet(&payload, ticks, marker, loss), &mut out);
                taken += payload.len();
                prop_assert!(depacketiser.held_len() + out.iter().map(|unit| unit.data.len()).sum::<usize>() <= taken);
            }
        }
    }
}
