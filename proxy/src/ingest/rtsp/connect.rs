//! From a camera's address to a session that plays: what it offers, and over which transport its tracks are fetched.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use retina::client::{
    InitialTimestampPolicy, PacketItem, PlayOptions, Playing, Session, SessionGroup, SessionOptions,
    SetupOptions, TcpTransportOptions, Transport, UdpTransportOptions, UnknownRtcpSsrcPolicy,
};
use tokio::time::{Instant, timeout};

use super::{
    super::camera::Target,
    audio,
    depacketise::fmtp::Format,
    describe::{self, Described},
    error::{self, fault},
    video,
};
use crate::{
    config::{self, Source},
    hub::Fault,
};

/// Where nothing comes by UDP for so long after PLAY, nothing gets through.
const UDP_SILENCE: Duration = Duration::from_millis(2_500);

/// UDP by which nothing came is tried again after so long, when a session ends.
const UDP_AGAIN: Duration = Duration::from_mins(5);

/// A camera that allows few sessions is given so long to end the one before. retina asks it to from the moment that one
/// ended, so mostly there is nothing to wait for.
const TEARDOWN_WAIT: Duration = Duration::from_millis(250);

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
    /// Why not.
    pub not_played_because: Option<&'static str>,
    /// What else it says of it.
    pub format: Format,
}

/// How packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ingest) enum Carriage {
    /// In the connection that asks (RFC 2326, 10.12).
    Tcp,
    /// By UDP.
    Udp,
}

/// What was learnt of a camera, from session to session.
#[derive(Clone, Default)]
pub(in crate::ingest) struct Known {
    /// Its sessions, those among them that it still has to end.
    sessions: Arc<SessionGroup>,
    /// It refused to send packets in its connection.
    refuses_tcp: bool,
    /// Since when nothing comes by UDP, or nothing that is of use.
    udp_silent: Option<Instant>,
    /// What requests are signed with expires in mid-session: retina does not sign anew.
    signs_anew: bool,
}

impl Known {
    /// By UDP so much was lost that no key frame was whole: the connection is to be tried for a while.
    pub(in crate::ingest) fn doubt_udp(&mut self) {
        self.udp_silent = Some(Instant::now());
    }

    /// What to try, one after the other.
    fn order(&self, source: &Source, wanted: config::Transport, now: Instant) -> &'static [Carriage] {
        const TCP: &[Carriage] = &[Carriage::Tcp];
        const TCP_FIRST: &[Carriage] = &[Carriage::Tcp, Carriage::Udp];
        const UDP_FIRST: &[Carriage] = &[Carriage::Udp, Carriage::Tcp];
        let silent = self.udp_silent.is_some_and(|since| now - since < UDP_AGAIN);
        match wanted {
            _ if source.uses_tls() || self.signs_anew => TCP,
            config::Transport::Tcp => TCP,
            config::Transport::Udp if silent => TCP,
            config::Transport::Udp => UDP_FIRST,
            config::Transport::Auto if self.refuses_tcp && !silent => UDP_FIRST,
            config::Transport::Auto => TCP_FIRST,
        }
    }
}

/// A session that plays.
pub(super) struct Played {
    pub(super) session: Session<Playing>,
    pub(super) offers: Vec<Offer>,
    pub(super) carriage: Carriage,
    /// When PLAY was answered.
    pub(super) at: std::time::Instant,
    /// What came already.
    pub(super) first: Option<PacketItem>,
    /// What the camera's server calls itself.
    pub(super) server: Option<String>,
}

/// Why there is no session by one transport.
enum Failure {
    /// Another transport may do.
    Carriage(Fault),
    /// It would fail by any.
    Other(Fault),
    /// What the request was signed with had expired.
    Expired,
}

