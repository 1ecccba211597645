//! Polling retina, with what it lacks: a limit to what it gathers, and a second look.
//!
//! retina holds an answer from its first byte on until it is whole, and nothing of its interface tells how much that is. An
//! answer with a length of 2 GiB, or one whose lines have no end, would take all memory until a time-out ends it, before PLAY
//! and after. So a wait ends when this program has grown while retina was busy with it. What comes as packets is counted where
//! it is put together (`depacketise`).
//!
//! retina moreover reads all it has of an answer anew with each piece that comes, and goes on while there are pieces: a camera that
//! sends header lines without an end kept a thread for a second at a time, and two of them every other stream. So it gets few
//! pieces at a time, and a wait ends when it was busy for longer than any answer takes.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt as _, future::poll_fn};
use retina::client::{PacketItem, Playing, Session};

use crate::hub::Fault;

/// How much this program may grow while one camera's answer is gathered, in KiB. Answers have some KiB; other cameras' pictures
/// may take much at the same time.
const GROWTH_KIB: u64 = 96 << 10;

/// How long retina may be busy with one camera's answer: real ones take a millisecond or two.
const TOO_BUSY: Duration = Duration::from_millis(250);

/// Growth is somebody else's unless retina was busy for so long in this wait: that is what copying some 8 MiB takes.
const BUSY: Duration = Duration::from_millis(10);

/// A task may take 128 pieces from its sockets at a time (tokio). Of these, so many are not for retina.
const NOT_TAKEN: usize = 120;

/// retina answers a request of the camera's and then forgets to ask its socket to wake it (0.4.21).
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One wait: for an answer, or from packet to packet.
#[derive(Debug)]
pub(super) struct Wait {
    /// The code of the fault that ends it.
    code: &'static str,
    /// How long retina was busy.
    busy: Duration,
    /// How large this program was then.
    resident_kib: Option<u64>,
}

impl Wait {
    /// One that a fault of this code ends.
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, busy: Duration::ZERO, resident_kib: None }
    }

    /// Polls once; a fault when more was gathered than is good.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Fault>> {
        for _ in 0..NOT_TAKEN {
            if pin!(tokio::task::coop::consume_budget()).poll(cx).is_pending() {
                break;
            }
        }
        let begun = busy();
        let polled = poll(cx).map(Ok);
        self.busy += busy().saturating_sub(begun);
        if self.busy < BUSY {
            return polled;
        }
        if self.busy > TOO_BUSY && polled.is_pending() {
            let reason =
                "the camera sends something without an end, and was cut off before it takes all processors";
            return Poll::Ready(Err(Fault { code: self.code, reason: reason.into() }));
        }
        let Some(now_kib) = resident_kib() else { return polled };
        let before_kib = *self.resident_kib.get_or_insert(now_kib);
        if now_kib.saturating_sub(before_kib) <= GROWTH_KIB {
            return polled;
        }
        let reason = "the camera sends something without an end, and was cut off before it takes all memory";
        Poll::Ready(Err(Fault { code: self.code, reason: reason.into() }))
    }

    /// The next packet.
    pub(super) async fn next(
        &mut self,
        session: &mut Session<Playing>,
    ) -> Result<Option<Result<PacketItem, retina::Error>>, Fault> {
        loop {
            let item = poll_fn(|cx| self.poll(cx, |cx| session.poll_next_unpin(cx)));
            if let Ok(item) = tokio::time::timeout(LOOK_AGAIN, item).await {
                *self = Self::new(self.code);
                return item;
            }
        }
    }
}

/// The same for what is done before there are pictures.
pub(super) async fn connecting<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let mut work = pin!(work);
    let mut wait = Wait::new("connect_failed");
    poll_fn(|cx| wait.poll(cx, |cx| Pin::as_mut(&mut work).poll(cx))).await?
}

/// How long this thread was busy; where the system does not tell, how late it is.
fn busy() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
    }
    #[cfg(not(unix))]
    {
        static BEGUN: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        BEGUN.elapsed()
    }
}

/// This program's resident memory, where the system tells (Linux).
fn resident_kib() -> Option<u64> {
    const PAGE_KIB: u64 = 4; // a system with larger pages has a larger limit
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_KIB)
}
