//! Watches of a simulated kernel, in which anything may happen between any two steps. See [`world`].

mod mirror;
mod random;
mod world;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::oneshot;

use self::mirror::Mirror;
use self::random::Random;
use self::world::World;
use super::job::{Batch, Found, Job, Listing, Outcome};
use super::queue::{Queue, WatchEnd};
use super::state::State;
use super::tree::ROOT;
use super::watched::{WatchFilesRequest, WatchId, Watched};
use crate::error::Error;

/// How many changes the programs of one run make.
const CHANGES: usize = 120;

struct Run {
    world: World,
    state: State,
    now: Instant,
    queue: Arc<Queue>,
    mirror: Mirror,
}

fn watched(queue: &Arc<Queue>) -> (Watched, oneshot::Receiver<Result<(), Error>>) {
    let (ready, is_ready) = oneshot::channel();
    let request = WatchFilesRequest {
        path: "/top".to_owned(),
        recursive: true,
        exclude: HashSet::new(),
    };
    let watched = Watched::new(request, b"/top".to_vec(), None, true, Arc::clone(queue), ready);
    (watched, is_ready)
}

impl Run {
    fn new(seed: u64, most_events: usize) -> Self {
        Self {
            world: World::new(Random::new(seed), most_events),
            state: State::new(1000),
            now: Instant::now(),
            queue: Arc::new(Queue::new("/top", Arc::new(AtomicUsize::new(0)))),
            mirror: Mirror::default(),
        }
    }

    /// Begins a watch, whose first listing may take turns with changes.
    fn start(&mut self, id: WatchId, queue: &Arc<Queue>) {
        let (watched, _) = watched(queue);
        self.state.start(id, watched);
    }

    /// One turn of the task.
    fn turn(&mut self) {
        self.now += Duration::from_millis(self.world.random.below(7));
        if let Some(batch) = self.state.next_batch() {
            let found = self.look(batch);
            self.state.begin(found, self.world.read, self.now);
        }
        self.world.go_on();
        let reads = self.world.random.below(4);
        let mut is_drained = false;
        for _ in 0..reads {
            let count = 1 + self.world.random.below(12) as usize;
            let at = self.world.read;
            let bytes = self.world.take(count);
            is_drained = bytes.is_empty();
            if is_drained {
                break;
            }
            self.state.take(&bytes, at, self.now);
            self.world.go_on();
        }
        self.state.end_turn(is_drained, self.now);
        for number in self.state.take_dropped() {
            self.world.unwatch(number);
        }
        self.state.settle(self.now);
        while let Some(Ok(Some(events))) = self.queue.take_now() {
            self.mirror.take(&events);
        }
    }

    /// As [`Batch::open`] and then [`OpenedBatch::look`](super::look::OpenedBatch::look) do.
    fn look(&mut self, batch: Batch) -> Found {
        let mut opened = Vec::new();
        for (job, way) in batch.jobs {
            self.world.go_on();
            let found = self.world.find(&way);
            opened.push((job, found));
        }
        let mut watched = Vec::new();
        for (job, found) in opened {
            self.world.go_on();
            let number = match (&job, found) {
                (Job::Scan(_), Some(inode)) if self.world.is_directory(inode) => {
                    let number = self.world.watch(inode);
                    self.world.go_on();
                    self.world.wait_for(inode);
                    Some(number)
                }
                _ => None,
            };
            watched.push((job, found, number));
        }
        self.world.go_on();
        let from = self.world.end();
        let mut jobs = Vec::new();
        for (job, found, number) in watched {
            self.world.go_on();
            let outcome = match (&job, found, number) {
                (Job::Look(_), found, _) => {
                    Outcome::Looked(found.map(|inode| self.world.is_directory(inode)))
                }
                (Job::Scan(_), Some(inode), Some(number)) => {
                    let listing = (self.world.random.below(20) > 0).then(|| {
                        Ok(Listing {
                            names: self.world.list(inode),
                            is_cut: false,
                        })
                    });
                    Outcome::Scanned { number, listing }
                }
                _ => Outcome::Failed(Error::system(&Errno::ENOENT.into(), "open")),
            };
            jobs.push((job, outcome));
        }
        self.world.go_on();
        Found {
            watch: batch.watch,
            root: Ok((1, 1)),
            jobs,
            from,
            until: self.world.end(),
            renames: batch.renames,
        }
    }

    /// Turns until nothing happens any more.
    fn settle(&mut self) {
        self.world.finish();
        for _ in 0..10_000 {
            self.turn();
            if self.world.end() == self.world.read && self.state.deadline().is_none() && self.is_idle() {
                return;
            }
        }
        unreachable!("it goes on and on");
    }

    fn is_idle(&self) -> bool {
        self.state.pending.is_empty() && self.state.looking.is_none()
    }

    /// What is wrong with the tree of a watch: each directory must be in it, with the kernel's number of its watch.
    fn wrong(&self, id: WatchId) -> Vec<String> {
        let tree = &self.state.watches[&id].tree;
        let mut wrong = Vec::new();
        let mut places = tree.with_below(ROOT, |_| true).len();
        for (way, inode) in self.world.directories() {
            let mut names = way.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
            let place = names.try_fold(ROOT, |place, name| tree.child(place, name));
            let number = place.and_then(|place| tree.get(place).filter(|found| found.is_known())?.number);
            places = places.saturating_sub(1);
            if number.is_none() || number != self.world.number(inode) {
                wrong.push(format!("{} has {number:?}", String::from_utf8_lossy(&way)));
            }
        }
        if places > 0 {
            wrong.push(format!("{places} directories too many"));
        }
        wrong
    }
}

/// Runs one seed, and returns what is wrong at the end.
fn run(seed: u64, most_events: usize, most_looks: usize) -> Vec<String> {
    let mut run = Run::new(seed, most_events);
    run.state.most_looks = most_looks;
    let queue = Arc::clone(&run.queue);
    run.start(1, &queue);
    while run.state.watches[&1].ready.is_some() {
        run.turn();
    }
    run.world.begin(CHANGES);
    let other = Arc::new(Queue::new("/top", Arc::new(AtomicUsize::new(0))));
    let late = run.world.random.below(40);
    for turn in 0..100 {
        run.turn();
        if turn == late {
            run.start(2, &other);
        }
    }
    run.settle();
    let mut wrong = [run.wrong(1), run.wrong(2)].concat();
    if !run.mirror.has_lost {
        wrong.extend(run.mirror.wrong(&run.world.paths()));
    }
    other.end(WatchEnd::Done, true);
    wrong
}

fn check(seeds: impl Iterator<Item = u64>, most_events: usize, most_looks: usize) {
    let failed: Vec<_> = seeds
        .map(|seed| (seed, run(seed, most_events, most_looks)))
        .filter(|(_, wrong)| !wrong.is_empty())
        .collect();
    assert!(
        failed.is_empty(),
        "{} failed, such as {:?}",
        failed.len(),
        &failed[..failed.len().min(3)]
    );
}

#[test]
fn a_list_that_is_kept_by_the_events_alone_stays_right_whatever_happens_between_any_two_steps() {
    check(0..800, usize::MAX, usize::MAX);
}

#[test]
fn after_events_were_lost_all_directories_are_watched_again() {
    check(0..200, 8, usize::MAX);
}

#[test]
fn where_too_many_names_must_be_looked_up_their_directories_are_listed() {
    check(0..200, usize::MAX, 1);
}