/// Connects and asks the camera to play, by the transports that may do until one does.
pub(super) async fn play(target: &mut Target) -> Result<Played, Fault> {
    let mut refusal = None;
    let mut order = target.rtsp.order(&target.source, target.transport, Instant::now()).iter();
    while let Some(&carriage) = order.next() {
        let sessions = target.rtsp.sessions.clone();
        let _ = timeout(TEARDOWN_WAIT, sessions.await_stale_sessions(&sessions.stale_sessions())).await;
        let failure = match timeout(target.connect_timeout, ask(target, carriage)).await {
            Ok(Ok(played)) => match hear(played, &target.source).await {
                Ok(played) => {
                    match carriage {
                        Carriage::Udp => target.rtsp.udp_silent = None,
                        Carriage::Tcp => target.rtsp.refuses_tcp = false,
                    }
                    return Ok(played);
                }
                Err(failure) => {
                    if matches!(failure, Failure::Carriage(_)) {
                        target.rtsp.udp_silent = Some(Instant::now());
                    }
                    failure
                }
            },
            Ok(Err(failure)) => failure,
            Err(_) => {
                let reason = format!(
                    "{} did not answer within {} ms",
                    target.source,
                    target.connect_timeout.as_millis()
                );
                return Err(Fault { code: "connect_failed", reason });
            }
        };
        match failure {
            Failure::Other(fault) => return Err(fault),
            Failure::Expired => {
                target.rtsp.signs_anew = true;
                order = [Carriage::Tcp].iter();
            }
            Failure::Carriage(fault) => {
                if carriage == Carriage::Tcp {
                    target.rtsp.refuses_tcp = true;
                }
                tracing::info!(camera = %target.source, ?carriage, "not by this transport: {}", fault.reason);
                refusal.get_or_insert(fault);
            }
        }
    }
    Err(refusal.unwrap_or_else(|| Fault {
        code: "connect_failed",
        reason: "the camera's challenges expire before they can be answered".to_owned(),
    }))
}

/// Asks a camera what it offers, sets up the tracks this version plays, and asks it to play them.
async fn ask(target: &Target, carriage: Carriage) -> Result<Played, Failure> {
    let known = &target.rtsp;
    let options = || SessionOptions::default().session_group(known.sessions.clone());
    let described = describe::describe(&target.source, target.trust.as_deref(), options, known.signs_anew);
    let Described { mut session, source, bridged } = described.await.map_err(Failure::Other)?;
    if bridged && carriage == Carriage::Udp {
        // The bridge carries the connection alone, and what comes by UDP would come past TLS.
        let reason = format!("{} is reached by way of a bridge, which carries no UDP", target.source);
        return Err(Failure::Carriage(Fault { code: "connect_failed", reason }));
    }
    // The camera took the password a moment ago.
    let expired = |error: &retina::Error| {
        error.status_code() == Some(401) && source.credentials().is_some() && !bridged
    };
    let offers = offers(session.streams(), session.sdp());
    if !offers.iter().any(|offer| offer.played && offer.media == "video") {
        return Err(Failure::Other(unsupported(&offers)));
    }
    for (i, _) in offers.iter().enumerate().filter(|(_, offer)| offer.played) {
        let transport = match carriage {
            Carriage::Tcp => Transport::Tcp(TcpTransportOptions::default()),
            Carriage::Udp => Transport::Udp(UdpTransportOptions::default()),
        };
        let setup = SetupOptions::default().transport(transport);
        session.setup(i, setup).await.map_err(|e| match e.status_code() {
            _ if expired(&e) => Failure::Expired,
            // 461 is what it should say; some say 400, 406 or 500, or agree and then mean another one.
            Some(401 | 403 | 404 | 453 | 454 | 503) => Failure::Other(fault(&e, &source)),
            // It hung up, or named for UDP where nothing leads to.
            None if carriage == Carriage::Tcp => Failure::Other(fault(&e, &source)),
            None => Failure::Carriage(fault(&e, &source)),
            Some(_) => Failure::Carriage(error::setup(&e, &source, carriage)),
        })?;
    }
    let server = session.tool().map(|tool| tool.to_string());
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Permissive)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
    let session = session
        .play(options)
        .await
        .map_err(|e| if expired(&e) { Failure::Expired } else { Failure::Other(fault(&e, &source)) })?;
    Ok(Played { session, offers, carriage, at: std::time::Instant::now(), first: None, server })
}

