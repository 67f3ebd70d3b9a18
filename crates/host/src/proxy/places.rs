//! Places for the proxy connections of all VMs, so that connections do not use up this process's descriptors.
//!
//! While places are free, a VM may take any number of them (`mod.rs` bounds the number for each VM). When none is free,
//! the VM that holds the fewest is served first, and the VM that holds the most loses its longest-idle connection,
//! until their numbers differ by at most one. With more VMs than places, only a connection that has been idle for
//! [`SCARCE_IDLE`] is closed for another VM.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long a connection may be idle while no VM waits for a place.
pub const IDLE: Duration = Duration::from_secs(600);

/// How long a connection may be idle while other VMs wait for a place, even if its VM holds no more places than they
/// do.
const SCARCE_IDLE: Duration = Duration::from_secs(30);

/// How often a waiting VM checks for a connection that has become idle.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// When a connection last transferred bytes, and whether its place is needed for another VM.
#[derive(Debug)]
pub struct Activity {
    begun: Instant,
    /// Milliseconds since `begun`.
    last: AtomicU64,
    is_revoked: AtomicBool,
    revoked: Notify,
}

impl Activity {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            is_revoked: AtomicBool::new(false),
            revoked: Notify::new(),
        }
    }

    /// Records that bytes were transferred.
    pub fn touch(&self) {
        self.last
            .store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long no byte has been transferred.
    fn idle(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last)
    }

    /// Returns when no byte has been transferred for `limit`.
    pub async fn until_idle(&self, limit: Duration) {
        loop {
            let left = limit.saturating_sub(self.idle());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// Returns when the connection's place is needed for another VM.
    pub async fn until_revoked(&self) {
        self.revoked.notified().await;
    }

    fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Relaxed);
        self.revoked.notify_one();
    }

    fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }
}

/// A number of places, and their holders.
#[derive(Debug)]
pub struct Places {
    total: usize,
    state: Mutex<PlacesState>,
}

#[derive(Debug, Default)]
struct PlacesState {
    taken: usize,
    /// By VM and connection. A VM without a place has no entry.
    held: HashMap<u64, HashMap<u64, Arc<Activity>>>,
    /// In the order of arrival. At most one for each VM, because a VM accepts one connection at a time.
    waiting: Vec<Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    vm: u64,
    place: oneshot::Sender<Place>,
}

/// A held place; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    vm: u64,
    number: u64,
    activity: Arc<Activity>,
}

impl Place {
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        if let Some(own) = state.held.get_mut(&self.vm) {
            own.remove(&self.number);
            if own.is_empty() {
                state.held.remove(&self.vm);
            }
        }
        state.taken -= 1;
        let refused = self.places.hand_out(&mut state);
        drop(state);
        // Places whose waiter has just gone: they are freed here, without the lock.
        drop(refused);
    }
}

/// Removes a waiter from the list when it stops waiting for any reason.
struct Waiting<'a> {
    places: &'a Places,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        state.waiting.retain(|waiter| waiter.number != self.number);
    }
}

impl Places {
    fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            state: Mutex::default(),
        })
    }

    /// The places that all VMs of this process share.
    pub fn shared() -> &'static Arc<Self> {
        static PLACES: OnceLock<Arc<Places>> = OnceLock::new();
        PLACES.get_or_init(|| {
            let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
            // Each connection uses two descriptors, so this is a quarter of all descriptors.
            Self::new((descriptors / 8).clamp(32, 16_384) as usize)
        })
    }

    /// A place for a connection of `vm`, which calls this once at a time. `None` if these places no longer exist.
    pub async fn acquire(self: &Arc<Self>, vm: u64) -> Option<Place> {
        let (waiting, mut receiver) = {
            let mut state = self.state.lock();
            if state.taken < self.total {
                return Some(self.take(&mut state, vm));
            }
            let (place, receiver) = oneshot::channel();
            let number = state.number();
            state.waiting.push(Waiter { number, vm, place });
            make_room(&state);
            let places = self.as_ref();
            (Waiting { places, number }, receiver)
        };
        loop {
            tokio::select! {
                place = &mut receiver => {
                    drop(waiting);
                    return place.ok();
                }
                () = tokio::time::sleep(LOOK_AGAIN) => make_room(&self.state.lock()),
            }
        }
    }

    fn take(self: &Arc<Self>, state: &mut PlacesState, vm: u64) -> Place {
        let (number, activity) = (state.number(), Arc::new(Activity::new()));
        state.taken += 1;
        let own = state.held.entry(vm).or_default();
        own.insert(number, Arc::clone(&activity));
        Place {
            places: Arc::clone(self),
            vm,
            number,
            activity,
        }
    }

    /// Gives free places to the waiting VMs, first to the VM that holds the fewest. Returns the places that nobody
    /// took.
    fn hand_out(self: &Arc<Self>, state: &mut PlacesState) -> Vec<Place> {
        let mut refused = Vec::new();
        while state.taken < self.total
            && let Some(neediest) = state.neediest()
        {
            let Waiter { vm, place, .. } = state.waiting.remove(neediest);
            let taken = self.take(state, vm);
            if let Err(taken) = place.send(taken) {
                refused.push(taken);
            }
        }
        refused
    }
}

