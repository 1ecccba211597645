//! PURE: what stands in front of a tag's media: which codec, which track, and what the rest is.
//!
//! Sections E.4.2 and E.4.3 of Adobe's FLV specification 10.1; "Enhanced Audio" and "Enhanced Video" of Enhanced RTMP v2.

use std::fmt;

use bytes::{Buf as _, Bytes};

use super::{Error, Kind};
use crate::media::Coding;

/// How a packet is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// This program passes it on.
    Played(Coding),
    /// It does not; the name is for people.
    Refused(&'static str),
    /// A number of FLV's that nobody gave a meaning to.
    Number(u8),
    /// A `FourCC` that is not of the specification.
    FourCc([u8; 4]),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Played(coding) => write!(f, "{coding:?}"),
            Self::Refused(name) => f.write_str(name),
            Self::Number(number) => write!(f, "codec {number}"),
            Self::FourCc(name) => write!(f, "codec \"{}\"", name.escape_ascii()),
        }
    }
}

/// What a packet's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A decoder's configuration ("sequence header").
    Config,
    /// One access unit, or one packet of sound.
    Coded {
        /// Presentation time minus decode time.
        composition_offset_ms: i32,
    },
    /// Nothing that this program needs: ends of sequences, metadata, channel maps, commands, and what is not known.
    Other,
}

/// One packet of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Which of the encoder's tracks of this kind; 0 where it does not say.
    pub(super) track_id: u8,
    pub(super) codec: Codec,
    pub(super) content: Content,
    /// FLV's frame type says so.
    pub(super) key_frame: bool,
    /// To add to the message's time.
    pub(super) offset_ns: u32,
    /// A part of the message, not a copy.
    pub(super) body: Bytes,
}

/// The packets of one message.
#[derive(Debug)]
pub(super) struct Packets {
    kind: Kind,
    /// The message's length, for errors.
    len: usize,
    rest: Bytes,
    layout: Layout,
    key_frame: bool,
    packet_type: u8,
    offset_ns: u32,
}

/// How a message's packets are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// There is none any more.
    Done,
    /// One, with a header of the original specification. For audio `packet_type` is `SoundFormat`, for video `CodecID`.
    Legacy,
    /// One, with its `FourCC`.
    Single,
    /// Several, or one with a track id (`AvMultitrackType`), with the `FourCC` they share or each its own.
    Multitrack { sized: bool, shared: Option<[u8; 4]> },
}

/// Packet types of Enhanced RTMP that this program heeds, and which audio and video number alike.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
/// Video only.
const CODED_FRAMES_X: u8 = 3;
/// Video only.
const METADATA: u8 = 4;
const MOD_EX: u8 = 7;

/// `AudioPacketType.Multitrack` and `VideoPacketType.Multitrack`.
fn multitrack(kind: Kind) -> u8 {
    match kind {
        Kind::Audio => 5,
        Kind::Video => 6,
    }
}

/// `VideoFrameType.Command`: no picture, but a byte for a player that seeks.
const COMMAND: u8 = 5;

