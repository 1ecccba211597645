//! The init segment of one track: `ftyp` and `moov`.

use mp4_atom::{
    Dinf, Dref, DrefEntry, Encode as _, Ftyp, Hdlr, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd, Smhd, Stbl, Stco,
    Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};

use super::{TRACK_ID, entry};
use crate::media::{Media, Track};

/// The bytes of the init segment of `track`.
///
/// The duration stays unknown (no `mehd`, 0 in `mvhd`): Chromium then takes the stream for a live one and plays as soon
/// as it has one frame.
pub fn segment(track: &Track) -> Result<Vec<u8>, mp4_atom::Error> {
    let codec = entry::of(track)?;
    let (handler, width, height) = match track.media {
        Media::Video { width, height, sample_aspect } => {
            let shown = u64::from(width) * u64::from(sample_aspect.0) / u64::from(sample_aspect.1.max(1));
            (b"vide", shown.min(u64::from(u16::MAX)) as u16, height as u16)
        }
        Media::Audio { .. } => (b"soun", 0, 0),
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

#[cfg(test)]
mod tests {
    use mp4_atom::{Atom as _, Codec, Decode as _, FlacMetadataBlock};

    use super::*;
    use crate::media::{aac, av1, flac, h264, h265, opus};

    /// The init segment of a track, read back by an independent parser.
    fn moov(track: &Track) -> Moov {
        let bytes = segment(track).expect("encodes");
        let mut rest = bytes.as_slice();
        Ftyp::decode(&mut rest).expect("ftyp");
        let moov = Moov::decode(&mut rest).expect("moov");
        assert!(rest.is_empty());
        moov
    }

    fn entry(track: &Track) -> Codec {
        moov(track).trak[0].mdia.minf.stbl.stsd.codecs[0].clone()
    }

    #[test]
    fn a_video_init_segment_reads_back_and_has_no_duration() {
        let track = h264::track(h264::tests::AVCC).expect("parses");
        let moov = moov(&track);
        assert_eq!(moov.mvhd.duration, 0);
        assert_eq!(moov.mvex.as_ref().map(|mvex| mvex.mehd.is_none()), Some(true));
        assert!(moov.trak[0].mdia.minf.stbl.stco.is_some(), "Firefox wants it");
        let Codec::Avc1(entry) = entry(&track) else { panic!("not avc1") };
        assert_eq!((entry.visual.width, entry.visual.height), (640, 360));
        assert_eq!(entry.visual.data_reference_index, 1, "an index from 1 into dref");
        let mut avcc = Vec::new();
        entry.avcc.encode_body(&mut avcc).expect("encodes");
        assert_eq!(avcc, h264::tests::AVCC, "the camera's own parameter sets");
    }

    #[test]
    fn h265_carries_its_parameter_sets_unchanged_and_the_shape_of_its_samples() {
        let track = h265::track(&h265::tests::bytes(h265::tests::HVCC)).expect("parses");
        let moov = moov(&track);
        assert_eq!(moov.trak[0].tkhd.width.integer(), 848, "636 samples of 4:3");
        let Codec::Hvc1(entry) = entry(&track) else { panic!("not hvc1") };
        assert_eq!((entry.visual.width, entry.visual.height), (636, 358));
        assert_eq!(entry.pasp.map(|pasp| (pasp.h_spacing, pasp.v_spacing)), Some((4, 3)));
        let mut hvcc = Vec::new();
        entry.hvcc.encode_body(&mut hvcc).expect("encodes");
        assert_eq!(hvcc, track.decoder_config);
    }

    #[test]
    fn av1_carries_its_record_unchanged() {
        let track = av1::track(av1::tests::AV1C).expect("parses");
        let Codec::Av01(entry) = entry(&track) else { panic!("not av01") };
        assert_eq!((entry.visual.width, entry.visual.height), (640, 360));
        let mut av1c = Vec::new();
        entry.av1c.encode_body(&mut av1c).expect("encodes");
        assert_eq!(av1c, av1::tests::AV1C);
    }

    #[test]
    fn an_audio_init_segment_carries_the_config_unchanged() {
        let track = aac::track(&[0x11, 0x88]).expect("parses");
        let Codec::Mp4a(entry) = entry(&track) else { panic!("not mp4a") };
        assert_eq!(entry.audio.sample_rate.integer(), 48_000);
        let config = entry.esds.es_desc.dec_config.dec_specific.as_ref().expect("present");
        assert_eq!(config.raw, [0x11, 0x88]);
    }

    #[test]
    fn opus_says_in_dops_what_its_header_says() {
        let Codec::Opus(stereo) = entry(&opus::track(&opus::DEFAULT_HEAD).expect("parses")) else {
            panic!("not Opus")
        };
        assert_eq!((stereo.audio.channel_count, stereo.audio.sample_rate.integer()), (2, 48_000));
        let mut dops = Vec::new();
        stereo.dops.encode_body(&mut dops).expect("encodes");
        assert_eq!(dops, [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0], "as ffmpeg writes it");
        let surround = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        let Codec::Opus(surround) = entry(&opus::track(surround).expect("parses")) else {
            panic!("not Opus")
        };
        assert_eq!(surround.dops.channel_mapping.map(|m| m.channel_mapping), Some(vec![0, 4, 1, 2, 3, 5]));
    }

    #[test]
    fn flac_carries_its_stream_info_and_a_rate_that_fits() {
        for (info, rate, bits) in
            [(flac::tests::STREAMINFO, 44_100, 16), (flac::tests::STREAMINFO_96_KHZ, 48_000, 24)]
        {
            let track = flac::track(&info).expect("parses");
            let Codec::Flac(entry) = entry(&track) else { panic!("not fLaC") };
            assert_eq!((entry.audio.sample_rate.integer(), entry.audio.sample_size), (rate, bits));
            assert_eq!(moov(&track).trak[0].mdia.mdhd.timescale, track.timescale);
            assert!(matches!(entry.dfla.blocks[..], [FlacMetadataBlock::StreamInfo { .. }]));
            let mut dfla = Vec::new();
            entry.dfla.encode_body(&mut dfla).expect("encodes");
            assert_eq!(dfla[8..], info);
        }
    }
}
