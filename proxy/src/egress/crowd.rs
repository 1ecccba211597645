//! Who writes to a stream's viewers when it has something new: not each viewer's own task, of which a thousand would have to
//! be woken for each frame, but a few tasks that go from one to the next.
//!
//! A stream's viewers stand in crowds, one for each processor at most and for half of them as a rule. A crowd's task gives
//! each of its viewers what its socket takes at once, and leaves those whose sockets take no more to their own tasks.
//! Invariant: whoever joins or leaves during a round misses nothing, for another round follows.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
    task::block_in_place,
};

use crate::hub::Stream;

/// A round of more viewers takes so long (1 ms) that it is no task among others any more.
const LONG: usize = 64;
/// So many viewers are written to between two looks at who is there. One of them costs 10 us and more, with a key frame 50.
const STEP: usize = 8;

/// A crowd is full enough for another one beside it, where there is a processor for it.
const ENOUGH: usize = 16;

/// It is full enough to take the processors that are otherwise left to everybody else.
const LARGE: usize = 2_048;

/// Somebody who waits for a stream.
pub trait Member: Send + Sync + 'static {
    /// The stream of this id may have something. Must not wait.
    fn news(&self, id: u32);
}

/// All crowds.
#[derive(Debug)]
pub struct Crowds<M> {
    by_stream: Mutex<HashMap<u32, Vec<Arc<Crowd<M>>>>>,
    processors: usize,
}

impl<M> Default for Crowds<M> {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { by_stream: Mutex::default(), processors }
    }
}

/// Some viewers of one stream.
#[derive(Debug)]
struct Crowd<M> {
    stream: Arc<Stream>,
    waker: Arc<Notify>,
    members: Mutex<Vec<Arc<M>>>,
}

/// A viewer's place in a crowd. Dropping it leaves.
#[derive(Debug)]
pub(super) struct Seat<M> {
    crowd: Arc<Crowd<M>>,
    member: Weak<M>,
}

impl<M: Member> Seat<M> {
    /// A place for the same viewer among those of another stream; none where it has left.
    pub(super) fn beside(&self, crowds: &Arc<Crowds<M>>, stream: &Arc<Stream>) -> Option<Self> {
        Some(crowds.join(stream, &self.member.upgrade()?))
    }
}

impl<M> Drop for Seat<M> {
    fn drop(&mut self) {
        let (left, matters) = {
            let mut members = self.crowd.lock();
            let place = members.iter().position(|member| Arc::as_ptr(member) == self.member.as_ptr());
            let left = place.map(|place| members.swap_remove(place));
            (left, members.is_empty() || place.is_some_and(|place| place < members.len()))
        };
        // Who stood last now stands in this place, where the task may have been already. And it ends with the last one.
        if matters {
            self.crowd.waker.notify_one();
        }
        drop(left);
    }
}

impl<M> Crowd<M> {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<M>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Member> Crowd<M> {
    /// Tells everybody. `step` is room for some of them, empty before and after.
    fn tell(&self, step: &mut Vec<Arc<M>>) {
        let mut told = 0;
        loop {
            step.extend(self.lock().iter().skip(told).take(STEP).cloned());
            told += step.len();
            let all = step.len() < STEP;
            for member in step.drain(..) {
                member.news(self.stream.id);
            }
            if all {
                return;
            }
        }
    }
}

impl<M: Member> Crowds<M> {
    /// Puts a viewer into a crowd of the stream. From now on it is told of news.
    pub(super) fn join(self: &Arc<Self>, stream: &Arc<Stream>, member: &Arc<M>) -> Seat<M> {
        let mut by_stream = self.lock();
        let crowds = by_stream.entry(stream.id).or_default();
        let smallest = crowds.iter().min_by_key(|crowd| crowd.lock().len()).cloned();
        let crowd = smallest.filter(|crowd| !self.is_full(crowds.len(), crowd.lock().len()));
        let crowd = crowd.unwrap_or_else(|| {
            let crowd = Arc::new(Crowd {
                stream: stream.clone(),
                waker: Arc::new(Notify::new()),
                members: Mutex::default(),
            });
            stream.listen(crowd.waker.clone());
            crowds.push(crowd.clone());
            tokio::spawn(self.clone().serve(crowd.clone()));
            crowd
        });
        crowd.lock().push(member.clone());
        Seat { crowd, member: Arc::downgrade(member) }
    }

