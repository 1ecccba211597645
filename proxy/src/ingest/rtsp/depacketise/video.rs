//! Pictures out of packets: one buffer each, to which what comes is appended.
//!
//! A picture is whole at its marker bit. Where a camera never sets that, it is whole when the timestamp changes, which is one
//! picture later. Parameter sets are taken out on the way and kept; what stands in front of a picture and comes with a marker
//! or a timestamp of its own (parameter sets do, from some cameras) goes with the picture that follows.

use bytes::Bytes;

use super::{Error, MAX_NALS, MAX_PICTURE_LEN, Packet, fmtp::Format, h264, h265, sets::Sets};
use crate::media::{Coding, nal};

/// How many bytes say how long a NAL unit is.
const LENGTH_LEN: usize = 4;

/// The most parameter sets that one picture brings.
const MAX_SETS: usize = 64;

/// A picture that came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// Its NAL units, each behind 4 bytes of length, without parameter sets.
    pub data: Bytes,
    /// Its media time.
    pub timestamp: retina::Timestamp,
    /// So many packets did not come since the picture that was given before.
    pub loss: u16,
    /// Its beginning may be missing.
    pub damaged: bool,
    /// Other parameter sets came with it: [`Depacketiser::record`] holds them.
    pub new_sets: bool,
}

/// What comes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A picture.
    Unit(AccessUnit),
    /// A picture is left out: nothing that refers to it is to be shown.
    Broken(Error),
}

/// What one payload holds of a NAL unit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// A part, and the header of the whole.
    Fragment { header: Header, begins: bool, ends: bool, body: &'a [u8] },
}

/// A NAL unit's header: one byte in H.264, two in H.265.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header([u8; 2], usize);

impl Header {
    pub(super) fn one(byte: u8) -> Self {
        Self([byte, 0], 1)
    }

    pub(super) fn two(bytes: [u8; 2]) -> Self {
        Self(bytes, 2)
    }
}

/// What a NAL unit is to its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A slice, and whether a picture begins with it.
    Slice { first: bool },
    /// A parameter set, and whether it is the one that all others follow.
    Set { opens: bool },
    /// An access unit delimiter, which is always the first.
    Delimiter,
    /// It stands in front of its picture.
    Prefix,
    /// It stands behind its picture.
    Suffix,
    /// Nothing that a decoder knows.
    Ignored,
}

/// The pictures of one track.
#[derive(Debug)]
pub struct Depacketiser {
    coding: Coding,
    /// Its payloads are of a form that is not read.
    refused: Option<Error>,
    /// Packets in front of the very first were never on their way here.
    begins_late: bool,
    sets: Sets,
    before: Option<Sets>,
    gathered: Gathered,
    /// Packets that did not come, since a picture was given.
    lost: u16,
    /// How long the last picture was.
    last_len: usize,
}

/// A picture of which more is to come.
#[derive(Debug, Default)]
struct Gathered {
    data: Vec<u8>,
    /// That of its first slice; before there is one, that of the last packet.
    timestamp: Option<retina::Timestamp>,
    /// Where the NAL unit stands that is put together of fragments.
    fragment: Option<usize>,
    nals: usize,
    /// Up to where it is this picture: what is behind stands in front of the next. 0 without a slice.
    end: usize,
    /// Parameter sets, and where in the data they came.
    sets: Vec<(usize, Vec<u8>)>,
    damaged: bool,
    /// It is the first of all: a camera may have been in the midst of it.
    is_first: bool,
    /// What is left of it is left out.
    skipped: bool,
}

impl Gathered {
    fn is_open(&self) -> bool {
        self.skipped || self.nals > 0 || self.fragment.is_some()
    }

    fn len(&self) -> usize {
        self.data.len() + self.sets.iter().map(|(_, set)| set.len()).sum::<usize>()
    }
}