/// Waits for a first word by UDP, which many a firewall lets nobody hear. In the connection there is nothing to wait for.
async fn hear(mut played: Played, source: &Source) -> Result<Played, Failure> {
    if played.carriage == Carriage::Tcp {
        return Ok(played);
    }
    match timeout(UDP_SILENCE, played.session.next()).await {
        Ok(Some(Ok(item))) => {
            played.first = Some(item);
            Ok(played)
        }
        Ok(Some(Err(error))) => Err(Failure::Other(error::ended(&error, source))),
        Ok(None) => Err(Failure::Other(error::closed())),
        Err(_) => {
            let reason = format!(
                "the camera agreed to send by UDP, but nothing came within {} ms: does a firewall keep it out?",
                UDP_SILENCE.as_millis()
            );
            Err(Failure::Carriage(Fault { code: "connect_failed", reason }))
        }
    }
}

/// What there is, and which of it is played: the first of each kind, since a second video is the camera's other quality or
/// its other lens.
fn offers(streams: &[retina::client::Stream], sdp: &[u8]) -> Vec<Offer> {
    let (mut video, mut audio) = (false, false);
    let named = streams.iter().map(|stream| (stream.media(), stream.rtp_payload_type()));
    let formats = Format::of_each(sdp, named);
    let offer = |(stream, format): (&retina::client::Stream, Format)| {
        let (known, seen) = match stream.media() {
            "video" => (video::coding(stream.encoding_name()).is_some(), &mut video),
            "audio" => (audio::is_played(stream.encoding_name()), &mut audio),
            _ => (false, &mut false),
        };
        let not_played_because = match stream.media() {
            "video" | "audio" if !known => Some("this version does not play its codec"),
            // RFC 6184, 8.2.1; RFC 7798, 7.1.
            "video" if stream.clock_rate_hz() != 90_000 => {
                Some("its clock is not one of 90 kHz, as it must be")
            }
            "video" | "audio" if *seen => Some("it is not the first of its kind"),
            "video" | "audio" => None,
            _ => Some("it is neither picture nor sound"),
        };
        *seen |= not_played_because.is_none();
        Offer {
            media: stream.media().to_owned(),
            encoding: stream.encoding_name().to_owned(),
            clock_rate_hz: stream.clock_rate_hz(),
            channels: stream.channels().map(std::num::NonZeroU16::get),
            played: not_played_because.is_none(),
            not_played_because,
            format,
        }
    };
    streams.iter().zip(formats).map(offer).collect()
}

/// What to do about a camera without a picture that is played.
fn unsupported(offers: &[Offer]) -> Fault {
    let unusable = |offer: &&Offer| offer.media == "video" && video::coding(&offer.encoding).is_some();
    if let Some(why) = offers.iter().find(unusable).and_then(|offer| offer.not_played_because) {
        let reason = format!("the camera's picture cannot be used: {why}");
        return Fault { code: "unsupported", reason };
    }
    let name = |encoding: &str| match encoding {
        "jpeg" => "MJPEG".to_owned(),
        "mp4v-es" => "MPEG-4 Part 2".to_owned(),
        other => other.to_uppercase(),
    };
    let pictures: Vec<_> =
        offers.iter().filter(|offer| offer.media == "video").map(|offer| name(&offer.encoding)).collect();
    let others: Vec<_> = offers.iter().map(|offer| name(&offer.encoding)).collect();
    let reason = match (pictures.as_slice(), others.as_slice()) {
        ([], []) => "the camera offers nothing that this version understands".to_owned(),
        ([], others) => {
            format!(
                "the camera offers no picture, only {}: is this the address of its video?",
                others.join(", ")
            )
        }
        (pictures, _) => format!(
            "the camera codes its picture as {}, which browsers do not play: set the camera to H.264 (or H.265)",
            pictures.join(", ")
        ),
    };
    Fault { code: "unsupported", reason }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
