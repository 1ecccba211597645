//! Parameter sets: those in SDP, and those that come with the pictures; the newest hold.

use super::fmtp::Format;
use crate::media::{self, Coding};

/// The most picture parameter sets that are kept.
const MAX_PPS: usize = 64;

/// The parameter sets of a track: one of each kind, and of pictures as many as there are numbers.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    coding: Coding,
    vps: Vec<u8>,
    sps: Vec<u8>,
    pps: Vec<Vec<u8>>,
}

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Video,
    Sequence,
    Picture,
}

impl Sets {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, vps: vec![], sps: vec![], pps: vec![] }
    }

    /// Those in SDP (RFC 6184, 8.1; RFC 7798, 7.1). What cannot be read is as if it were not there.
    pub(super) fn described(coding: Coding, format: &Format) -> Self {
        let names: &[&str] = match coding {
            Coding::H265 => &["sprop-vps", "sprop-sps", "sprop-pps"],
            _ => &["sprop-parameter-sets"],
        };
        let mut sets = Self::new(coding);
        sets.take(names.iter().flat_map(|name| format.nals(name)));
        sets
    }

    /// Whether this one is the newest of its kind.
    pub(super) fn knows(&self, nal: &[u8]) -> bool {
        match self.which(nal) {
            Some(Which::Video) => self.vps == nal,
            Some(Which::Sequence) => self.sps == nal,
            Some(Which::Picture) => self.pps.iter().any(|pps| pps == nal),
            None => true,
        }
    }

    /// Takes new ones, and tells whether they are other ones than before. Those of pictures that come with another one of the
    /// sequence are all there are; else those with other numbers stay.
    pub(super) fn take(&mut self, new: impl Iterator<Item = Vec<u8>>) -> bool {
        let mut pps = vec![];
        let (mut changed, mut another_sequence) = (false, false);
        for nal in new {
            match self.which(&nal) {
                Some(Which::Video) if self.vps != nal => (self.vps, changed) = (nal, true),
                Some(Which::Sequence) if self.sps != nal => (self.sps, another_sequence) = (nal, true),
                Some(Which::Picture) => pps.push(nal),
                _ => {}
            }
        }
        if another_sequence && !pps.is_empty() {
            self.pps.clear();
        }
        changed |= another_sequence;
        for nal in pps {
            let Some(number) = self.number(&nal).filter(|_| !self.pps.contains(&nal)) else { continue };
            match self.pps.iter().position(|pps| self.number(pps) == Some(number)) {
                Some(at) => self.pps[at] = nal,
                None if self.pps.len() < MAX_PPS => self.pps.push(nal),
                None => continue,
            }
            changed = true;
        }
        changed
    }

    /// `AVCDecoderConfigurationRecord` or `HEVCDecoderConfigurationRecord`, where there is one of each kind.
    pub(super) fn record(&self) -> Option<Vec<u8>> {
        let pps: Vec<&[u8]> = self.pps.iter().map(Vec::as_slice).collect();
        if pps.is_empty() {
            return None;
        }
        match self.coding {
            Coding::H265 => media::h265::record(&self.vps, &self.sps, &pps),
            _ => media::h264::record(&self.sps, &pps),
        }
    }

    fn which(&self, nal: &[u8]) -> Option<Which> {
        let first = *nal.first()?;
        match self.coding {
            Coding::H265 => match first >> 1 & 63 {
                media::h265::VPS => Some(Which::Video),
                media::h265::SPS => Some(Which::Sequence),
                media::h265::PPS => Some(Which::Picture),
                _ => None,
            },
            _ => match first & 31 {
                7 => Some(Which::Sequence),
                8 => Some(Which::Picture),
                _ => None,
            },
        }
    }

    /// The number of a picture parameter set; nothing where it cannot be read.
    fn number(&self, pps: &[u8]) -> Option<u32> {
        match self.coding {
            Coding::H265 => media::h265::slice::pps(pps).map(|pps| pps.id),
            _ => media::h264::slice::pps_id(pps),
        }
    }
}
