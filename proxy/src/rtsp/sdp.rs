//! PURE: the session description of a presentation (RFC 4566, with RFC 6184 8.2.1 and RFC 3640 4.1 parameters).

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{Codec, Track};

/// The dynamic RTP payload type of a track.
pub fn payload_type(track_index: usize) -> u8 {
    96 + (track_index % 32) as u8
}

/// The description of `tracks`, offered under `title`.
pub fn describe(title: &str, tracks: &[Track]) -> String {
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns={title}\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
         a=tool:Sightline {}\r\na=control:*\r\na=range:npt=now-\r\n",
        env!("CARGO_PKG_VERSION")
    );
    for (index, track) in tracks.iter().enumerate() {
        let pt = payload_type(index);
        let rate = track.clock_rate_hz();
        // Writing to a String cannot fail.
        let _ = match &track.codec {
            Codec::H264 { sps, pps } => write!(
                sdp,
                "m=video 0 RTP/AVP {pt}\r\na=rtpmap:{pt} H264/{rate}\r\n\
                 a=fmtp:{pt} packetization-mode=1;profile-level-id={};sprop-parameter-sets={},{}\r\n",
                hex(sps.get(1..4).unwrap_or_default()),
                BASE64.encode(sps),
                BASE64.encode(pps),
            ),
            Codec::Aac { config, channels, .. } => write!(
                sdp,
                "m=audio 0 RTP/AVP {pt}\r\na=rtpmap:{pt} MPEG4-GENERIC/{rate}/{channels}\r\n\
                 a=fmtp:{pt} streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;\
                 indexdeltalength=3;config={}\r\n",
                hex(config),
            ),
        };
        let _ = write!(sdp, "a=control:track{index}\r\n");
    }
    sdp
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn each_track_says_what_a_decoder_needs_before_the_first_packet() {
        let sdp = describe(
            "demo",
            &[
                Track {
                    codec: Codec::H264 {
                        sps: Bytes::from_static(&[0x67, 0x64, 0, 0x1e]),
                        pps: Bytes::from_static(&[0x68]),
                    },
                },
                Track {
                    codec: Codec::Aac {
                        config: Bytes::from_static(&[0x12, 0x88]),
                        sample_rate_hz: 32_000,
                        channels: 1,
                    },
                },
            ],
        );
        for line in [
            "s=demo",
            "m=video 0 RTP/AVP 96",
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 packetization-mode=1;profile-level-id=64001e;sprop-parameter-sets=Z2QAHg==,aA==",
            "a=control:track0",
            "m=audio 0 RTP/AVP 97",
            "a=rtpmap:97 MPEG4-GENERIC/32000/1",
            "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1288",
            "a=control:track1",
        ] {
            assert!(sdp.lines().any(|l| l == line), "{line} is not in\n{sdp}");
        }
    }
}