impl PlacesState {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn held_by(&self, vm: u64) -> usize {
        self.held.get(&vm).map_or(0, HashMap::len)
    }

    /// The position in the queue of the VM that holds the fewest places; of several, the one that came first.
    fn neediest(&self) -> Option<usize> {
        let held = |index: &usize| self.held_by(self.waiting[*index].vm);
        (0..self.waiting.len()).min_by_key(held)
    }
}

/// Asks a connection to close for the neediest waiting VM, unless enough connections have been asked already.
fn make_room(state: &PlacesState) {
    let revoked = state.held.values().flat_map(HashMap::values);
    let revoked = revoked.filter(|activity| activity.is_revoked()).count();
    let Some(neediest) = state.neediest() else { return };
    if revoked >= state.waiting.len() {
        return;
    }
    let own = state.held_by(state.waiting[neediest].vm);
    let staying = |share: &HashMap<u64, Arc<Activity>>| {
        let staying = share.values().filter(|activity| !activity.is_revoked());
        staying.count()
    };
    let longest_idle = |share: &HashMap<u64, Arc<Activity>>| {
        let staying = share.values().filter(|activity| !activity.is_revoked());
        staying.max_by_key(|activity| activity.idle()).cloned()
    };
    let largest = state.held.values().max_by_key(|share| staying(share));
    let Some(largest) = largest else { return };
    let leaving = if staying(largest) > own + 1 {
        longest_idle(largest)
    } else {
        let others = state.held.values().filter(|share| staying(share) >= own);
        let idle = others
            .filter_map(longest_idle)
            .max_by_key(|activity| activity.idle());
        idle.filter(|activity| activity.idle() >= SCARCE_IDLE)
    };
    if let Some(leaving) = leaving {
        leaving.revoke();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Arc<Places>, vm: u64, count: usize) -> Vec<Place> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(places.acquire(vm).await.expect("a place"));
        }
        taken
    }

    /// Connections of one VM that end when asked; the result counts how many still run.
    fn hold(taken: Vec<Place>) -> Arc<()> {
        let running = Arc::new(());
        for place in taken {
            let running = Arc::clone(&running);
            drop(tokio::spawn(async move {
                place.activity().until_revoked().await;
                drop((place, running));
            }));
        }
        running
    }

    #[tokio::test(start_paused = true)]
    async fn one_vm_may_have_all_places_until_another_asks_and_then_keeps_its_half() {
        let places = Places::new(8);
        let first = hold(take(&places, 1, 8).await);
        let second = take(&places, 2, 4).await;
        assert_eq!((Arc::strong_count(&first) - 1, second.len()), (4, 4));
        // No VM loses places below an equal share.
        let more = tokio::time::timeout(Duration::from_secs(20), places.acquire(2)).await;
        assert!(more.is_err());
        assert_eq!(Arc::strong_count(&first) - 1, 4);
        assert_eq!(places.state.lock().waiting.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_of_the_vm_that_holds_most_gives_way() {
        let places = Places::new(3);
        let taken = take(&places, 1, 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        taken[0].activity().touch();
        taken[2].activity().touch();
        let (one, other) = (Arc::clone(&places), Arc::clone(taken[1].activity()));
        let waiting = tokio::spawn(async move { one.acquire(2).await });
        other.until_revoked().await;
        assert!(!taken[0].activity().is_revoked() && !taken[2].activity().is_revoked());
        drop(taken);
        assert!(waiting.await.expect("no panic").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn with_more_vms_than_places_what_has_been_idle_gives_way() {
        let places = Places::new(2);
        let (one, two) = (hold(take(&places, 1, 1).await), hold(take(&places, 2, 1).await));
        let asked = Instant::now();
        let _third = places.acquire(3).await.expect("a place");
        assert!(asked.elapsed() >= SCARCE_IDLE && asked.elapsed() < SCARCE_IDLE + LOOK_AGAIN * 2);
        assert_eq!(Arc::strong_count(&one) + Arc::strong_count(&two), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_nobody_waits_for_any_more_is_free_again() {
        let places = Places::new(1);
        let taken = take(&places, 1, 1).await;
        let abandoned = tokio::time::timeout(Duration::from_secs(2), places.acquire(2)).await;
        assert!(abandoned.is_err());
        drop(taken);
        assert!(places.acquire(3).await.is_some());
        assert_eq!(places.state.lock().taken, 0);
        assert!(places.state.lock().held.is_empty());
    }
}