    /// Whether there is to be one more than so many crowds, the smallest of which has so many viewers. Half of the
    /// processors stay free of one stream's viewers, for the other streams, for those who feed them, and for whatever else
    /// is on this machine.
    fn is_full(&self, crowds: usize, viewers: usize) -> bool {
        let (most, enough) = match self.processors.div_ceil(2) {
            half if crowds < half => (half, ENOUGH),
            _ => (self.processors, LARGE),
        };
        crowds < most && viewers >= enough
    }

    async fn serve(self: Arc<Self>, crowd: Arc<Crowd<M>>) {
        let mut step = Vec::with_capacity(STEP);
        let beside_others = matches!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
        while !self.is_over(&crowd) {
            crowd.waker.notified().await;
            if beside_others && crowd.lock().len() > LONG {
                // Another thread takes over whatever else this one would do, other streams' frames among it: else they wait
                // for the end of the round, since who writes does not look at what came in.
                block_in_place(|| crowd.tell(&mut step));
            } else {
                crowd.tell(&mut step);
            }
        }
    }

    /// Gives a crowd up if nobody is left. Nobody can join it then.
    fn is_over(&self, crowd: &Arc<Crowd<M>>) -> bool {
        let mut by_stream = self.lock();
        if !crowd.lock().is_empty() {
            return false;
        }
        if let Some(crowds) = by_stream.get_mut(&crowd.stream.id) {
            crowds.retain(|other| !Arc::ptr_eq(other, crowd));
            if crowds.is_empty() {
                by_stream.remove(&crowd.stream.id);
            }
        }
        crowd.stream.ignore(&crowd.waker);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Vec<Arc<Crowd<M>>>>> {
        self.by_stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::hub::{Hub, State};

    #[derive(Debug, Default)]
    struct Counter(AtomicUsize);

    impl Member for Counter {
        fn news(&self, _: u32) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn stream() -> Arc<Stream> {
        Hub::new([("cam".parse().expect("a name"), false)]).get("cam").expect("the stream").clone()
    }

    /// Waits for a condition, but not for ever.
    async fn until(condition: impl Fn() -> bool) -> bool {
        for _ in 0..10_000 {
            if condition() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }

    #[tokio::test]
    async fn news_reach_everybody_in_however_many_crowds_they_stand() {
        news_reach_everybody().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn news_reach_everybody_by_threads_of_their_own() {
        news_reach_everybody().await;
    }

    async fn news_reach_everybody() {
        let (stream, crowds) = (stream(), Arc::new(Crowds::default()));
        let members: Vec<_> = (0..3 * LONG).map(|_| Arc::new(Counter::default())).collect();
        let seats: Vec<_> = members.iter().map(|member| crowds.join(&stream, member)).collect();
        let (mut seats, leaving) = (seats, 7);
        for (round, state) in [State::Connecting, State::Live, State::Offline].into_iter().enumerate() {
            stream.set_state(state, None);
            let told = || {
                members.iter().skip(round * leaving).all(|member| member.0.load(Ordering::Relaxed) > round)
            };
            assert!(until(told).await, "round {round}");
            seats.drain(..leaving);
        }
    }

    #[test]
    fn one_stream_takes_half_of_the_processors_and_all_of_them_only_with_very_many_viewers() {
        for (processors, few, many) in [(1, 1, 1), (2, 1, 2), (3, 2, 3), (8, 4, 8)] {
            let all = Crowds::<Counter> { processors, ..Crowds::default() };
            // As many crowds as there come to be while each one has this many viewers.
            let crowds = |viewers| (1..=9).find(|crowds| !all.is_full(*crowds, viewers));
            assert_eq!(crowds(ENOUGH - 1), Some(1));
            assert_eq!((crowds(ENOUGH), crowds(LARGE - 1)), (Some(few), Some(few)));
            assert_eq!(crowds(LARGE), Some(many));
        }
    }

    #[tokio::test]
    async fn a_crowd_ends_with_its_last_viewer_and_begins_anew_with_the_next() {
        let (stream, crowds) = (stream(), Arc::new(Crowds::default()));
        let member = Arc::new(Counter::default());
        for _ in 0..3 {
            let seat = crowds.join(&stream, &member);
            stream.set_state(State::Connecting, None);
            assert!(until(|| member.0.swap(0, Ordering::Relaxed) > 0).await);
            stream.set_state(State::Idle, None);
            drop(seat);
            assert!(until(|| crowds.lock().is_empty()).await, "the crowd is still there");
            assert!(
                until(|| Arc::strong_count(&member) == 1).await,
                "somebody holds on to a viewer who left"
            );
        }
    }
}
