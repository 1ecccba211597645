//! A camera's access units, from what came over the network to what a stream passes on: whether decoding can begin with
//! one, when it is decoded, and whether the parameter sets it needs are there.
//!
//! PURE. What comes are whole NAL units with 4 bytes of length each, without the parameter sets that came in band: those
//! are given to [`Pictures::configure`] before the access unit that they came with.

use bytes::{Bytes, BytesMut};

use super::{
    Coding, Track,
    decode_order::{DecodeOrder, OrderCount, Place},
    h264, h265, nal,
};

/// The longest picture parameter set that is kept, in bytes. Real ones are under 50, or some hundred with scaling lists.
const MAX_PPS_LEN: usize = 4096;

/// The most picture parameter sets that are kept. H.265 has 64, and nobody uses as many.
const MAX_PPS: usize = 64;

/// One access unit that was read, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Length-prefixed NAL units.
    pub data: Bytes,
    /// It goes on with the picture of the unit before: another slice of it, or the second field at the same time.
    pub continues: bool,
    head: Head,
}

/// What a picture's first slice, and what stands before it, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    is_first: bool,
    /// Decoders begin here whatever came before; and whether order counts begin anew.
    random_access: Option<bool>,
    /// Others count from this picture.
    is_anchor: bool,
    order_count_lsb: Option<u32>,
    /// Pictures until all is well, if decoding begins here.
    recovery: Option<u32>,
    /// Of a field: whether it is the bottom one, and its frame's number.
    field: Option<(bool, u32)>,
}

/// An access unit as a stream passes it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Decode time in the clock of the presentation time, where it is another time.
    pub dts_ticks: Option<i64>,
    /// Decoding can begin here.
    pub key_frame: bool,
    /// Decoding can begin here, but it takes some pictures until one is whole.
    pub gradual: bool,
    /// Length-prefixed NAL units.
    pub data: Bytes,
}

/// Why an access unit must not reach a decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its NAL units cannot be told apart.
    #[error(transparent)]
    Nal(#[from] nal::Error),
    /// It has slices, and none whose beginning makes sense by the parameter sets there are.
    #[error("a slice that does not go with the parameter sets")]
    Slice,
    /// It refers to parameters that never came.
    #[error("a picture that needs picture parameter set {0}, which never came")]
    NoPps(u32),
}

/// Why parameter sets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// H.264.
    #[error(transparent)]
    H264(#[from] h264::Error),
    /// H.265.
    #[error(transparent)]
    H265(#[from] h265::Error),
}

impl Unusable {
    /// They are what they are, and no others will come: the camera has to be set to something else.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::H264(h264::Error::Size { .. }) | Self::H265(h265::Error::Size { .. }))
    }
}

/// The parameter sets of the moment.
#[derive(Clone, Debug)]
struct Sets {
    /// As they came: the SPS, of H.265 with the VPS in front.
    sps: Vec<u8>,
    pps: Vec<Pps>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    H264(h264::sps::Sps),
    H265(h265::Sps),
}

#[derive(Clone, Debug)]
struct Pps {
    id: u32,
    nal: Vec<u8>,
    h265: Option<h265::slice::Pps>,
}

/// The pictures of one track.
#[derive(Clone, Debug)]
pub struct Pictures {
    coding: Coding,
    sets: Option<Sets>,
    count: OrderCount,
    order: DecodeOrder,
    last: Option<(Head, i64)>,
    entries: Entries,
}

impl Pictures {
    /// The pictures of a track of H.264 or H.265.
    pub fn new(coding: Coding) -> Self {
        Self {
            coding,
            sets: None,
            count: OrderCount::default(),
            order: DecodeOrder::new(None, 1),
            last: None,
            entries: Entries::default(),
        }
    }

    /// How they are coded.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Takes a decoder's configuration ([`Coding`]), and gives the track that it and what came before describe: as long as
    /// the SPS stays the same, picture parameter sets with other numbers stay, too.
    pub fn configure(&mut self, record: &[u8]) -> Result<Track, Unusable> {
        if self.coding == Coding::H265 { self.configure_h265(record) } else { self.configure_h264(record) }
    }

    fn configure_h264(&mut self, record: &[u8]) -> Result<Track, Unusable> {
        let track = h264::track(record)?;
        // A record that is shorter than it says, or an SPS that only the other reader can read: without decode times.
        let read = h264::Record::read(record).and_then(|record| {
            let sps = *record.sps.first()?;
            Some((sps, h264::sps::read(sps)?, record))
        });
        let Some((sps, parsed, mut own)) = read else {
            self.sets = None;
            return Ok(track);
        };
        let pps = own.pps.iter().filter_map(|nal| Some(Pps::new(h264::slice::pps_id(nal)?, nal, None)));
        let pps = pps.collect();
        let kept = self.keep(sps.to_vec(), pps, Kind::H264(parsed));
        let merged = kept.pps.len() > own.pps.len();
        own.pps = kept.pps.iter().map(|pps| pps.nal.as_slice()).collect();
        if merged { Ok(h264::track(&own.write())?) } else { Ok(track) }
    }

