//! Admission: how many queries run at once, who waits for how long, and who is turned away.
//!
//! Queries that read tables take a slot for as long as they run; those beyond the limit wait in a queue of their tenant, and a
//! slot that comes free goes to the tenants in turn (round robin), within a tenant to the one that came first. What reads
//! no table (SHOW, `system.queries`, constants) never waits.
//!
//! A query that ran out of memory beside others asks for more slots, so that half as many run beside it, and in the end none.
//! It gives back its own first, so that two of them never wait for each other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::settings::AdmissionSettings;
use crate::{Error, Result};

/// See the module.
#[derive(Debug)]
pub(crate) struct Admission {
    settings: AdmissionSettings,
    /// Queries that may run at once: as many as there may be, and as have memory to reserve.
    slots: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Slots that are taken.
    taken: usize,
    waiting: usize,
    next_id: u64,
    /// Tenants that wait, in the order of their turns; none is without a waiter.
    tenants: VecDeque<(String, VecDeque<Waiter>)>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    slots: usize,
    sender: oneshot::Sender<Slots>,
}

/// The right to run, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slots {
    admission: Arc<Admission>,
    number: usize,
}

impl Slots {
    /// How many to ask for after these were too few: `None` if nothing else runs.
    pub(crate) fn more(&self) -> Option<usize> {
        let others = self.admission.state.lock().taken - self.number;
        (others > 0).then(|| (self.admission.slots - others / 2).max(self.number + 1))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.admission.state.lock().taken -= self.number;
        self.admission.fill();
    }
}

/// Where in the queue of its tenant a waiter comes in.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

type Waiting<'a> = (Place<'a>, oneshot::Receiver<Slots>);

/// A place in the queue, given up when dropped. What waited behind it may fit now.
struct Place<'a> {
    admission: &'a Arc<Admission>,
    tenant: &'a str,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.admission.state.lock().remove(self.tenant, self.id);
        self.admission.fill();
    }
}

impl Admission {
    /// `memory_bytes` is what running queries share.
    pub(crate) fn new(settings: AdmissionSettings, memory_bytes: u64) -> Arc<Self> {
        let reservations = memory_bytes.checked_div(settings.memory_per_query.as_u64()).unwrap_or(u64::MAX);
        let slots = settings.max_running.get().min(usize::try_from(reservations).unwrap_or(usize::MAX)).max(1);
        Arc::new(Self { settings, slots, state: Mutex::default() })
    }

    /// Waits for a slot; `queued` is called if there is none now.
    ///
    /// # Errors
    /// When the queue is full, or none came free in time.
    pub(crate) async fn admit(self: &Arc<Self>, tenant: &str, queued: impl FnOnce()) -> Result<Slots> {
        let waiting = {
            let mut state = self.state.lock();
            if state.taken < self.slots && state.waiting == 0 {
                state.taken += 1;
                return Ok(Slots { admission: Arc::clone(self), number: 1 });
            }
            if state.waiting >= self.settings.max_queued {
                return Err(Error::Overloaded {
                    setting: "admission.max_queued",
                    message: format!("{} queries run and {} wait already", state.taken, state.waiting),
                });
            }
            self.enqueue(&mut state, tenant, 1, End::Back)
        };
        queued();
        self.wait(waiting, Duration::from_secs(self.settings.queue_timeout_s)).await
    }

    /// Waits for so many slots, before others of the tenant: the query has waited and run already. Nobody overtakes it.
    ///
    /// # Errors
    /// When they did not come free in time.
    pub(crate) async fn admit_again(self: &Arc<Self>, tenant: &str, slots: usize) -> Result<Slots> {
        let waiting = self.enqueue(&mut self.state.lock(), tenant, slots, End::Front);
        self.fill();
        self.wait(waiting, Duration::from_secs(self.settings.queue_timeout_s)).await
    }

    fn enqueue<'a>(self: &'a Arc<Self>, state: &mut State, tenant: &'a str, slots: usize, end: End) -> Waiting<'a> {
        let (sender, slot) = oneshot::channel();
        let id = state.push(tenant, slots.min(self.slots), sender, end);
        (Place { admission: self, tenant, id }, slot)
    }

