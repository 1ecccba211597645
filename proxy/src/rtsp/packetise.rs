//! PURE: access units to RTP packets and RTCP sender reports, framed for TCP (RFC 3550, 6184, 3640; RFC 2326, 10.12).
//!
//! Not here: which units are sent, and when. Invariant: sequence numbers count every packet; the marker bit stands on
//! the last packet of an access unit; both wrap as RTP wants while the times given are 64-bit and do not.

use bytes::Bytes;
use rtcp_types::{Compound, RtcpPacketWriter, RtcpPacketWriterExt, Sdes, SdesChunk, SdesItem, SenderReport};
use rtp::codecs::h264::H264Payloader;
use rtp::packetizer::Payloader;
use rtp_types::RtpPacketBuilder;

use super::{AccessUnit, Codec, Track, sdp, us_to_ticks};

/// RTP payload bytes in one packet: what fits an Ethernet frame, as cameras send them over TCP too.
const PAYLOAD_BYTES: usize = 1400;
/// Seconds from 1900 (NTP) to 1970 (RFC 3550, 4).
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

/// Where a track's numbers begin. Random in service (RFC 3550, 5.1), chosen in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Synchronisation source.
    pub ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// RTP timestamp of time 0.
    pub timestamp: u32,
}

/// Packs one track for one client.
#[derive(Debug)]
pub struct Packetiser {
    codec: Codec,
    clock_rate_hz: u32,
    payload_type: u8,
    rtp_channel: u8,
    rtcp_channel: u8,
    origin: Origin,
    next_sequence: u16,
    packets: u32,
    octets: u32,
    h264: H264Payloader,
}

impl Packetiser {
    /// A packer for the track at `index`, sending on these interleaved channels.
    pub fn new(track: &Track, index: usize, rtp_channel: u8, rtcp_channel: u8, origin: Origin) -> Self {
        Self {
            codec: track.codec.clone(),
            clock_rate_hz: track.clock_rate_hz(),
            payload_type: sdp::payload_type(index),
            rtp_channel,
            rtcp_channel,
            origin,
            next_sequence: origin.sequence,
            packets: 0,
            octets: 0,
            h264: H264Payloader::default(),
        }
    }

    /// Synchronisation source of this track.
    pub fn ssrc(&self) -> u32 {
        self.origin.ssrc
    }

    /// Sequence number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    /// The interleaved channels: RTP, RTCP.
    pub fn channels(&self) -> (u8, u8) {
        (self.rtp_channel, self.rtcp_channel)
    }

    /// The RTP timestamp of a time.
    pub fn timestamp(&self, pts_ticks: i64) -> u32 {
        self.origin.timestamp.wrapping_add(pts_ticks as u32)
    }

    /// The RTP timestamp of this moment, when time 0 was at `epoch_unix_us`.
    pub fn timestamp_now(&self, now_unix_us: i64, epoch_unix_us: i64) -> u32 {
        self.timestamp(us_to_ticks(now_unix_us - epoch_unix_us, self.clock_rate_hz))
    }

    /// Appends one access unit's packets to `out`; returns how many.
    pub fn pack(&mut self, unit: &AccessUnit, out: &mut Vec<u8>) -> usize {
        let payloads = match self.codec {
            Codec::H264 { .. } => self.h264.payload(PAYLOAD_BYTES, &unit.data).unwrap_or_default(),
            Codec::Aac { .. } => aac_payloads(&unit.data),
        };
        let timestamp = self.timestamp(unit.pts_ticks);
        let count = payloads.len();
        for (i, payload) in payloads.into_iter().enumerate() {
            let octets = payload.len() as u32;
            let packet = RtpPacketBuilder::<_, &[u8]>::new()
                .marker_bit(i + 1 == count)
                .payload_type(self.payload_type)
                .sequence_number(self.next_sequence)
                .timestamp(timestamp)
                .ssrc(self.origin.ssrc)
                .payload(&payload[..]);
            if let Ok(size) = packet.calculate_size() {
                frame(self.rtp_channel, size, out, |to| packet.write_into(to).ok());
            }
            self.next_sequence = self.next_sequence.wrapping_add(1);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(octets);
        }
        count
    }

    /// Appends a sender report with its source description (RFC 3550, 6.1): this wall clock is that RTP timestamp.
    pub fn report(&self, now_unix_us: i64, epoch_unix_us: i64, out: &mut Vec<u8>) {
        let report = SenderReport::builder(self.origin.ssrc)
            .ntp_timestamp(ntp(now_unix_us))
            .rtp_timestamp(self.timestamp_now(now_unix_us, epoch_unix_us))
            .packet_count(self.packets)
            .octet_count(self.octets);
        let name = SdesItem::builder(SdesItem::CNAME, "sightline");
        let names = Sdes::builder().add_chunk(SdesChunk::builder(self.origin.ssrc).add_item(name));
        let compound = Compound::builder().add_packet(report).add_packet(names);
        if let Ok(size) = compound.calculate_size() {
            frame(self.rtcp_channel, size, out, |to| compound.write_into(to).ok());
        }
    }
}