    fn configure_h265(&mut self, record: &[u8]) -> Result<Track, Unusable> {
        let track = h265::track(record)?;
        let arrays = h265::arrays(record).unwrap_or_default();
        let of = |wanted: u8| arrays.iter().filter(move |(own, _)| *own == wanted).map(|(_, nal)| *nal);
        let sps: Vec<u8> = of(h265::VPS).chain(of(h265::SPS)).flatten().copied().collect();
        let Some(parsed) = of(h265::SPS).next().and_then(h265::parse_sps) else {
            self.sets = None;
            return Ok(track);
        };
        let pps: Vec<_> = of(h265::PPS)
            .filter_map(|nal| h265::slice::pps(nal).map(|pps| Pps::new(pps.id, nal, Some(pps))))
            .collect();
        let own = pps.len();
        let kept = self.keep(sps, pps, Kind::H265(parsed));
        if kept.pps.len() == own {
            return Ok(track);
        }
        let pps: Vec<_> = kept.pps.iter().map(|pps| pps.nal.as_slice()).collect();
        let merged = h265::with_pps(record, &pps).unwrap_or_else(|| record.to_vec());
        Ok(h265::track(&merged)?)
    }

    /// Keeps parameter sets: beside those there are where the SPS is the same, and else in their place.
    fn keep(&mut self, sps: Vec<u8>, pps: Vec<Pps>, kind: Kind) -> &Sets {
        let same = self.sets.take().filter(|sets| sets.sps == sps);
        let mut sets = same.unwrap_or_else(|| {
            self.order = match &kind {
                Kind::H264(sps) => DecodeOrder::new(sps.max_reordering(), 2),
                Kind::H265(sps) => DecodeOrder::new(Some(sps.max_num_reorder_pics), 1),
            };
            self.count = OrderCount::default();
            self.last = None;
            Sets { sps, pps: Vec::new(), kind }
        });
        for new in pps {
            let old = sets.pps.iter().position(|old| old.id == new.id);
            match old {
                Some(at) => sets.pps[at] = new,
                None if sets.pps.len() < MAX_PPS && new.nal.len() <= MAX_PPS_LEN => sets.pps.push(new),
                None => {}
            }
        }
        sets.pps.sort_by_key(|pps| pps.id);
        self.sets.insert(sets)
    }

    /// Reads what came at once. Nothing where it holds no picture.
    pub fn read(&mut self, data: Bytes, pts_ticks: i64) -> Result<Option<Unit>, Error> {
        let unit = nal::access_unit(data, 4, self.coding)?;
        if !unit.has_picture {
            return Ok(None);
        }
        let mut head = match &self.sets {
            Some(sets) => sets.head(&unit.data)?,
            None => Head::unread(unit.is_random_access),
        };
        let mut continues = !head.is_first;
        let first_field = self.last.and_then(|(last, last_pts)| Some((last.field?, last_pts)));
        if let (Some((bottom, frame_num)), Some((first, first_pts))) = (head.field, first_field)
            && head.is_first
            && first == (!bottom, frame_num)
        {
            // The second field of a frame: decoding cannot begin with it, and no third one follows.
            (head.random_access, head.recovery) = (None, None);
            continues = pts_ticks == first_pts;
            self.last = None;
        } else if head.is_first {
            self.last = Some((head, pts_ticks));
        }
        Ok(Some(Unit { data: unit.data, continues, head }))
    }

    /// Says when a whole picture is decoded that is shown at `pts_ticks`, and whether decoding can begin with it.
    pub fn place(&mut self, unit: Unit, pts_ticks: i64) -> Picture {
        let Head { random_access, is_anchor, order_count_lsb, .. } = unit.head;
        let restarts = random_access == Some(true);
        let bits = self.sets.as_ref().map_or(16, Sets::order_count_bits);
        let order_count = order_count_lsb.map(|lsb| self.count.next(lsb, bits, restarts, is_anchor));
        let dts_ticks = self.order.next(Place { pts_ticks, order_count, restarts });
        let key_frame = self.entries.is_entry(&unit.head);
        let gradual = key_frame && random_access.is_none() && unit.head.recovery > Some(0);
        Picture { dts_ticks, key_frame, gradual, data: unit.data }
    }
}

