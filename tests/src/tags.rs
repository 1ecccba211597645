//! What an encoder publishes by Enhanced RTMP, which Debian's ffmpeg and `GStreamer` cannot write: tags made from an MP4 of
//! ffmpeg's. FLV's own tags are in [`crate::flv`].
//!
//! PURE: bytes in, tags out. Written from the specifications and apart from the proxy's reader: each checks the other.

use anyhow::{Context, Result, bail, ensure};
use mp4_atom::{Atom as _, Decode as _, Moof};

use crate::flv::{AUDIO, Tag, VIDEO};

/// The samples of a fragmented MP4 (`-movflags frag_keyframe+delay_moov+default_base_moof`) as Enhanced RTMP's tags,
/// sequence headers first and then interleaved by their times.
pub fn from_mp4(file: &[u8]) -> Result<Vec<Tag>> {
    let (mut tags, mut tracks) = (vec![], vec![]);
    let mut rest = file;
    while let Some((kind, whole, behind)) = split_box(rest)? {
        match &kind {
            b"moov" => {
                tracks = tracks_of(&whole[8..])?;
                tags.extend(tracks.iter().map(Track::sequence_header));
            }
            b"moof" => {
                let moof = Moof::decode(&mut &whole[..]).context("moof")?;
                for traf in &moof.traf {
                    let track = tracks.iter().find(|track| track.id == traf.tfhd.track_id);
                    let track = track.context("a fragment of no track")?;
                    let mut decode_ticks = traf.tfdt.as_ref().context("no tfdt")?.base_media_decode_time;
                    for trun in &traf.trun {
                        let mut at = trun.data_offset.context("no data offset")? as usize;
                        for sample in &trun.samples {
                            let size = sample.size.or(traf.tfhd.default_sample_size).context("no size")?;
                            let data = rest.get(at..at + size as usize).context("a sample is cut off")?;
                            let flags = sample.flags.or(traf.tfhd.default_sample_flags).unwrap_or(0);
                            let offset_ticks = sample.cts.unwrap_or(0);
                            tags.push(track.coded(decode_ticks, offset_ticks, flags & 0x1_0000 == 0, data));
                            let duration = sample.duration.or(traf.tfhd.default_sample_duration);
                            decode_ticks += u64::from(duration.unwrap_or(0));
                            at += size as usize;
                        }
                    }
                }
            }
            _ => {}
        }
        rest = behind;
    }
    tags.sort_by_key(|tag| (!tag.is_sequence_header(), tag.time_ms));
    ensure!(tags.iter().any(|tag| !tag.is_sequence_header()), "no samples: is the file fragmented?");
    Ok(tags)
}

/// A tag of H.265 as old forks and cameras write it: FLV's own layout with codec 12.
pub fn as_legacy_h265(tag: &Tag) -> Tag {
    let payload = &tag.payload;
    let frame_type = payload[0] & 0x70;
    let (packet_type, behind) = match payload[0] & 15 {
        // CodedFrames has a composition offset, SequenceStart has none.
        1 => (1, payload[5..].to_vec()),
        packet_type => (packet_type, [&[0, 0, 0], &payload[5..]].concat()),
    };
    Tag { payload: [&[frame_type | 0x0c, packet_type], &behind[..]].concat().into(), ..tag.clone() }
}

/// A track of an MP4.
#[derive(Debug)]
struct Track {
    id: u32,
    timescale: u32,
    four_cc: [u8; 4],
    config: Vec<u8>,
}

impl Track {
    fn kind(&self) -> u8 {
        if matches!(&self.four_cc, b"mp4a" | b"Opus" | b"fLaC") { AUDIO } else { VIDEO }
    }

    fn sequence_header(&self) -> Tag {
        // Of sound the 9 says that the header is enhanced; of pictures it is that bit and "key frame".
        let payload = [&[0x90], &self.four_cc[..], &self.config].concat();
        Tag { kind: self.kind(), time_ms: 0, payload: payload.into() }
    }

    fn coded(&self, decode_ticks: u64, offset_ticks: i64, key_frame: bool, data: &[u8]) -> Tag {
        let ms = |ticks: i64| ticks * 1_000 / i64::from(self.timescale);
        // The difference of rounded times: a rounded difference would put frames out of step.
        let (dts_ms, pts_ms) = (ms(decode_ticks as i64), ms(decode_ticks as i64 + offset_ticks));
        let mut payload = match (self.kind(), key_frame) {
            (AUDIO, _) | (_, true) => vec![0x91],
            _ => vec![0xa1],
        };
        payload.extend(self.four_cc);
        match &self.four_cc {
            b"avc1" | b"hvc1" => payload.extend(&((pts_ms - dts_ms) as i32).to_be_bytes()[1..]),
            // A file's samples have lost their temporal delimiters.
            b"av01" => payload.extend([0x12, 0x00]),
            _ => {}
        }
        payload.extend(data);
        Tag { kind: self.kind(), time_ms: dts_ms as u32, payload: payload.into() }
    }
}

