//! PURE: whether a viewer's link has fallen silent: nothing of what was sent is acknowledged any more.
//!
//! What is sent into silence has to be sent again when it ends, in front of all that is newer: half a megabyte of it took a
//! third of a second. And TCP, which by then tries once a second at most, hears of the end the sooner the more lately it sent
//! something new. So a silent link gets no pictures, but a few bytes every now and then ([`call_after`]).

use std::time::{Duration, Instant};

use super::told::Told;

/// How often it is looked at what was acknowledged. It is a system call: seven frames are sent meanwhile, as a rule.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A link is silent when nothing was acknowledged for so long and for twice the way there and back. A receiver may hold an
/// acknowledgement back for 200 ms.
const SILENT_AFTER: Duration = Duration::from_millis(250);

/// Something awaited for so long may be the beginning of it: it is looked at with each frame then.
const SUSPECT_AFTER: Duration = Duration::from_millis(125);

/// Time between two calls into silence: TCP sends what is lost anew by itself after 50 ms and more without anything new.
const CALL_EVERY: Duration = Duration::from_millis(30);

/// How long after a call into a silence of this length the next one is made. Each call is a packet of its own, and when as many are
/// on their way as may be, TCP's own timers have the word: once a second.
pub(super) fn call_after(silent_for: Duration) -> Duration {
    CALL_EVERY + silent_for / 50
}

/// Looks at one link.
#[derive(Debug, Default)]
pub(super) struct Silence {
    looked: Option<Instant>,
    /// Since when an acknowledgement is awaited and none has come.
    awaits_since: Option<Instant>,
    is_silent: bool,
    suspects: bool,
}

impl Silence {
    /// Whether to look now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_silent || self.suspects || self.looked.is_none_or(|at| now.duration_since(at) >= LOOK_EVERY)
    }

    /// What is seen now.
    pub(super) fn look(&mut self, told: &Told, now: Instant) {
        self.looked = Some(now);
        let none_since = |since: &Instant| told.ago >= now.duration_since(*since);
        self.awaits_since = match self.awaits_since.filter(none_since) {
            _ if !told.awaits => None,
            Some(since) => Some(since),
            None => Some(now),
        };
        self.suspects = told.awaits && told.ago >= SUSPECT_AFTER;
        let silent_after = SILENT_AFTER + told.round_trip * 2;
        self.is_silent = self.awaits_since.is_some_and(|since| now.duration_since(since) >= silent_after);
    }

    /// Since when nothing has come back over the link, if it is silent.
    pub(super) fn since(&self) -> Option<Instant> {
        self.awaits_since.filter(|_| self.is_silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(40);

    /// A link that is looked at when it should be, each 10 ms; `heard` says whether an acknowledgement came at that time, and
    /// something is always under way. Returns when it was silent, in milliseconds.
    fn silent(until_ms: u64, heard: impl Fn(u64) -> bool) -> Vec<u64> {
        let (mut silence, start, mut last) = (Silence::default(), Instant::now(), 0);
        (0..until_ms)
            .step_by(10)
            .filter(|&at_ms| {
                let now = start + Duration::from_millis(at_ms);
                last = if heard(at_ms) { at_ms } else { last };
                if silence.is_due(now) {
                    let ago = Duration::from_millis(at_ms - last);
                    silence.look(&Told { awaits: true, ago, round_trip: ROUND_TRIP, ..Told::default() }, now);
                }
                silence.since().is_some()
            })
            .collect()
    }

    #[test]
    fn a_link_that_answers_now_and_then_is_never_silent() {
        assert!(silent(60_000, |_| true).is_empty());
        assert!(silent(60_000, |at_ms| at_ms % 250 == 0).is_empty());
    }

    #[test]
    fn a_link_is_silent_soon_after_its_last_answer_until_its_next_one() {
        for out_ms in (1_000..1_250).step_by(10) {
            let times = silent(6_000, |at_ms| !(out_ms..4_000).contains(&at_ms));
            let (first, last) = (times[0], times[times.len() - 1]);
            assert!(
                (out_ms + 240..=out_ms + 590).contains(&first),
                "out from {out_ms} on, silent from {first}"
            );
            assert_eq!(last, 3_990);
            assert_eq!(times.len() as u64, (last - first) / 10 + 1, "silent without a break");
        }
    }

    #[test]
    fn calls_into_a_long_silence_are_few() {
        let calls = |silent: Duration| {
            let mut at = Duration::ZERO;
            std::iter::from_fn(|| {
                at += call_after(at);
                (at < silent).then_some(())
            })
            .count()
        };
        assert!((25..=33).contains(&calls(Duration::from_secs(1))));
        assert!(
            (50..=60).contains(&calls(Duration::from_secs(3))),
            "with half a second of pictures 120 packets"
        );
        assert!(calls(Duration::from_secs(10)) <= 105);
    }

    #[test]
    fn a_stream_with_long_pauses_makes_no_link_silent() {
        // A frame every 5 s, which is acknowledged: the last acknowledgement is long ago when it is sent.
        let (mut silence, start) = (Silence::default(), Instant::now());
        for n in 0..10 {
            let now = start + Duration::from_secs(5) * n;
            let ago = Duration::from_secs(5);
            assert!(silence.is_due(now));
            silence.look(&Told { awaits: false, ago, round_trip: ROUND_TRIP, ..Told::default() }, now);
            assert_eq!(silence.since(), None);
            // Its own first packets are under way by the next look.
            let now = now + LOOK_EVERY;
            silence.look(
                &Told { awaits: true, ago: ago + LOOK_EVERY, round_trip: ROUND_TRIP, ..Told::default() },
                now,
            );
            assert_eq!(silence.since(), None);
        }
    }

    #[test]
    fn a_long_way_is_no_silence() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let round_trip = Duration::from_millis(700);
        for ms in (0..=1_500).step_by(250) {
            let ago = Duration::from_millis(ms);
            silence.look(&Told { awaits: true, ago, round_trip, ..Told::default() }, start + ago);
            assert_eq!(silence.since(), None, "{ms} ms");
        }
        let ago = Duration::from_millis(1_750);
        silence.look(&Told { awaits: true, ago, round_trip, ..Told::default() }, start + ago);
        assert_eq!(silence.since(), Some(start));
    }
}