impl Unit {
    /// Adds the next part of the same picture.
    pub fn append(&mut self, part: &Self) {
        let mut data = BytesMut::from(std::mem::take(&mut self.data));
        data.extend_from_slice(&part.data);
        self.data = data.freeze();
    }
}

impl Pps {
    fn new(id: u32, nal: &[u8], h265: Option<h265::slice::Pps>) -> Self {
        Self { id, nal: nal.to_vec(), h265 }
    }
}

impl Head {
    /// Where no parameter sets can be read.
    fn unread(is_random_access: bool) -> Self {
        Self {
            is_first: true,
            random_access: is_random_access.then_some(false),
            is_anchor: true,
            order_count_lsb: None,
            recovery: None,
            field: None,
        }
    }
}

impl Sets {
    fn order_count_bits(&self) -> u32 {
        match &self.kind {
            Kind::H264(sps) => match sps.order_count {
                h264::sps::OrderCount::InSlices(bits) => bits,
                _ => 16,
            },
            Kind::H265(sps) => sps.order_count_bits,
        }
    }

    /// Reads the first slice of an access unit, and what stands before it.
    fn head(&self, data: &[u8]) -> Result<Head, Error> {
        let mut recovery = None;
        for nal in nal::units(data) {
            let header = nal.first().copied().unwrap_or_default();
            match &self.kind {
                Kind::H264(sps) => match header & 31 {
                    // A slice, or the first partition of one: both begin alike.
                    1 | 2 | 5 => return self.h264_head(nal, sps, recovery),
                    6 => recovery = recovery.or_else(|| h264::slice::recovery_frame_cnt(nal)),
                    _ => {}
                },
                Kind::H265(sps) => match header >> 1 & 63 {
                    0..32 => return self.h265_head(nal, sps, recovery),
                    39 => {
                        let count = || h265::slice::recovery_poc_cnt(nal);
                        recovery = recovery.or_else(|| count().map(|count| count.max(0) as u32));
                    }
                    _ => {}
                },
            }
        }
        Err(Error::Slice)
    }

    fn h264_head(&self, nal: &[u8], sps: &h264::sps::Sps, recovery: Option<u32>) -> Result<Head, Error> {
        let slice = h264::slice::read(nal, sps).ok_or(Error::Slice)?;
        self.known(slice.pps_id)?;
        Ok(Head {
            is_first: slice.is_first,
            random_access: slice.is_idr.then_some(true),
            is_anchor: slice.is_reference,
            order_count_lsb: slice.order_count_lsb,
            recovery,
            field: slice.bottom_field.map(|bottom| (bottom, slice.frame_num)),
        })
    }

    fn h265_head(&self, nal: &[u8], sps: &h265::Sps, recovery: Option<u32>) -> Result<Head, Error> {
        let pps_id = h265::slice::pps_id_of_slice(nal).ok_or(Error::Slice)?;
        self.known(pps_id)?;
        let pps = self.pps.iter().filter_map(|pps| pps.h265);
        let slice = h265::slice::read(nal, sps, pps).ok_or(Error::Slice)?;
        Ok(Head {
            is_first: slice.is_first,
            random_access: slice.is_random_access().then(|| slice.restarts()),
            is_anchor: slice.is_anchor,
            order_count_lsb: Some(slice.order_count_lsb),
            recovery,
            field: None,
        })
    }

    fn known(&self, pps_id: u32) -> Result<(), Error> {
        let known = self.pps.iter().any(|pps| pps.id == pps_id);
        if known { Ok(()) } else { Err(Error::NoPps(pps_id)) }
    }
}

/// With which pictures a stream's viewers begin.
#[derive(Clone, Copy, Debug, Default)]
struct Entries {
    random_access_seen: bool,
    /// Points of gradual recovery since the last random access point.
    gradual: u32,
}

impl Entries {
    /// A random access point, and a recovery point with which all is well at once (an open GOP). One after which it takes
    /// some pictures (intra refresh) only counts in a stream that has nothing better: else viewers would begin with a
    /// picture that is not whole.
    fn is_entry(&mut self, head: &Head) -> bool {
        if head.random_access.is_some() {
            *self = Self { random_access_seen: true, gradual: 0 };
            return true;
        }
        match head.recovery {
            None => false,
            Some(0) => true,
            Some(_) => {
                self.gradual = self.gradual.saturating_add(1);
                !self.random_access_seen || self.gradual > 1
            }
        }
    }
}

#[cfg(test)]
#[path = "pictures_tests.rs"]
mod tests;
