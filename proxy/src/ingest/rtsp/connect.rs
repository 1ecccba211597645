//! From a camera's address to a session that plays: what it offers, and over which transport its tracks are fetched.

use retina::{
    client::{
        Credentials, Demuxed, Described, InitialTimestampPolicy, PlayOptions, SessionOptions, SetupOptions,
        Transport, UnknownRtcpSsrcPolicy,
    },
    codec::FrameFormat,
};

use super::{super::dial, audio, error::fault, video};
use crate::{config::Source, hub::Fault};

/// Where RTSP listens (RFC 2326, 9.1).
pub(super) const DEFAULT_PORT: u16 = 554;

/// What a camera offers, from its answer to DESCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `video`, `audio`, `application`.
    pub media: String,
    /// The codec's name in SDP, in lower case.
    pub encoding: String,
    /// Ticks a second.
    pub clock_rate_hz: u32,
    /// Channels of sound, where the camera says.
    pub channels: Option<u16>,
    /// Whether this version plays it.
    pub played: bool,
}

/// Asks a camera what it offers and sets up the tracks this version plays.
async fn describe(source: &Source) -> Result<(retina::client::Session<Described>, Vec<Offer>), Fault> {
    // retina looks the name up again: this is a guard against a mistake, not against whoever runs the name server.
    dial::lookup(source, DEFAULT_PORT).await?;
    let credentials = source.credentials().map(|(username, password)| Credentials { username, password });
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(concat!("sightline/", env!("CARGO_PKG_VERSION")).into());
    let mut session = retina::client::Session::describe(source.url_without_credentials(), options)
        .await
        .map_err(|e| fault(&e, source))?;
    let (mut video, mut audio) = (false, false);
    let mut offers = Vec::new();
    for i in 0..session.streams().len() {
        let stream = &session.streams()[i];
        let seen = match stream.media() {
            "video" if video::coding(stream.encoding_name()).is_some() => Some(&mut video),
            "audio" if audio::is_played(stream.encoding_name()) => Some(&mut audio),
            _ => None,
        };
        // The first of each kind: a second video is the camera's other quality or its other lens.
        let played = seen.is_some_and(|seen| !std::mem::replace(seen, true));
        offers.push(Offer {
            media: stream.media().to_owned(),
            encoding: stream.encoding_name().to_owned(),
            clock_rate_hz: stream.clock_rate_hz(),
            channels: stream.channels().map(std::num::NonZeroU16::get),
            played,
        });
        if played {
            let setup = SetupOptions::default()
                .transport(Transport::Tcp(<_>::default()))
                .frame_format(FrameFormat::MP4);
            session.setup(i, setup).await.map_err(|e| fault(&e, source))?;
        }
    }
    Ok((session, offers))
}

/// Connects and asks the camera to play. Tells what it offers, too.
pub(super) async fn play(source: &Source) -> Result<(Demuxed, Vec<Offer>), Fault> {
    let (session, offers) = describe(source).await?;
    if !offers.iter().any(|offer| offer.played && offer.media == "video") {
        let names: Vec<_> = offers.iter().map(|offer| offer.encoding.as_str()).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let reason =
            format!("the camera offers {names}; this version plays H.264 and H.265: set the camera to H.264");
        return Err(Fault { code: "unsupported", reason });
    }
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Permissive)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
    let demuxed = session
        .play(options)
        .await
        .and_then(retina::client::Session::demuxed)
        .map_err(|e| fault(&e, source))?;
    Ok((demuxed, offers))
}
