//! What the kernel is told about viewers' connections: how much to hold for them, and how to find out what their links take.
//!
//! Nothing here has to succeed: a kernel that cannot do it serves viewers on good links as well.

use std::time::Duration;

use socket2::SockRef;

use super::told::Told;

/// Unsent bytes that are held for a viewer: video in that queue can no longer be skipped. A link of 1 Mb/s takes an eighth of a
/// second for so much.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 16 * 1024;

/// How a link's rate is found, where the kernel has this one and lets us. Others take each lost packet for a sign that they send
/// too fast: with 3 % of them lost they come to a standstill.
#[cfg(target_os = "linux")]
const CONGESTION: &[u8] = b"bbr";

/// What is not acknowledged is sent again once a second at least, in milliseconds: Linux waits twice as long each time, and up to
/// as long again as an outage has lasted before it finds that it is over. No less is allowed.
#[cfg(target_os = "linux")]
const RTO_MAX_MS: u32 = 1_000;

/// And so much later than an acknowledgement is expected, in microseconds: Linux waits for 200 ms, which is seen where the last packet
/// of a picture is lost, or one that was sent again. A receiver that acknowledges every other packet is not slower than this.
#[cfg(target_os = "linux")]
const RTO_MIN_US: u32 = 50_000;

/// Options that are not in `socket2`, by their numbers in `linux/tcp.h`. Linux 6.18 knows them all, 6.1 the first.
#[cfg(target_os = "linux")]
mod options {
    // The macros say `libc` and each other's names.
    use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};

    const TCP_INFO: libc::c_int = 11;
    const TCP_RTO_MAX_MS: libc::c_int = 44;
    const TCP_RTO_MIN_US: libc::c_int = 45;

    /// `tcpi_ca_state` up to which nothing is taken for lost.
    pub(super) const TCP_CA_DISORDER: u8 = 1;

    /// The part of `struct tcp_info` that kernels since 4.6 have: eight bytes, and then words, some of them in pairs.
    pub(super) type TcpInfo = [u32; 38];

    sockopt_impl!(
        /// What TCP knows of a connection.
        Info, GetOnly, libc::IPPROTO_TCP, TCP_INFO, TcpInfo
    );
    sockopt_impl!(
        /// The most time between two tries.
        RtoMaxMs, Both, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, u32
    );
    sockopt_impl!(
        /// The least that an acknowledgement is waited for longer than expected.
        RtoMinUs, Both, libc::IPPROTO_TCP, TCP_RTO_MIN_US, u32
    );
}

/// For all connections that a listener accepts.
pub fn prepare_listener(listener: &tokio::net::TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::setsockopt;
        let _ = setsockopt(listener, options::RtoMaxMs, &RTO_MAX_MS);
        let _ = setsockopt(listener, options::RtoMinUs, &RTO_MIN_US);
    }
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

/// How things stand, where the system tells it.
#[cfg_attr(
    not(target_os = "linux"),
    expect(clippy::missing_const_for_fn, unused_variables, reason = "Linux tells")
)]
pub(super) fn told(tcp: &tokio::net::TcpStream) -> Option<Told> {
    #[cfg(target_os = "linux")]
    {
        let info = nix::sys::socket::getsockopt(tcp, options::Info).ok()?;
        let [_, ca_state, ..] = info[0].to_ne_bytes();
        let pacing_rate = [info[26].to_ne_bytes(), info[27].to_ne_bytes()];
        Some(Told {
            awaits: info[6] > 0,                                      // tcpi_unacked
            ago: Duration::from_millis(info[14].into()),              // tcpi_last_ack_recv
            round_trip: Duration::from_micros(info[17].into()),       // tcpi_rtt
            least_round_trip: Duration::from_micros(info[37].into()), // tcpi_min_rtt
            recovers: ca_state > options::TCP_CA_DISORDER,
            bytes_per_second: pacing_rate
                .as_flattened()
                .first_chunk()
                .map_or(0, |bytes| u64::from_ne_bytes(*bytes)),
            window_bytes: u64::from(info[20]) * u64::from(info[4]), // tcpi_snd_cwnd, tcpi_snd_mss
        })
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Lets the kernel find the link's rate anew, as for a new connection.
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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn connections_send_again_as_soon_as_their_listener_was_told() {
        use nix::sys::socket::getsockopt;
        let (_near, far) = pair().await;
        // Older kernels know neither.
        if let Ok(most_ms) = getsockopt(&far, options::RtoMaxMs) {
            assert_eq!(most_ms, RTO_MAX_MS);
        }
        if let Ok(least_us) = getsockopt(&far, options::RtoMinUs) {
            assert!(least_us.abs_diff(RTO_MIN_US) < 10_000, "{least_us} us: rounded to the kernel's clock");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_was_read_is_acknowledged() {
        let (near, far) = pair().await;
        far.writable().await.unwrap();
        assert_eq!(far.try_write(&[0; 1_000]).unwrap(), 1_000);
        let mut now = told(&far).unwrap();
        for _ in 0..10_000 {
            if !now.awaits {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            now = told(&far).unwrap();
        }
        assert!(!now.awaits && now.ago < Duration::from_secs(5), "{now:?}");
        assert!(now.round_trip > Duration::ZERO && now.round_trip < Duration::from_secs(1), "{now:?}");
        let most = now.round_trip + Duration::from_millis(1);
        assert!(now.least_round_trip > Duration::ZERO && now.least_round_trip <= most, "{now:?}");
        assert!(now.window_bytes >= 1_000 && now.bytes_per_second >= 1_000 && !now.recovers, "{now:?}");
        drop(near);
    }

    #[cfg(target_os = "linux")]
    async fn pair() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        prepare_listener(&listener);
        let (near, far) =
            tokio::join!(tokio::net::TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_rate_that_is_found_anew_is_found_in_the_same_way() {
        let (_near, far) = pair().await;
        let before = SockRef::from(&far).tcp_congestion().unwrap();
        find_rate_anew(&far);
        assert_eq!(SockRef::from(&far).tcp_congestion().unwrap(), before);
    }
}
