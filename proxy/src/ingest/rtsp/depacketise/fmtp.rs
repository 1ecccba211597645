//! What SDP says of a payload (`a=fmtp`, RFC 4566, 6), read leniently: cameras leave a `;` at the end, write names in capitals,
//! put spaces around them, and values that are none. What cannot be read is as if it were not there.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::video::between_start_codes;

/// Padding may be missing, and what is left over in the last character may be anything.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The parameters of one payload type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format(Vec<(String, String)>);

impl Format {
    /// Reads what stands behind the payload type.
    pub fn read(text: &str) -> Self {
        let parameters = text.split(';').filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            (!name.is_empty() && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value.to_owned()))
        });
        Self(parameters.collect())
    }

    /// That of the `n`th of the streams that a description offers, which are known by their media and payload type: some
    /// media of a description are no streams.
    pub fn of_each<'a>(sdp: &[u8], streams: impl Iterator<Item = (&'a str, u8)>) -> Vec<Self> {
        let text = String::from_utf8_lossy(sdp);
        let mut media = Vec::new();
        for line in text.lines() {
            if let Some(what) = line.strip_prefix("m=") {
                let mut words = what.split_ascii_whitespace();
                let (name, payload_type) = (words.next().unwrap_or_default(), words.nth(2));
                media.push((name.to_owned(), payload_type.unwrap_or_default().to_owned(), Self::default()));
            } else if let (Some(format), Some((_, own, last))) =
                (line.strip_prefix("a=fmtp:"), media.last_mut())
                && let Some((payload_type, format)) = format.trim_start().split_once(char::is_whitespace)
                && payload_type == own
            {
                *last = Self::read(format);
            }
        }
        let mut media = media.into_iter();
        let of = |(name, payload_type): (&str, u8)| {
            let is = |(own, own_type, _): &(String, String, Self)| {
                own == name && own_type.parse() == Ok(payload_type)
            };
            media.find(is).map(|(_, _, format)| format).unwrap_or_default()
        };
        streams.map(of).collect()
    }

    /// The value of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The NAL units in a value: in base64, with commas between them.
    pub(super) fn nals(&self, name: &str) -> Vec<Vec<u8>> {
        let parts = self.get(name).into_iter().flat_map(|value| value.split(','));
        let decoded = parts.filter_map(|part| BASE64.decode(part.trim()).ok());
        // Some have a start code in front of each, or behind.
        decoded.flat_map(|nal| between_start_codes(&nal).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    }

    /// A value in hexadecimal.
    pub fn hex(&self, name: &str) -> Option<Vec<u8>> {
        let value = self.get(name)?;
        let digits: Vec<_> = value.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
        let (pairs, odd) = digits.as_chunks::<2>();
        odd.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cameras_write_is_read() {
        // VLC: a `;` at the end.
        let vlc = Format::read(
            "packetization-mode=1;profile-level-id=4d401e;sprop-parameter-sets=Z01AHg==,aM4PyA==;",
        );
        assert_eq!(
            vlc.nals("sprop-parameter-sets"),
            [vec![0x67, 0x4d, 0x40, 0x1e], vec![0x68, 0xce, 0x0f, 0xc8]]
        );
        let capitals = Format::read(" Mode = AAC-hbr ; CONFIG=1188; sizeLength=13 ;;x;=y;z=; fmtp");
        assert_eq!(capitals.get("mode"), Some("AAC-hbr"));
        assert_eq!(capitals.hex("config"), Some(vec![0x11, 0x88]));
        assert_eq!((capitals.get("x"), capitals.get("z")), (None, None));
        // Without padding; with start codes; one that is none.
        let odd = Format::read("sprop-parameter-sets=%%%,Z01AHg,AAAAAWjOD8g=,,");
        assert_eq!(
            odd.nals("sprop-parameter-sets"),
            [vec![0x67, 0x4d, 0x40, 0x1e], vec![0x68, 0xce, 0x0f, 0xc8]]
        );
        for broken in ["config=118", "config=11 88", "config=xy", "config="] {
            assert_eq!(Format::read(broken).hex("config"), None, "{broken}");
        }
    }

    #[test]
    fn each_stream_has_the_format_of_its_payload_type() {
        let sdp = b"v=0\r\na=fmtp:96 x=0\r\nm=application 0 RTP/AVP 98\r\na=fmtp:98 x=1\r\nm=video 0 RTP/AVP 96 97\r\n\
            a=fmtp:97 x=2\r\na=fmtp:96 x=3;\r\nm=audio 0 RTP/AVP 97\na=fmtp:97\nm=audio 0 RTP/AVP 97\na=fmtp:97  x=4\n";
        let streams = [("video", 96), ("audio", 97), ("audio", 97), ("audio", 99)];
        let formats = Format::of_each(sdp, streams.into_iter());
        let values: Vec<_> = formats.iter().map(|format| format.get("x")).collect();
        assert_eq!(values, [Some("3"), None, Some("4"), None]);
    }

    proptest! {
        #[test]
        fn no_description_makes_it_panic(text: String, bytes: Vec<u8>) {
            let format = Format::read(&text);
            let _ = (format.nals("sprop-sps"), format.hex("config"));
            let _ = Format::of_each(&bytes, [("video", 96), ("audio", 0)].into_iter());
            let sdp = format!("m=video 0 RTP/AVP 96\na=fmtp:96 sprop-sps={text};config={text}");
            for format in Format::of_each(sdp.as_bytes(), [("video", 96)].into_iter()) {
                let _ = (format.nals("sprop-sps"), format.hex("config"));
            }
        }
    }
}