    async fn wait(&self, (place, slots): Waiting<'_>, timeout: Duration) -> Result<Slots> {
        let slots = tokio::time::timeout(timeout, slots).await;
        drop(place);
        match slots {
            Ok(Ok(slots)) => Ok(slots),
            Ok(Err(_)) => Err(Error::Internal("a place in the queue was lost".to_owned())),
            Err(_) => Err(Error::Overloaded {
                setting: "admission.queue_timeout_s",
                message: format!("the query waited for {} s and none of those before it ended", timeout.as_secs()),
            }),
        }
    }

    /// Gives free slots to those whose turn it is.
    fn fill(self: &Arc<Self>) {
        loop {
            let waiter = {
                let mut state = self.state.lock();
                // Who waits for many is not overtaken.
                let fits = state.next().is_some_and(|next| state.taken + next.slots <= self.slots);
                let Some(waiter) = fits.then(|| state.pop()).flatten() else { return };
                state.taken += waiter.slots;
                waiter
            };
            // A waiter that left lets its slots fall: that fills them again, so nothing is left to do here.
            let _ = waiter.sender.send(Slots { admission: Arc::clone(self), number: waiter.slots });
        }
    }
}

impl State {
    fn push(&mut self, tenant: &str, slots: usize, sender: oneshot::Sender<Slots>, end: End) -> u64 {
        self.next_id += 1;
        self.waiting += 1;
        let waiter = Waiter { id: self.next_id, slots, sender };
        match (self.tenants.iter_mut().find(|(name, _)| name == tenant), end) {
            (Some((_, waiters)), End::Back) => waiters.push_back(waiter),
            (Some((_, waiters)), End::Front) => waiters.push_front(waiter),
            (None, _) => self.tenants.push_back((tenant.to_owned(), VecDeque::from([waiter]))),
        }
        self.next_id
    }

    /// The one whose turn it will be.
    fn next(&self) -> Option<&Waiter> {
        self.tenants.front()?.1.front()
    }

    /// The one whose turn it is.
    fn pop(&mut self) -> Option<Waiter> {
        let (tenant, mut waiters) = self.tenants.pop_front()?;
        let waiter = waiters.pop_front()?;
        self.waiting -= 1;
        if !waiters.is_empty() {
            self.tenants.push_back((tenant, waiters));
        }
        Some(waiter)
    }

