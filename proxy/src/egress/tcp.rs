//! What the kernel is told about viewers' connections: how much to hold for them, and how to find out what their links take.
//!
//! Nothing here has to succeed: a kernel that cannot do it serves viewers on good links as well.

use std::time::{Duration, Instant};

use socket2::SockRef;

/// Unsent bytes that are held for a viewer: video in that queue can no longer be skipped. A link of 1 Mb/s takes an eighth of a
/// second for so much.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 16 * 1024;

/// How a link's rate is found, where the kernel has this one and lets us. Others take each lost packet for a sign that they send
/// too fast: with 3 % of them lost they come to a standstill.
#[cfg(target_os = "linux")]
const CONGESTION: &[u8] = b"bbr";

/// A link's rate is found anew no sooner than this: cameras that send nothing but key frames keep it known.
const FIND_RATE_EVERY: Duration = Duration::from_millis(900);

/// A link that did not take a key frame at once has its rate found anew for so many: one that takes each at once has no need of it.
const SLOW_KEY_FRAMES: u8 = 5;

/// For all connections that a listener accepts.
pub fn prepare_listener(listener: &tokio::net::TcpListener) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(listener).set_tcp_congestion(CONGESTION) {
        tracing::info!(
            %error,
            "no BBR here: viewers whose links lose packets fall far behind (modprobe tcp_bbr, and sysctl \
             net.ipv4.tcp_allowed_congestion_control=\"reno cubic bbr\" for those who are not root)"
        );
    }
}

/// For one of them.
pub fn prepare(tcp: &tokio::net::TcpStream) {
    // A frame is written at once and whole: waiting to fill a segment only delays it.
    let _ = tcp.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(tcp).set_tcp_notsent_lowat(NOTSENT_LOWAT);
}

/// PURE: when a link's rate is to be found anew.
#[derive(Debug, Default)]
pub(super) struct KeyFrames {
    /// When the last one came that counted.
    at: Option<Instant>,
    /// What is sent next has one.
    is_next: bool,
    /// So many more find the rate anew.
    slow: u8,
}

impl KeyFrames {
    /// A key frame comes next, received then, for a link that has taken all before it.
    pub(super) fn note(&mut self, received: Instant) {
        if self.at.is_none_or(|at| received.duration_since(at) >= FIND_RATE_EVERY) {
            self.at = Some(received);
            self.is_next = true;
        }
    }

    /// What comes next is about to be sent. Whether the link's rate is to be found anew for it, and whether it tells of the link.
    pub(super) fn begin(&mut self) -> (bool, bool) {
        let tells = std::mem::take(&mut self.is_next);
        let find = tells && self.slow > 0;
        self.slow -= u8::from(find);
        (find, tells)
    }

    /// The link did not take one at once.
    pub(super) fn on_slow(&mut self) {
        self.slow = SLOW_KEY_FRAMES;
    }
}

/// Lets the kernel find the link's rate anew, as for a new connection. What a stream sends between two key frames tells BBR of
/// no higher rate than it took for them, and it forgets what is ten round trips old: the next key frame, ten times as long as other
/// frames, goes out at the pace of these, and all behind it are late.
pub(super) fn find_rate_anew(tcp: &tokio::net::TcpStream) {
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(tcp);
        // To set what is set already does nothing; and whoever had it may have it again.
        if socket.tcp_congestion().is_ok_and(|name| name.starts_with(CONGESTION))
            && socket.set_tcp_congestion(b"reno").is_ok()
        {
            let _ = socket.set_tcp_congestion(CONGESTION);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_found_anew_for_five_key_frames_behind_one_that_was_not_taken_at_once() {
        let (mut keys, start) = (KeyFrames::default(), Instant::now());
        let begin = |keys: &mut KeyFrames, ms| {
            keys.note(start + Duration::from_millis(ms));
            keys.begin()
        };
        assert_eq!(begin(&mut keys, 0), (false, true));
        keys.on_slow();
        assert_eq!(begin(&mut keys, 899), (false, false), "too soon");
        for n in 1..=5 {
            assert_eq!(begin(&mut keys, n * 2_000), (true, true), "{n}");
            assert_eq!(keys.begin(), (false, false), "what comes behind it");
        }
        assert_eq!(begin(&mut keys, 12_000), (false, true));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_rate_that_is_found_anew_is_found_in_the_same_way() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        prepare_listener(&listener);
        let (near, far) =
            tokio::join!(tokio::net::TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (_near, (far, _)) = (near.unwrap(), far.unwrap());
        let before = SockRef::from(&far).tcp_congestion().unwrap();
        find_rate_anew(&far);
        assert_eq!(SockRef::from(&far).tcp_congestion().unwrap(), before);
    }
}
