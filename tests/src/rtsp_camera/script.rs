//! What a camera does wrong, and when: one call a fault, to be read in a line.

use std::sync::Arc;
use std::time::Duration;

use super::clip::{Clip, Sound};
use super::sender::Sender;

/// What becomes of one RTP packet.
#[derive(Clone)]
pub(super) enum Packet {
    /// It does not come.
    Drop,
    /// It comes twice.
    Twice,
    /// It comes after the next one.
    Late,
    /// It comes as this makes it.
    Changed(Change),
}

/// What a request is answered with.
#[derive(Clone)]
pub(super) enum Answer {
    /// The connection is closed.
    Close,
    /// The right answer comes so much later.
    Late(Duration),
    /// The right answer comes one byte a second.
    Trickle,
    /// These bytes come.
    Raw(Arc<[u8]>),
    /// These bytes come again and again, as fast as they are taken.
    Endless(Arc<[u8]>),
}

/// Puts the bytes of an RTP packet wrong.
pub(super) type Change = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;
/// Does something in front of a picture.
pub(super) type Deed = Arc<dyn Fn(&mut Sender) -> std::io::Result<()> + Send + Sync>;
/// Rewrites the description.
pub(super) type Rewrite = Arc<dyn Fn(String) -> String + Send + Sync>;

/// When the reports say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    Right,
    /// None are sent.
    None,
    /// By a clock that stands in 1970.
    Of1970,
}

/// A camera's behaviour. Times are counted in pictures from PLAY on, and packets of video likewise; 25 pictures are one
/// second. The first session is as written here; those that follow are as a good camera's, unless [`Script::always`].
#[derive(Clone)]
#[must_use = "a script does nothing until a camera plays it"]
pub struct Script {
    pub(super) clip: Arc<Clip>,
    pub(super) sessions: usize,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) reports: Reports,
    pub(super) drift_ppm: i64,
    pub(super) in_band: bool,
    pub(super) markers: bool,
    pub(super) in_sdp: bool,
    pub(super) sound: Option<Sound>,
    pub(super) next_sound: Option<Sound>,
    pub(super) packets: Vec<(u32, Packet)>,
    pub(super) deeds: Vec<(u32, Deed)>,
    pub(super) answers: Vec<(&'static str, Answer)>,
    pub(super) sdp: Option<Rewrite>,
    pub(super) next: Option<Arc<Clip>>,
}

impl Script {
    /// A good camera that shows this clip again and again.
    pub fn new(clip: &Arc<Clip>) -> Self {
        Self {
            clip: Arc::clone(clip),
            sessions: 1,
            sequence: 1_000,
            timestamp: 90_000,
            reports: Reports::Right,
            drift_ppm: 0,
            in_band: true,
            markers: true,
            in_sdp: true,
            sound: None,
            next_sound: None,
            packets: vec![],
            deeds: vec![],
            answers: vec![],
            sdp: None,
            next: None,
        }
    }

    /// It never behaves.
    pub fn always(mut self) -> Self {
        self.sessions = usize::MAX;
        self
    }

    /// As it behaves from session `sessions` on.
    pub(super) fn good(&self) -> Self {
        let mut good = Self::new(self.next.as_ref().unwrap_or(&self.clip));
        good.sound.clone_from(&self.next_sound);
        good
    }

    /// Sessions after the first show another clip.
    pub fn then_shows(mut self, clip: &Arc<Clip>) -> Self {
        self.next = Some(Arc::clone(clip));
        self
    }

    /// Sessions after the first have sound, too.
    pub fn then_has(mut self, sound: &Sound) -> Self {
        self.next_sound = Some(sound.clone());
        self
    }

    // RTP.

    /// Packet `n` does not come.
    pub fn drop_packet(self, n: u32) -> Self {
        self.packet(n, Packet::Drop)
    }

    /// Each `n`th packet does not come.
    pub fn drop_every(mut self, n: u32) -> Self {
        self.packets.extend((1..10_000 / n).map(|i| (i * n, Packet::Drop)));
        self
    }

    /// Of picture `n` packet `which` does not come. A key frame begins with a packet for each of its parameter sets.
    pub fn drop_of_picture(self, n: u32, which: u32) -> Self {
        self.at(n, move |sender| {
            sender.drop_ahead(which);
            Ok(())
        })
    }

    /// Packet `n` comes twice.
    pub fn duplicate_packet(self, n: u32) -> Self {
        self.packet(n, Packet::Twice)
    }

    /// Packet `n` comes after the next one.
    pub fn swap_packet(self, n: u32) -> Self {
        self.packet(n, Packet::Late)
    }

    /// Packet `n` comes as `change` makes it.
    pub fn change_packet(self, n: u32, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.packet(n, Packet::Changed(Arc::new(change)))
    }

    /// No packet says that it is the last of its picture.
    pub fn no_markers(mut self) -> Self {
        self.markers = false;
        self
    }

    /// The first packet's sequence number.
    pub fn first_sequence(mut self, sequence: u16) -> Self {
        self.sequence = sequence;
        self
    }

    /// The first picture's RTP timestamp.
    pub fn first_timestamp(mut self, timestamp: u32) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// From picture `n` on another source speaks.
    pub fn change_ssrc(self, n: u32) -> Self {
        self.at(n, |sender| {
            sender.ssrc ^= 0x5555;
            Ok(())
        })
    }