    /// Takes one off the queue, if it is there.
    fn remove(&mut self, tenant: &str, id: u64) {
        let Some(at) = self.tenants.iter().position(|(name, _)| name == tenant) else { return };
        let waiters = &mut self.tenants[at].1;
        if let Some(place) = waiters.iter().position(|waiter| waiter.id == id) {
            waiters.remove(place);
            self.waiting -= 1;
        }
        if self.tenants[at].1.is_empty() {
            self.tenants.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::num::NonZeroUsize;

    use super::*;

    fn admission(running: usize, queued: usize) -> Arc<Admission> {
        let settings = AdmissionSettings {
            max_running: NonZeroUsize::new(running).unwrap(),
            max_queued: queued,
            queue_timeout_s: 1,
            ..AdmissionSettings::default()
        };
        Admission::new(settings, 64 << 30)
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn tenants_take_turns_and_within_one_the_first_is_first() {
        let admission = admission(1, 100);
        let held = admission.admit("a", || {}).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["a1", "a2", "a3", "b1", "c1", "b2"] {
            let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _slot = admission.admit(&name[..1], || {}).await.unwrap();
                order.lock().push(name);
                tokio::task::yield_now().await;
            }));
            settle().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        let state = admission.state.lock();
        assert_eq!((state.taken, state.waiting, state.tenants.len()), (0, 0, 0));
    }

    #[test]
    fn no_more_run_than_have_memory_to_reserve() {
        let slots = |memory_mib: u64| Admission::new(AdmissionSettings::default(), memory_mib << 20).slots;
        assert_eq!((slots(640), slots(64), slots(1)), (10, 1, 1));
        assert_eq!(slots(1 << 20), AdmissionSettings::default().max_running.get());
    }

    #[tokio::test]
    async fn a_full_queue_and_a_long_wait_name_their_settings() {
        let admission = admission(1, 1);
        let held = admission.admit("a", || {}).await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit("a", || {}).await.map(drop) }
        });
        settle().await;
        let full = admission.admit("b", || {}).await.unwrap_err();
        assert!(full.to_string().contains("admission.max_queued"), "{full}");
        let late = waiting.await.unwrap().unwrap_err();
        assert!(late.to_string().contains("admission.queue_timeout_s"), "{late}");
        drop(held);
        drop(admission.admit("a", || {}).await.unwrap());
    }

    #[tokio::test]
    async fn who_leaves_the_queue_takes_no_slot() {
        let admission = admission(1, 10);
        let held = admission.admit("a", || {}).await.unwrap();
        for _ in 0..3 {
            let task = tokio::spawn({
                let admission = Arc::clone(&admission);
                async move { admission.admit("a", || {}).await.map(drop) }
            });
            settle().await;
            task.abort();
            let _ = task.await;
        }
        assert_eq!(admission.state.lock().waiting, 0);
        drop(held);
        assert_eq!(admission.state.lock().taken, 0);
        drop(admission.admit("b", || {}).await.unwrap());
    }

    #[tokio::test]
    async fn half_as_many_run_beside_who_needs_more_each_time() {
        let admission = admission(16, 100);
        let mut others: Vec<Slots> = Vec::new();
        for _ in 0..8 {
            others.push(admission.admit("a", || {}).await.unwrap());
        }
        let mut asked = Vec::new();
        let mut own = others.pop().unwrap();
        while let Some(more) = own.more() {
            asked.push(more);
            drop(own);
            others.truncate(16 - more);
            own = admission.admit_again("a", more).await.unwrap();
        }
        assert_eq!((asked, others.len()), (vec![13, 15, 16], 0));
    }

    #[tokio::test]
    async fn who_needs_more_waits_for_it_and_is_not_overtaken() {
        let admission = admission(4, 100);
        let first = admission.admit("a", || {}).await.unwrap();
        let second = admission.admit("a", || {}).await.unwrap();
        assert_eq!((first.more(), first.number), (Some(4), 1));
        drop(first);
        let half = admission.admit_again("a", 2).await.unwrap();
        assert_eq!(half.more(), Some(4));
        drop(half);
        let third = admission.admit("a", || {}).await.unwrap();
        drop(second);
        assert_eq!(third.more(), None, "nothing else runs");
        let second = third;
        let order = Arc::new(Mutex::new(Vec::new()));
        let all = tokio::spawn({
            let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
            async move {
                let all = admission.admit_again("a", 4).await.unwrap();
                assert_eq!(all.more(), None);
                order.lock().push("all");
            }
        });
        settle().await;
        let one = tokio::spawn({
            let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
            async move {
                let _slot = admission.admit("a", || {}).await.unwrap();
                order.lock().push("one");
            }
        });
        settle().await;
        assert!(order.lock().is_empty(), "it ran beside another, or was overtaken");
        drop(second);
        all.await.unwrap();
        one.await.unwrap();
        assert_eq!(*order.lock(), ["all", "one"]);
        assert_eq!(admission.state.lock().taken, 0);
    }

    #[tokio::test]
    async fn who_leaves_while_it_waits_for_many_makes_way() {
        let admission = admission(2, 100);
        let held = admission.admit("a", || {}).await.unwrap();
        let many = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit_again("a", 2).await.map(drop) }
        });
        settle().await;
        let one = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit("b", || {}).await.map(drop) }
        });
        settle().await;
        many.abort();
        let _ = many.await;
        one.await.unwrap().unwrap();
        drop(held);
        assert_eq!(admission.state.lock().taken, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn never_more_run_than_may() {
        let admission = admission(3, 1000);
        let tasks = (0..300).map(|number| {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move {
                let _slot = admission.admit(if number % 3 == 0 { "a" } else { "b" }, || {}).await.unwrap();
                assert!(admission.state.lock().taken <= 3);
                tokio::task::yield_now().await;
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(admission.state.lock().taken, 0);
    }
}