impl Packets {
    /// Reads the header of a message. An empty one has no packets: some encoders send such.
    pub(super) fn read(kind: Kind, payload: Bytes) -> Result<Self, Error> {
        let len = payload.len();
        let mut packets = Self {
            kind,
            len,
            rest: payload,
            layout: Layout::Done,
            key_frame: true,
            packet_type: 0,
            offset_ns: 0,
        };
        if len == 0 {
            return Ok(packets);
        }
        let first = packets.u8()?;
        let (enhanced, frame_type) = match kind {
            Kind::Audio => (first >> 4 == 9, 1),
            Kind::Video => (first & 0x80 != 0, first >> 4 & 7),
        };
        // 4 is a key frame that a server made up.
        packets.key_frame = matches!(frame_type, 1 | 4);
        if !enhanced {
            packets.packet_type = if kind == Kind::Audio { first >> 4 } else { first & 15 };
            packets.layout = if frame_type == COMMAND { Layout::Done } else { Layout::Legacy };
            return Ok(packets);
        }
        packets.packet_type = first & 15;
        while packets.packet_type == MOD_EX {
            packets.mod_ex()?;
        }
        packets.layout = if frame_type == COMMAND && packets.packet_type != METADATA {
            Layout::Done
        } else if packets.packet_type == multitrack(kind) {
            let types = packets.u8()?;
            packets.packet_type = types & 15;
            match types >> 4 {
                0 => Layout::Multitrack { sized: false, shared: Some(packets.four_cc()?) },
                1 => Layout::Multitrack { sized: true, shared: Some(packets.four_cc()?) },
                2 => Layout::Multitrack { sized: true, shared: None },
                _ => Layout::Done,
            }
        } else {
            Layout::Single
        };
        Ok(packets)
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, Error> {
        match self.layout {
            Layout::Done => Ok(None),
            Layout::Legacy => {
                self.layout = Layout::Done;
                self.legacy().map(Some)
            }
            Layout::Single => {
                self.layout = Layout::Done;
                let four_cc = self.four_cc()?;
                let body = std::mem::take(&mut self.rest);
                self.enhanced(0, four_cc, body).map(Some)
            }
            Layout::Multitrack { sized, shared } => {
                let four_cc = match shared {
                    Some(four_cc) => four_cc,
                    None => self.four_cc()?,
                };
                let track_id = self.u8()?;
                let body = if sized {
                    let size = self.u24()? as usize;
                    if size > self.rest.len() {
                        return Err(self.short());
                    }
                    self.rest.split_to(size)
                } else {
                    std::mem::take(&mut self.rest)
                };
                if self.rest.is_empty() {
                    self.layout = Layout::Done;
                }
                self.enhanced(track_id, four_cc, body).map(Some)
            }
        }
    }

    /// One with a header of the original specification.
    fn legacy(&mut self) -> Result<Packet, Error> {
        let (codec, content) = match self.kind {
            Kind::Audio => {
                let codec = sound_format(self.packet_type);
                let content = match codec {
                    // AACPacketType
                    Codec::Played(_) if self.u8()? == 0 => Content::Config,
                    _ => Content::Coded { composition_offset_ms: 0 },
                };
                (codec, content)
            }
            Kind::Video => {
                let codec = codec_id(self.packet_type);
                let content = match codec {
                    Codec::Played(_) => {
                        // AVCPacketType. Behind an end of sequence some encoders leave out the offset.
                        match self.u8()? {
                            0 => self.i24().map(|_| Content::Config)?,
                            1 => Content::Coded { composition_offset_ms: self.i24()? },
                            _ => Content::Other,
                        }
                    }
                    _ => Content::Coded { composition_offset_ms: 0 },
                };
                (codec, content)
            }
        };
        Ok(self.packet(0, codec, content, self.rest.clone()))
    }

    /// One whose codec is a `FourCC`.
    fn enhanced(&self, track_id: u8, four_cc: [u8; 4], mut body: Bytes) -> Result<Packet, Error> {
        let codec = match self.kind {
            Kind::Audio => audio_four_cc(four_cc),
            Kind::Video => video_four_cc(four_cc),
        };
        let content = match (self.kind, self.packet_type) {
            (_, SEQUENCE_START) => Content::Config,
            (Kind::Video, CODED_FRAMES) if matches!(codec, Codec::Played(Coding::H264 | Coding::H265)) => {
                let offset = body.get(..3).ok_or_else(|| self.short())?;
                let composition_offset_ms = signed([offset[0], offset[1], offset[2]]);
                body.advance(3);
                Content::Coded { composition_offset_ms }
            }
            (_, CODED_FRAMES) | (Kind::Video, CODED_FRAMES_X) => Content::Coded { composition_offset_ms: 0 },
            _ => Content::Other,
        };
        Ok(self.packet(track_id, codec, content, body))
    }

    fn packet(&self, track_id: u8, codec: Codec, content: Content, body: Bytes) -> Packet {
        Packet { track_id, codec, content, key_frame: self.key_frame, offset_ns: self.offset_ns, body }
    }

    /// A modifier in front of the packet type that it modifies.
    fn mod_ex(&mut self) -> Result<(), Error> {
        let mut size = usize::from(self.u8()?) + 1;
        if size == 256 {
            size = usize::from(u16::from_be_bytes([self.u8()?, self.u8()?])) + 1;
        }
        if size > self.rest.len() {
            return Err(self.short());
        }
        let data = self.rest.split_to(size);
        let types = self.u8()?;
        self.packet_type = types & 15;
        // TimestampOffsetNano. What is a millisecond or more is no part of one.
        if let (0, [high, middle, low, ..]) = (types >> 4, data.as_ref()) {
            self.offset_ns = u32::from_be_bytes([0, *high, *middle, *low]).min(999_999);
        }
        Ok(())
    }

    fn short(&self) -> Error {
        Error::Short { kind: self.kind, len: self.len }
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.rest.try_get_u8().map_err(|_| self.short())
    }

    fn u24(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes([0, self.u8()?, self.u8()?, self.u8()?]))
    }

