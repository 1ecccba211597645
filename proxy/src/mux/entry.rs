//! The sample entry of a track (ISO/IEC 14496-12, 8.5.2): what a decoder is told before its first frame.

use mp4_atom::{
    Atom as _, Audio, Av01, Av1c, Avc1, Avcc, Codec, Dfla, Dops, Error, Esds, Flac, Hvc1, Hvcc, Mp4a, Opus,
    OpusChannelMapping, Pasp, Visual, esds,
};

use super::TRACK_ID;
use crate::media::{Coding, Media, Track, flac, opus};

/// The sample entry of `track`. Its decoder's configuration is carried as the camera sent it.
pub(super) fn of(track: &Track) -> Result<Codec, Error> {
    match track.media {
        Media::Video { width, height, sample_aspect } => video(track, width, height, sample_aspect),
        Media::Audio { sample_rate, channels } => audio(track, sample_rate, channels),
    }
}

fn video(track: &Track, width: u32, height: u32, sample_aspect: (u16, u16)) -> Result<Codec, Error> {
    let visual =
        Visual { data_reference_index: 1, width: width as u16, height: height as u16, ..Visual::default() };
    let pasp = (sample_aspect.0 != sample_aspect.1)
        .then(|| Pasp { h_spacing: sample_aspect.0.into(), v_spacing: sample_aspect.1.into() });
    let mut config = track.decoder_config.as_ref();
    Ok(match track.coding {
        Coding::H264 => {
            let avcc = Avcc::decode_body(&mut config)?;
            Codec::Avc1(Avc1 {
                visual,
                avcc,
                btrt: None,
                colr: None,
                pasp,
                taic: None,
                fiel: None,
                spatial: None,
            })
        }
        Coding::H265 => {
            let hvcc = Hvcc::decode_body(&mut config)?;
            Codec::Hvc1(Hvc1 { visual, hvcc, pasp, ..Hvc1::default() })
        }
        Coding::Av1 => {
            let av1c = Av1c::decode_body(&mut config)?;
            Codec::Av01(Av01 { visual, av1c, pasp, ..Av01::default() })
        }
        Coding::Aac | Coding::Opus | Coding::Flac => {
            return Err(Error::MissingContent("a coding of pictures"));
        }
    })
}

fn audio(track: &Track, sample_rate: u32, channels: u16) -> Result<Codec, Error> {
    let mut audio = Audio {
        data_reference_index: 1,
        channel_count: channels,
        sample_size: 16,
        sample_rate: fitting(sample_rate).into(),
    };
    Ok(match track.coding {
        Coding::Aac => Codec::Mp4a(Mp4a { audio, esds: esds(track), btrt: None, taic: None }),
        Coding::Opus => Codec::Opus(Opus { audio, dops: dops(&track.decoder_config)?, btrt: None }),
        Coding::Flac => {
            audio.sample_size = flac::bits_per_sample(&track.decoder_config).unwrap_or(audio.sample_size);
            Codec::Flac(Flac { audio, dfla: dfla(&track.decoder_config)? })
        }
        Coding::H264 | Coding::H265 | Coding::Av1 => return Err(Error::MissingContent("a coding of sound")),
    })
}

/// A sample rate in the 16 bits there are for it: where it does not fit, the greatest regular division of it that does
/// (FLAC in ISO files, 3.3.2). Decoders read their configuration instead, but Firefox refuses a rate of zero.
fn fitting(mut sample_rate: u32) -> u16 {
    loop {
        match u16::try_from(sample_rate) {
            Ok(rate) => return rate,
            Err(_) => sample_rate /= 2,
        }
    }
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

/// Opus in ISO files, 4.3.2: the fields of `OpusHead`, big-endian.
fn dops(opus_head: &[u8]) -> Result<Dops, Error> {
    let head = opus::head(opus_head).map_err(|_| Error::MissingContent("OpusHead"))?;
    Ok(Dops {
        output_channel_count: head.channels,
        pre_skip: head.pre_skip,
        input_sample_rate: head.input_sample_rate,
        output_gain: head.output_gain,
        channel_mapping: head.mapping.map(|(stream_count, coupled_count, table)| OpusChannelMapping {
            family: 1,
            stream_count,
            coupled_count,
            channel_mapping: table.to_vec(),
        }),
    })
}

/// FLAC in ISO files, 3.3.2: the metadata blocks, of which `STREAMINFO` is the only one.
fn dfla(stream_info: &[u8]) -> Result<Dfla, Error> {
    // Version and flags of the box; type and length of the block, which is the last.
    let head = [0, 0, 0, 0, 0x80, 0, 0, stream_info.len() as u8];
    Dfla::decode_body(&mut [&head, stream_info].concat().as_slice())
}