/// 32.32 fixed point seconds since 1900; wraps in 2036 as NTP does.
fn ntp(unix_us: i64) -> u64 {
    let seconds = unix_us.div_euclid(1_000_000) + NTP_TO_UNIX_S;
    let fraction = (unix_us.rem_euclid(1_000_000) as u64).wrapping_shl(32) / 1_000_000;
    (seconds as u64).wrapping_shl(32) | fraction
}

/// One frame with its 16-bit AU header (13 bits of size, 3 of index), cut where it does not fit (RFC 3640, 3.2.3).
fn aac_payloads(frame: &Bytes) -> Vec<Bytes> {
    if frame.is_empty() || frame.len() >= 1 << 13 {
        return Vec::new();
    }
    let header = [0, 16, (frame.len() >> 5) as u8, (frame.len() << 3) as u8];
    frame.chunks(PAYLOAD_BYTES - header.len()).map(|part| Bytes::from([&header[..], part].concat())).collect()
}

/// `$`, channel, length, and `size` bytes that `write` fills; nothing at all where that fails.
fn frame(channel: u8, size: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
    let Ok(length) = u16::try_from(size) else { return };
    let start = out.len();
    out.extend_from_slice(&[b'$', channel]);
    out.extend_from_slice(&length.to_be_bytes());
    out.resize(start + 4 + size, 0);
    if write(&mut out[start + 4..]) != Some(size) {
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtcp_types::RtcpPacketParser;
    use rtp_types::RtpPacket;

    fn video() -> Track {
        Track {
            codec: Codec::H264 {
                sps: Bytes::from_static(&[0x67, 1, 2, 3]),
                pps: Bytes::from_static(&[0x68, 1]),
            },
        }
    }

    fn packets(mut bytes: &[u8]) -> Vec<(u8, RtpPacket<'_>)> {
        let mut packets = Vec::new();
        while let [b'$', channel, high, low, rest @ ..] = bytes {
            let (packet, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            packets.push((*channel, RtpPacket::parse(packet).unwrap()));
            bytes = rest;
        }
        assert!(bytes.is_empty());
        packets
    }

    #[test]
    fn a_picture_is_cut_to_packets_with_the_marker_on_the_last_and_numbers_that_wrap() {
        let origin = Origin { ssrc: 7, sequence: 0xfffe, timestamp: 0xffff_ff00 };
        let mut packer = Packetiser::new(&video(), 0, 2, 3, origin);
        let mut picture =
            vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65];
        picture.extend((0..4000).map(|i| (i % 250) as u8 + 3));
        let mut out = Vec::new();
        let unit = AccessUnit { track: 0, pts_ticks: 3600, key_frame: true, data: picture.into() };
        let count = packer.pack(&unit, &mut out);
        let packets = packets(&out);
        assert_eq!(packets.len(), count);
        assert_eq!(count, 4, "parameter sets together, then three fragments");
        assert_eq!(packets[0].1.payload()[0] & 0x1f, 24);
        assert!(packets[1..].iter().all(|(_, p)| p.payload()[0] & 0x1f == 28));
        assert_eq!(
            packets.iter().map(|(_, p)| p.marker_bit()).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        assert_eq!(
            packets.iter().map(|(_, p)| p.sequence_number()).collect::<Vec<_>>(),
            [0xfffe, 0xffff, 0, 1]
        );
        assert!(packets.iter().all(|(channel, p)| *channel == 2
            && p.timestamp() == 3600 - 0x100
            && p.ssrc() == 7
            && p.payload_type() == 96));
    }

    #[test]
    fn a_sound_frame_carries_its_size_and_an_impossible_one_is_left_out() {
        assert_eq!(&aac_payloads(&Bytes::from(vec![5; 300]))[0][..5], &[0, 16, 0x09, 0x60, 5]);
        assert_eq!(aac_payloads(&Bytes::from(vec![5; 3000])).len(), 3);
        assert!(aac_payloads(&Bytes::from(vec![5; 8192])).is_empty());
        assert!(aac_payloads(&Bytes::new()).is_empty());
    }

    #[test]
    fn reports_of_both_tracks_name_one_wall_clock() {
        let sound = Track { codec: Codec::Aac { config: Bytes::new(), sample_rate_hz: 32_000, channels: 1 } };
        let origin = Origin { ssrc: 9, sequence: 0, timestamp: 1000 };
        let epoch = 1_700_000_000_000_000;
        for (track, ticks) in [(video(), 2_250_000), (sound, 800_000)] {
            let packer = Packetiser::new(&track, 0, 0, 1, origin);
            let mut out = Vec::new();
            packer.report(epoch + 25_000_000, epoch, &mut out);
            assert_eq!(&out[..2], &[b'$', 1]);
            assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), out.len() - 4);
            let report = SenderReport::parse(&out[4..32]).unwrap();
            assert_eq!(report.rtp_timestamp(), 1000 + ticks);
            assert_eq!(report.ntp_timestamp() >> 32, 1_700_000_025 + 2_208_988_800);
            assert_eq!(out[33], 202, "a source description follows");
        }
        assert_eq!(ntp(500_000) & 0xffff_ffff, 1 << 31);
    }
}