    fn i24(&mut self) -> Result<i32, Error> {
        Ok(signed([self.u8()?, self.u8()?, self.u8()?]))
    }

    fn four_cc(&mut self) -> Result<[u8; 4], Error> {
        Ok([self.u8()?, self.u8()?, self.u8()?, self.u8()?])
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_packet();
        if next.is_err() {
            self.layout = Layout::Done;
        }
        next.transpose()
    }
}

/// SI24: 24 bits in two's complement.
fn signed([high, middle, low]: [u8; 3]) -> i32 {
    i32::from_be_bytes([high, middle, low, 0]) >> 8
}

fn sound_format(number: u8) -> Codec {
    match number {
        10 => Codec::Played(Coding::Aac),
        0 | 3 => Codec::Refused("PCM"),
        1 => Codec::Refused("ADPCM"),
        2 | 14 => Codec::Refused("MP3"),
        4..=6 => Codec::Refused("Nellymoser"),
        7 | 8 => Codec::Refused("G.711"),
        11 => Codec::Refused("Speex"),
        number => Codec::Number(number),
    }
}

fn codec_id(number: u8) -> Codec {
    match number {
        7 => Codec::Played(Coding::H264),
        // Not Adobe's: cameras and old forks of ffmpeg send H.265 so, laid out like H.264.
        12 => Codec::Played(Coding::H265),
        2 => Codec::Refused("Sorenson H.263"),
        3 | 6 => Codec::Refused("Screen Video"),
        4 | 5 => Codec::Refused("VP6"),
        number => Codec::Number(number),
    }
}

fn audio_four_cc(four_cc: [u8; 4]) -> Codec {
    match &four_cc {
        b"mp4a" => Codec::Played(Coding::Aac),
        b"Opus" => Codec::Played(Coding::Opus),
        b"fLaC" => Codec::Played(Coding::Flac),
        b"ac-3" => Codec::Refused("AC-3"),
        b"ec-3" => Codec::Refused("E-AC-3"),
        b".mp3" => Codec::Refused("MP3"),
        _ => Codec::FourCc(four_cc),
    }
}