/// Takes the NAL units of an aggregation packet, each behind its size in two bytes (RFC 6184, 5.7.1; RFC 7798, 4.4.2). There is
/// one at least, and none is shorter than its own header.
pub(super) fn aggregated(
    mut rest: &[u8],
    header_len: usize,
    take: &mut impl FnMut(Piece<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if rest.is_empty() {
        return Err(Error::Aggregate);
    }
    while let Some((size, behind)) = rest.split_first_chunk() {
        let size = usize::from(u16::from_be_bytes(*size));
        let (nal, behind) = behind.split_at_checked(size).ok_or(Error::Aggregate)?;
        if nal.len() < header_len {
            return Err(Error::Aggregate);
        }
        if nal[0] & 0x80 != 0 {
            return Err(Error::Forbidden);
        }
        take(Piece::Whole(nal))?;
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { Err(Error::Aggregate) }
}

impl Depacketiser {
    /// A track of H.264 or H.265 that SDP describes so. Where it `begins_late`, packets that are lost in front of the first one
    /// were never on their way here: the camera sent them before it answered.
    pub fn new(coding: Coding, format: &Format, begins_late: bool) -> Self {
        let interleaved =
            format.get("sprop-max-don-diff").and_then(|value| value.parse().ok()).unwrap_or(0u32);
        Self {
            coding,
            refused: (coding == Coding::H265 && interleaved > 0)
                .then_some(Error::Unsupported("decoding order numbers (sprop-max-don-diff)")),
            begins_late,
            sets: Sets::described(coding, format),
            before: None,
            gathered: Gathered { is_first: true, damaged: true, ..Gathered::default() },
            lost: 0,
            last_len: 0,
        }
    }

    /// What a decoder is configured with by the parameter sets of the moment, once there is one of each kind.
    pub fn record(&self) -> Option<Vec<u8>> {
        self.sets.record()
    }

    /// The newest parameter sets cannot be used: those before them hold, where there are some.
    pub fn forget_sets(&mut self) {
        self.sets = self.before.take().unwrap_or_else(|| Sets::new(self.coding));
    }

    /// How many bytes are held.
    pub fn held_len(&self) -> usize {
        self.gathered.len()
    }

    /// Takes the next packet and adds to `out` what comes of it: mostly nothing, two at most.
    pub fn push(&mut self, packet: &Packet, out: &mut Vec<Output>) {
        let gathered = &mut self.gathered;
        let ticks = packet.timestamp.timestamp();
        let same = gathered.timestamp.is_some_and(|timestamp| timestamp.timestamp() == ticks);
        if packet.loss > 0 {
            self.lost = self.lost.saturating_add(packet.loss);
            if !(gathered.is_first && !gathered.is_open() && self.begins_late) {
                // Of what was gathered the middle is missing, or the end; of what follows perhaps the beginning.
                let skipped = gathered.is_open() && same;
                self.gathered = Gathered { skipped, damaged: true, ..Gathered::default() };
            }
        } else if gathered.is_open() && !same {
            if gathered.skipped {
                self.gathered = Gathered::default();
            } else if gathered.fragment.is_some() {
                self.broken(Error::NoEnd, out);
                self.gathered = Gathered::default();
            } else if gathered.end > 0 {
                self.give(out);
            }
        }
        if self.gathered.end == 0 {
            self.gathered.timestamp = Some(packet.timestamp);
        }
        if !self.gathered.skipped
            && let Err(error) = self.read(&packet.payload)
        {
            self.broken(error, out);
        }
        if packet.marker {
            if self.gathered.skipped {
                self.gathered = Gathered::default();
            } else if self.gathered.fragment.is_some() {
                self.broken(Error::NoEnd, out);
                self.gathered = Gathered::default();
            } else if self.gathered.end > 0 {
                self.give(out);
            }
        }
    }

    /// Leaves the picture out.
    fn broken(&mut self, error: Error, out: &mut Vec<Output>) {
        // What a loss, or our coming in the midst of it, explains needs no words.
        if !(self.gathered.damaged && error == Error::NoBeginning) {
            out.push(Output::Broken(error));
        }
        let timestamp = self.gathered.timestamp;
        self.gathered = Gathered { skipped: true, timestamp, ..Gathered::default() };
    }

    /// Gives the picture that is whole.
    fn give(&mut self, out: &mut Vec<Output>) {
        let Gathered { mut data, timestamp, end, sets, damaged, .. } = std::mem::take(&mut self.gathered);
        let Some(timestamp) = timestamp else { return };
        // What stands behind it belongs to the next picture.
        let rest = data.split_off(end);
        let (own, later): (Vec<_>, Vec<_>) = sets.into_iter().partition(|(at, _)| *at < end);
        self.gathered = Gathered {
            nals: later.len() + nal::units(&rest).count(),
            sets: later.into_iter().map(|(at, set)| (at - end, set)).collect(),
            data: rest,
            timestamp: Some(timestamp),
            ..Gathered::default()
        };
        self.last_len = data.len();
        let mut new_sets = false;
        if !own.is_empty() {
            let before = self.sets.clone();
            new_sets = self.sets.take(own.into_iter().map(|(_, set)| set));
            if new_sets {
                self.before = Some(before);
            }
        }
        let loss = std::mem::take(&mut self.lost);
        out.push(Output::Unit(AccessUnit { data: data.into(), timestamp, loss, damaged, new_sets }));
    }

    fn read(&mut self, payload: &[u8]) -> Result<(), Error> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        match self.coding {
            Coding::H265 => h265::read(payload, &mut |piece| self.piece(piece)),
            _ => h264::read(payload, &mut |piece| self.piece(piece)),
        }
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<(), Error> {
        match (piece, self.gathered.fragment) {
            (Piece::Whole(nal), None) => {
                let at = self.open(nal.len())?;
                self.gathered.data.extend_from_slice(nal);
                self.close(at)
            }
            (Piece::Fragment { header: Header(header, len), begins: true, ends, body }, None) => {
                let at = self.open(len + body.len())?;
                self.gathered.data.extend_from_slice(&header[..len]);
                self.gathered.data.extend_from_slice(body);
                self.judge_beginning(at);
                if ends {
                    self.close(at)
                } else {
                    self.gathered.fragment = Some(at);
                    Ok(())
                }
            }
            (Piece::Fragment { begins: false, ends, body, .. }, Some(at)) => {
                self.room_for(body.len())?;
                self.gathered.data.extend_from_slice(body);
                if ends { self.close(at) } else { Ok(()) }
            }
            (Piece::Fragment { begins: false, .. }, None) => Err(Error::NoBeginning),
            (Piece::Whole(_) | Piece::Fragment { begins: true, .. }, Some(_)) => Err(Error::NoEnd),
        }
    }

    fn room_for(&self, len: usize) -> Result<(), Error> {
        if self.gathered.len() + len > MAX_PICTURE_LEN { Err(Error::TooLarge) } else { Ok(()) }
    }

    /// Begins a NAL unit of so many bytes or more, and tells where.
    fn open(&mut self, len: usize) -> Result<usize, Error> {
        self.room_for(LENGTH_LEN + len)?;
        let data = &mut self.gathered.data;
        if data.capacity() == 0 {
            data.reserve((self.last_len + self.last_len / 4).max(LENGTH_LEN + len));
        }
        let at = data.len();
        data.extend_from_slice(&[0; LENGTH_LEN]);
        Ok(at)
    }

    /// Ends the NAL unit that began there. Some cameras send several in the place of one, with start codes between them, or one
    /// with the zeros behind it that go with those (ITU-T H.264, annex B).
    fn close(&mut self, at: usize) -> Result<(), Error> {
        self.gathered.fragment = None;
        let data = &mut self.gathered.data;
        let body = at + LENGTH_LEN;
        if start_code(&data[body..]).is_none() {
            data.truncate(without_zeros(&data[body..]).len() + body);
            return self.nal(at);
        }
        let whole = data.split_off(body);
        data.truncate(at);
        for nal in between_start_codes(&whole) {
            let at = self.open(nal.len())?;
            self.gathered.data.extend_from_slice(nal);
            self.nal(at)?;
        }
        Ok(())
    }

    /// Takes the NAL unit that is there from `at` on.
    fn nal(&mut self, at: usize) -> Result<(), Error> {
        let body = at + LENGTH_LEN;
        self.judge_beginning(at);
        let kind = self.kind(&self.gathered.data[body..]);
        let gathered = &mut self.gathered;
        gathered.nals += 1;
        if gathered.nals > MAX_NALS {
            return Err(Error::TooMany);
        }
        match kind {
            Kind::Ignored => gathered.data.truncate(at),
            Kind::Set { .. } => {
                let set = &gathered.data[body..];
                if !(gathered.sets.is_empty() && self.sets.knows(set)) {
                    if gathered.sets.len() == MAX_SETS || set.len() > usize::from(u16::MAX) {
                        return Err(Error::TooMany);
                    }
                    let set = set.to_vec();
                    gathered.sets.push((at, set));
                }
                gathered.data.truncate(at);
            }
            Kind::Slice { .. } | Kind::Suffix | Kind::Delimiter | Kind::Prefix => {
                let len = (gathered.data.len() - body) as u32; // at most MAX_PICTURE_LEN
                gathered.data[at..body].copy_from_slice(&len.to_be_bytes());
                let ends = match kind {
                    Kind::Slice { .. } => true,
                    Kind::Suffix => gathered.end > 0,
                    _ => false,
                };
                if ends {
                    gathered.end = gathered.data.len();
                }
            }
        }
        Ok(())
    }

    /// Whether the beginning of the picture came after all, judged by the first NAL unit of it that did.
    fn judge_beginning(&mut self, at: usize) {
        if self.gathered.nals > 0 || !self.gathered.damaged {
            return;
        }
        let kind = self.kind(&self.gathered.data[at + LENGTH_LEN..]);
        self.gathered.damaged = match kind {
            Kind::Delimiter | Kind::Set { opens: true } => false,
            // Where something was lost, that may be other parameter sets.
            Kind::Slice { first } => !(self.gathered.is_first && first),
            _ => !self.gathered.is_first,
        };
    }

    fn kind(&self, nal: &[u8]) -> Kind {
        if self.coding == Coding::H265 { h265::kind(nal) } else { h264::kind(nal) }
    }
}

/// Where the first start code (00 00 01) stands.
pub(super) fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    while let Some(byte) = bytes.get(at) {
        match byte {
            0 => at += 1,
            1 if bytes[at - 2..at] == [0, 0] => return Some(at - 2),
            // No start code ends here, nor in the next two bytes.
            _ => at += 3,
        }
    }
    None
}

/// The NAL units between start codes; none is empty.
pub(super) fn between_start_codes(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let at = start_code(bytes);
        rest = at.map(|at| &bytes[at + 3..]);
        Some(without_zeros(&bytes[..at.unwrap_or(bytes.len())]))
    })
    .filter(|nal| !nal.is_empty())
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
#[path = "video_tests.rs"]
mod tests;
