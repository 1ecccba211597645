//! The init segment of one track: `ftyp` and `moov`.

use mp4_atom::{
    Atom as _, Audio, Avc1, Avcc, Codec, Dinf, Dref, DrefEntry, Encode as _, Esds, Ftyp, Hdlr, Mdhd, Mdia,
    Minf, Moov, Mp4a, Mvex, Mvhd, Pasp, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Visual, Vmhd, esds,
};

use super::TRACK_ID;
use crate::media::{Media, Track};

/// The bytes of the init segment of `track`.
///
/// The duration stays unknown (no `mehd`, 0 in `mvhd`): Chromium then takes the stream for a live one and plays as soon
/// as it has one frame.
pub fn segment(track: &Track) -> Result<Vec<u8>, mp4_atom::Error> {
    let (handler, codec, width, height) = match track.media {
        Media::Video { width, height, sample_aspect } => {
            let visual = Visual {
                data_reference_index: 1,
                width: width as u16,
                height: height as u16,
                ..Visual::default()
            };
            let avcc = Avcc::decode_body(&mut track.decoder_config.as_ref())?;
            let pasp = (sample_aspect.0 != sample_aspect.1)
                .then(|| Pasp { h_spacing: sample_aspect.0.into(), v_spacing: sample_aspect.1.into() });
            let shown = u64::from(width) * u64::from(sample_aspect.0) / u64::from(sample_aspect.1.max(1));
            let entry =
                Avc1 { visual, avcc, btrt: None, colr: None, pasp, taic: None, fiel: None, spatial: None };
            (b"vide", Codec::Avc1(entry), shown.min(u64::from(u16::MAX)) as u16, height as u16)
        }
        Media::Audio { sample_rate, channels } => {
            let audio = Audio {
                data_reference_index: 1,
                channel_count: channels,
                sample_size: 16,
                // 16.16 fixed point: rates above 65,535 Hz do not fit, and decoders read the config instead.
                sample_rate: u16::try_from(sample_rate).unwrap_or(0).into(),
            };
            (b"soun", Codec::Mp4a(Mp4a { audio, esds: esds(track), btrt: None, taic: None }), 0, 0)
        }
    };
    let moov = Moov {
        mvhd: Mvhd {
            timescale: track.timescale,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex { track_id: TRACK_ID, default_sample_description_index: 1, ..Trex::default() }],
        }),
        trak: vec![Trak {
            tkhd: Tkhd {
                track_id: TRACK_ID,
                enabled: true,
                in_movie: true,
                volume: u8::from(!track.is_video()).into(),
                width: width.into(),
                height: height.into(),
                ..Tkhd::default()
            },
            mdia: Mdia {
                mdhd: Mdhd { timescale: track.timescale, language: "und".into(), ..Mdhd::default() },
                hdlr: Hdlr { handler: handler.into(), name: "Sightline".into() },
                minf: Minf {
                    vmhd: track.is_video().then(Vmhd::default),
                    smhd: (!track.is_video()).then(Smhd::default),
                    dinf: Dinf {
                        dref: Dref { entries: vec![DrefEntry::Url(Url { location: String::new() })] },
                    },
                    stbl: Stbl {
                        stsd: Stsd { codecs: vec![codec] },
                        // Empty like its siblings, but Firefox refuses the segment without it.
                        stco: Some(Stco::default()),
                        ..Stbl::default()
                    },
                    ..Minf::default()
                },
            },
            ..Trak::default()
        }],
        ..Moov::default()
    };
    let ftyp = Ftyp {
        major_brand: b"iso5".into(),
        minor_version: 512,
        compatible_brands: vec![b"iso5".into(), b"iso6".into(), b"mp41".into()],
    };
    let mut out = Vec::with_capacity(1024);
    ftyp.encode(&mut out)?;
    moov.encode(&mut out)?;
    Ok(out)
}

/// The elementary stream descriptor of AAC (ISO/IEC 14496-1, 7.2.6.5).
fn esds(track: &Track) -> Esds {
    Esds {
        es_desc: esds::EsDescriptor {
            es_id: TRACK_ID as u16,
            depends_on_es_id: None,
            url: None,
            ocr_es_id: None,
            stream_priority: 0,
            dec_config: esds::DecoderConfig {
                object_type_indication: 0x40, // Audio ISO/IEC 14496-3
                stream_type: 5,               // AudioStream
                dec_specific: Some(esds::DecoderSpecific {
                    raw: track.decoder_config.to_vec(),
                    ..esds::DecoderSpecific::default()
                }),
                ..esds::DecoderConfig::default()
            },
            sl_config: esds::SLConfig::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::Decode as _;

    use super::*;
    use crate::media::{aac, h264};

    #[test]
    fn a_video_init_segment_reads_back_and_has_no_duration() {
        let track = h264::track(h264::tests::AVCC).expect("parses");
        let bytes = segment(&track).expect("encodes");
        let mut rest = bytes.as_slice();
        Ftyp::decode(&mut rest).expect("ftyp");
        let moov = Moov::decode(&mut rest).expect("moov");
        assert!(rest.is_empty());
        assert_eq!(moov.mvhd.duration, 0);
        assert_eq!(moov.mvex.as_ref().map(|mvex| mvex.mehd.is_none()), Some(true));
        assert!(moov.trak[0].mdia.minf.stbl.stco.is_some(), "Firefox wants it");
        let Codec::Avc1(entry) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!("not avc1") };
        assert_eq!((entry.visual.width, entry.visual.height), (640, 360));
        assert_eq!(entry.visual.data_reference_index, 1, "an index from 1 into dref");
        let mut avcc = Vec::new();
        entry.avcc.encode_body(&mut avcc).expect("encodes");
        assert_eq!(avcc, h264::tests::AVCC, "the camera's own parameter sets");
    }

    #[test]
    fn an_audio_init_segment_carries_the_config_unchanged() {
        let track = aac::track(&[0x11, 0x88]).expect("parses");
        let bytes = segment(&track).expect("encodes");
        let mut rest = bytes.as_slice();
        Ftyp::decode(&mut rest).expect("ftyp");
        let moov = Moov::decode(&mut rest).expect("moov");
        let Codec::Mp4a(entry) = &moov.trak[0].mdia.minf.stbl.stsd.codecs[0] else { panic!("not mp4a") };
        assert_eq!(entry.audio.sample_rate.integer(), 48_000);
        let config = entry.esds.es_desc.dec_config.dec_specific.as_ref().expect("present");
        assert_eq!(config.raw, [0x11, 0x88]);
    }
}