fn video_four_cc(four_cc: [u8; 4]) -> Codec {
    match &four_cc {
        b"avc1" => Codec::Played(Coding::H264),
        b"hvc1" => Codec::Played(Coding::H265),
        b"av01" => Codec::Played(Coding::Av1),
        b"vp08" => Codec::Refused("VP8"),
        b"vp09" => Codec::Refused("VP9"),
        b"vvc1" => Codec::Refused("H.266"),
        _ => Codec::FourCc(four_cc),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(kind: Kind, payload: &[u8]) -> Result<Vec<Packet>, Error> {
        Packets::read(kind, Bytes::copy_from_slice(payload))?.collect()
    }

    fn one(kind: Kind, payload: &[u8]) -> Packet {
        let mut all = packets(kind, payload).expect("reads");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn legacy_video_has_a_signed_composition_offset() {
        let packet = one(Kind::Video, &[0x27, 1, 0xff, 0xff, 0xd8, 9, 9]);
        assert_eq!(packet.content, Content::Coded { composition_offset_ms: -40 });
        assert_eq!((packet.codec, packet.key_frame), (Codec::Played(Coding::H264), false));
        assert_eq!(packet.body.as_ref(), [9, 9]);
        let header = one(Kind::Video, &[0x17, 0, 0, 0, 0, 1]);
        assert_eq!((header.content, header.key_frame), (Content::Config, true));
        assert_eq!(one(Kind::Video, &[0x17, 2]).content, Content::Other);
        assert_eq!(one(Kind::Video, &[0x1c, 0, 0, 0, 0, 1]).codec, Codec::Played(Coding::H265));
    }

    #[test]
    fn enhanced_video_has_its_offset_only_where_the_packet_type_says_so() {
        let frames = one(Kind::Video, b"\x91hvc1\x00\x00\x50ab");
        assert_eq!(frames.content, Content::Coded { composition_offset_ms: 80 });
        assert_eq!((frames.key_frame, frames.body.as_ref()), (true, &b"ab"[..]));
        let frames_x = one(Kind::Video, b"\xa3avc1ab");
        assert_eq!(frames_x.content, Content::Coded { composition_offset_ms: 0 });
        assert_eq!((frames_x.key_frame, frames_x.body.as_ref()), (false, &b"ab"[..]));
        let av1 = one(Kind::Video, b"\x91av01ab");
        assert_eq!((av1.content, av1.body.as_ref()), (frames_x.content, &b"ab"[..]));
    }

    #[test]
    fn what_is_not_needed_is_told_as_such() {
        for payload in [&b"\x92hvc1"[..], b"\x94hvc1\x02\x00\x09colorInfo", b"\x95av01\x80", b"\x9fhvc1"] {
            assert_eq!(one(Kind::Video, payload).content, Content::Other, "{payload:?}");
        }
        assert_eq!(one(Kind::Audio, b"\x94Opus\x01\x02\0\0\0\x03").content, Content::Other);
        assert_eq!(packets(Kind::Video, &[0x57, 0]), Ok(Vec::new()), "a command");
        assert_eq!(packets(Kind::Video, &[0xd1, 0]), Ok(Vec::new()), "a command");
        assert_eq!(packets(Kind::Audio, &[]), Ok(Vec::new()));
    }

    #[test]
    fn a_nanosecond_offset_is_read_through_other_modifiers() {
        let mut payload = vec![0x97, 2, 0x07, 0xa1, 0x20, 0x07]; // 500,000 ns, and then another modifier
        payload.extend([0, 0xee, 0x11]); // of a type that is not known
        payload.extend(b"hvc1\0\0\0ab");
        let packet = one(Kind::Video, &payload);
        assert_eq!((packet.offset_ns, packet.body.as_ref()), (500_000, &b"ab"[..]));
        let mut long = vec![0x97, 0xff, 1, 0x00];
        long.extend([0; 257]);
        long.extend(b"\x03hvc1ab");
        assert_eq!(one(Kind::Video, &long).body.as_ref(), b"ab");
    }

    #[test]
    fn each_multitrack_layout_gives_its_tracks() {
        let single = packets(Kind::Video, b"\x96\x03avc1\x05ab").expect("reads");
        assert_eq!((single[0].track_id, single[0].body.as_ref()), (5, &b"ab"[..]));
        let many = packets(Kind::Audio, b"\x95\x11Opus\x00\0\0\x02ab\x01\0\0\x01c").expect("reads");
        let ids: Vec<_> = many.iter().map(|packet| (packet.track_id, packet.body.as_ref())).collect();
        assert_eq!(ids, [(0, &b"ab"[..]), (1, &b"c"[..])]);
        let codecs =
            packets(Kind::Video, b"\x96\x21avc1\x00\0\0\x05\0\0\x01abav01\x01\0\0\x01c").expect("reads");
        assert_eq!(codecs[0].content, Content::Coded { composition_offset_ms: 1 });
        assert_eq!((codecs[0].body.as_ref(), codecs[1].body.as_ref()), (&b"ab"[..], &b"c"[..]));
        assert_eq!(codecs[1].codec, Codec::Played(Coding::Av1));
    }

    #[test]
    fn codecs_that_are_not_played_have_names() {
        assert_eq!(one(Kind::Audio, &[0x2f, 1]).codec.to_string(), "MP3");
        assert_eq!(one(Kind::Video, &[0x24, 1]).codec.to_string(), "VP6");
        assert_eq!(one(Kind::Video, b"\x91vp09ab").codec.to_string(), "VP9");
        assert_eq!(one(Kind::Video, b"\x91\x00\"ab").codec.to_string(), "codec \"\\x00\\\"ab\"");
        assert_eq!(one(Kind::Video, &[0x1d, 1]).codec.to_string(), "codec 13");
    }

    #[test]
    fn a_cut_header_is_an_error_that_names_the_tag() {
        for (kind, payload) in [
            (Kind::Video, &b"\x17\x01\0\0"[..]),
            (Kind::Video, b"\x91hvc1\0\0"),
            (Kind::Video, b"\x91hv"),
            (Kind::Video, b"\x97\x05\0\0"),
            (Kind::Video, b"\x96\x11avc1\x00\0\0\x05ab"),
            (Kind::Audio, b"\xaf"),
            (Kind::Audio, b"\x95"),
        ] {
            assert_eq!(packets(kind, payload), Err(Error::Short { kind, len: payload.len() }), "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn no_tag_makes_the_reader_panic(audio: bool, payload: Vec<u8>) {
            let kind = if audio { Kind::Audio } else { Kind::Video };
            if let Ok(packets) = packets(kind, &payload) {
                let total: usize = packets.iter().map(|packet| packet.body.len()).sum();
                prop_assert!(total <= payload.len());
            }
        }
    }
}