/// Its type, the whole of it, and what is behind it.
type Split<'a> = ([u8; 4], &'a [u8], &'a [u8]);

/// Takes the first box off `rest`.
fn split_box(rest: &[u8]) -> Result<Option<Split<'_>>> {
    let Some((head, _)) = rest.split_first_chunk::<8>() else { return Ok(None) };
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let (whole, behind) =
        rest.split_at_checked(size).filter(|(whole, _)| whole.len() >= 8).context("a box is cut off")?;
    Ok(Some(([head[4], head[5], head[6], head[7]], whole, behind)))
}

/// The body of the first box below `path`.
fn find<'a>(mut body: &'a [u8], path: &[&[u8; 4]]) -> Result<&'a [u8]> {
    for wanted in path {
        loop {
            let (kind, whole, behind) =
                split_box(body)?.with_context(|| format!("no {}", String::from_utf8_lossy(&wanted[..])))?;
            if kind == **wanted {
                body = &whole[8..];
                break;
            }
            body = behind;
        }
    }
    Ok(body)
}

fn tracks_of(moov: &[u8]) -> Result<Vec<Track>> {
    let mut tracks = vec![];
    let mut rest = moov;
    while let Some((kind, whole, behind)) = split_box(rest)? {
        if &kind == b"trak" {
            tracks.push(track_of(&whole[8..])?);
        }
        rest = behind;
    }
    Ok(tracks)
}

fn track_of(trak: &[u8]) -> Result<Track> {
    let u32_at = |body: &[u8], version_0: usize, version_1: usize| -> Result<u32> {
        let at = if body.first() == Some(&1) { version_1 } else { version_0 };
        let bytes = body.get(at..).and_then(<[u8]>::first_chunk).context("a box is cut off")?;
        Ok(u32::from_be_bytes(*bytes))
    };
    let id = u32_at(find(trak, &[b"tkhd"])?, 12, 20)?;
    let timescale = u32_at(find(trak, &[b"mdia", b"mdhd"])?, 12, 20)?;
    let stsd = find(trak, &[b"mdia", b"minf", b"stbl", b"stsd"])?;
    let (four_cc, entry, _) = split_box(&stsd[8..])?.context("no sample entry")?;
    // ISO/IEC 14496-12: 8 bytes of every entry, then 70 of a visual or 20 of an audio one.
    let boxes = |head: usize| entry.get(8 + head..).context("a sample entry is cut off");
    let config = match &four_cc {
        b"avc1" => find(boxes(78)?, &[b"avcC"])?.to_vec(),
        b"hvc1" => find(boxes(78)?, &[b"hvcC"])?.to_vec(),
        b"av01" => find(boxes(78)?, &[b"av1C"])?.to_vec(),
        b"mp4a" => {
            let mut esds = find(boxes(28)?, &[b"esds"])?;
            let esds = mp4_atom::Esds::decode_body(&mut esds).context("esds")?;
            esds.es_desc.dec_config.dec_specific.context("no AudioSpecificConfig")?.raw
        }
        b"Opus" => opus_head(find(boxes(28)?, &[b"dOps"])?)?,
        // Version and flags of the box are in front of the metadata blocks.
        b"fLaC" => [b"fLaC", &find(boxes(28)?, &[b"dfLa"])?[4..]].concat(),
        other => bail!("no tag for {}", String::from_utf8_lossy(other)),
    };
    Ok(Track { id, timescale, four_cc, config })
}

/// `dOps` is big-endian and begins with version 0, `OpusHead` (RFC 7845, 5.1) little-endian with version 1.
fn opus_head(dops: &[u8]) -> Result<Vec<u8>> {
    let [_, channels, skip @ .., family] = dops.first_chunk::<11>().context("dOps is cut off")?;
    let mut head = [&b"OpusHead\x01"[..], &[*channels]].concat();
    for field in [&skip[..2], &skip[2..6], &skip[6..]] {
        head.extend(field.iter().rev());
    }
    head.push(*family);
    head.extend(&dops[11..]);
    Ok(head)
}