    /// In front of picture `n` comes a packet of its own with this payload.
    pub fn send_rtp(self, n: u32, payload: &[u8], marker: bool) -> Self {
        let payload: Arc<[u8]> = payload.into();
        self.at(n, move |sender| sender.rtp(&payload, marker))
    }

    /// In front of picture `n` come these bytes, on the connection itself.
    pub fn send_raw(self, n: u32, bytes: &[u8]) -> Self {
        let bytes: Arc<[u8]> = bytes.into();
        self.at(n, move |sender| sender.write(&bytes))
    }

    /// In front of picture `n` this comes where reports come.
    pub fn send_rtcp(self, n: u32, bytes: &[u8]) -> Self {
        let bytes: Arc<[u8]> = bytes.into();
        self.at(n, move |sender| sender.rtcp(&bytes))
    }

    /// Picture `n` is of so many bytes more.
    pub fn grow_picture(self, n: u32, bytes: usize) -> Self {
        self.at(n, move |sender| {
            sender.extra = bytes;
            Ok(())
        })
    }

    /// In front of picture `n` begins a fragmented NAL unit that never ends, at so many bytes a second.
    pub fn endless_fragment(self, n: u32, bytes_per_second: usize) -> Self {
        self.at(n, move |sender| sender.endless_fragment(bytes_per_second))
    }

    /// The parameter sets in front of picture `n` are as `change` makes them.
    pub fn change_parameter_sets(
        self,
        n: u32,
        change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let change: Change = Arc::new(change);
        self.at(n, move |sender| {
            sender.parameter_sets = Some(Arc::clone(&change));
            Ok(())
        })
    }

    /// From picture `n` on it shows another clip, from its beginning.
    pub fn show(self, n: u32, clip: &Arc<Clip>) -> Self {
        let clip = Arc::clone(clip);
        self.at(n, move |sender| {
            sender.show(&clip);
            Ok(())
        })
    }

    // Time.

    /// The RTP clock jumps in front of picture `n`.
    pub fn jump(self, n: u32, seconds: i32) -> Self {
        self.at(n, move |sender| {
            sender.timestamp = sender.timestamp.wrapping_add_signed(seconds * 90_000);
            Ok(())
        })
    }

    /// It pauses in front of picture `n`; its clock goes on.
    pub fn pause(self, n: u32, pause: Duration) -> Self {
        self.at(n, move |sender| {
            sender.pause(pause);
            Ok(())
        })
    }

    /// Its clock is so much faster than time.
    pub fn drift(mut self, ppm: i64) -> Self {
        self.drift_ppm = ppm;
        self
    }

    /// It sends no reports.
    pub fn no_reports(mut self) -> Self {
        self.reports = Reports::None;
        self
    }

    /// Its reports say 1970.
    pub fn reports_of_1970(mut self) -> Self {
        self.reports = Reports::Of1970;
        self
    }

    // RTSP and SDP.

    /// The connection is closed in front of picture `n`.
    pub fn close(self, n: u32) -> Self {
        self.at(n, |_| Err(std::io::ErrorKind::ConnectionAborted.into()))
    }

    /// The connection stays and nothing comes any more, from picture `n` on.
    pub fn fall_silent(self, n: u32) -> Self {
        self.at(n, |sender| {
            sender.pause(Duration::from_hours(1));
            Ok(())
        })
    }

    /// The connection is closed in place of an answer to this request.
    pub fn close_at(self, method: &'static str) -> Self {
        self.answer(method, Answer::Close)
    }

    /// The answer to this request comes so much later.
    pub fn answer_late(self, method: &'static str, delay: Duration) -> Self {
        self.answer(method, Answer::Late(delay))
    }

    /// The answer to this request comes one byte a second.
    pub fn trickle(self, method: &'static str) -> Self {
        self.answer(method, Answer::Trickle)
    }

    /// The answer to this request is these bytes; `CSEQ` in them becomes the request's number.
    pub fn answer_with(self, method: &'static str, bytes: &[u8]) -> Self {
        self.answer(method, Answer::Raw(bytes.into()))
    }

    /// The answer to this request begins with its status line and goes on with these bytes for ever.
    pub fn answer_endlessly(self, method: &'static str, bytes: &[u8]) -> Self {
        self.answer(method, Answer::Endless(bytes.into()))
    }

    /// The description is as `rewrite` makes it.
    pub fn sdp(mut self, rewrite: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        self.sdp = Some(Arc::new(rewrite));
        self
    }

    /// Parameter sets come in front of key frames only, and not in the description.
    pub fn parameter_sets_in_band_only(mut self) -> Self {
        self.in_sdp = false;
        self
    }

    /// Parameter sets stand in the description only.
    pub fn parameter_sets_in_sdp_only(mut self) -> Self {
        self.in_band = false;
        self
    }

    /// Parameter sets never come.
    pub fn no_parameter_sets(mut self) -> Self {
        (self.in_band, self.in_sdp) = (false, false);
        self
    }

    fn packet(mut self, n: u32, fault: Packet) -> Self {
        self.packets.push((n, fault));
        self
    }

    fn answer(mut self, method: &'static str, answer: Answer) -> Self {
        self.answers.push((method, answer));
        self
    }

    fn at(
        mut self,
        n: u32,
        deed: impl Fn(&mut Sender) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.deeds.push((n, Arc::new(deed)));
        self
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}
