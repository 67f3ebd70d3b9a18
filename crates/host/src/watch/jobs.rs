//! What is opened and looked up next, and how what was found comes between the events.
//!
//! The kernel adds an event to its queue while it holds the lock of each directory whose names change, and a listing takes that
//! lock. So with the directory watched first, then its lock taken once, and then its names read, each change either is in the
//! listing or has its event after it, apart from those with an event in between: there the last event about a name is right.
//! What was found is applied when all events up to the end of the listing were applied: what is known is what was so then, and
//! each later event says what has changed.
//!
//! A path is that of the tree when the batch was made. If one of the directories on it was renamed by an event up to the end of
//! the listing, what was found may be something else, and is looked for again. A later event about the path, whose change was
//! seen already, makes it right: it removes the place, or an exchange, of which both sides are looked up.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::job::{Batch, Found, Job, Listing, Look, Outcome, Scan};
use super::raw::Position;
use super::state::State;
use super::tree::{Contents, Place, ROOT, Unsure};
use super::watched::WatchId;
use crate::error::Error;

/// How many directories are opened at a time, between which events are read.
const BATCH: usize = 16;

/// How long a directory may be missing although no event says why, or renamed whenever it is opened.
const MISSING: Duration = Duration::from_secs(10);

impl State {
    /// The next directories to open, once what was found before is applied.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.looking.is_some() {
            return None;
        }
        let mut jobs = Vec::new();
        let mut of = None;
        while jobs.len() < BATCH
            && let Some(job) = self.pending.pop_front()
        {
            let id = job.watch();
            if of.is_some_and(|of| of != id) {
                self.pending.push_front(job);
                break;
            }
            if let Some(way) = self.begin_job(&job) {
                of = Some(id);
                jobs.push((job, way));
            }
        }
        let watch = of?;
        let watched = self.watches.get_mut(&watch)?;
        Some(Batch {
            watch,
            kind: watched.kind.clone(),
            real: watched.real.clone(),
            first_fd: watched.first_fd.take(),
            jobs,
            renames: self.renames,
        })
    }

    /// The path from the root of the watch, unless there is nothing to do any more.
    fn begin_job(&mut self, job: &Job) -> Option<Vec<u8>> {
        match job {
            Job::Scan(scan) => {
                let watched = self.watches.get_mut(&scan.watch)?;
                let is_reached = watched.tree.is_reached(scan.place);
                let directory = watched.tree.get_mut(scan.place);
                if let Some(directory) = directory {
                    directory.is_queued = false;
                    // Otherwise one above it is opened first, and then this one again.
                    if is_reached && !directory.is_known() {
                        directory.begin();
                        return Some(watched.tree.way(scan.place));
                    }
                }
                watched.silent -= usize::from(!scan.report);
                None
            }
            Job::Look(look) => {
                self.looks -= 1;
                let watched = self.watches.get_mut(&look.watch)?;
                let is_reached = watched.tree.is_reached(look.place);
                let directory = watched.tree.get_mut(look.place)?;
                let unsure = directory.unsure.get_mut(&look.name)?;
                if *unsure != Unsure::Queued || !is_reached {
                    return None;
                }
                *unsure = Unsure::Looking;
                let mut way = watched.tree.way(look.place);
                if !way.is_empty() {
                    way.push(b'/');
                }
                way.extend_from_slice(&look.name);
                Some(way)
            }
        }
    }

    /// Has what a batch has found applied, when the events up to its end were; those before `at` were.
    pub fn begin(&mut self, found: Found, at: Position, now: Instant) {
        let watch = found.watch;
        for (job, outcome) in &found.jobs {
            let (Job::Scan(scan), Outcome::Scanned { number, .. }) = (job, outcome) else {
                continue;
            };
            self.number(scan, *number);
        }
        match &found.root {
            Ok(root) => {
                if let Some(watched) = self.watches.get_mut(&watch)
                    && *watched.identity.get_or_insert(*root) != *root
                {
                    self.gone(watch);
                }
            }
            Err(Error::System {
                errno: libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                ..
            }) => self.gone(watch),
            Err(error) => self.fail(watch, error.clone()),
        }
        self.looking = Some(found);
        self.reach(at, now);
    }

    /// The kernel watches what was opened for a place.
    fn number(&mut self, scan: &Scan, number: i32) {
        let directory = self
            .watches
            .get_mut(&scan.watch)
            .and_then(|watched| watched.tree.get_mut(scan.place));
        let Some(directory) = directory else {
            return self.drop_unfollowed(number);
        };
        let before = directory.number.replace(number);
        self.follow(number, scan.watch, scan.place);
        if let Some(before) = before.filter(|before| *before != number) {
            self.unfollow(before, scan.watch, scan.place);
        }
    }

    /// All events before `at` were applied.
    pub(super) fn reach(&mut self, at: Position, now: Instant) {
        if let Some(found) = self.looking.take_if(|found| found.until <= at) {
            for (job, outcome) in found.jobs {
                match job {
                    Job::Scan(scan) => self.scanned(scan, outcome, found.renames, now),
                    Job::Look(look) => self.looked(look, outcome, found.renames, now),
                }
            }
        }
    }

    fn scanned(&mut self, scan: Scan, outcome: Outcome, renames: u64, now: Instant) {
        let Scan { watch: id, place, .. } = scan;
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        watched.silent -= usize::from(!scan.report);
        let is_steady = watched.tree.is_steady(place, renames);
        let Some(directory) = watched.tree.get_mut(place) else {
            return;
        };
        let Contents::Looking(names) = std::mem::take(&mut directory.contents) else {
            // All is opened again because events were lost.
            return;
        };
        let done = match outcome {
            _ if !is_steady => return self.again_later(scan, now),
            Outcome::Scanned { number, .. } if directory.number != Some(number) => {
                return self.again_later(scan, now);
            }
            Outcome::Scanned { listing: None, .. } => return self.queue(Job::Scan(scan)),
            Outcome::Scanned {
                listing: Some(Ok(listing)),
                ..
            } => {
                directory.contents = Contents::Known;
                let unsure = std::mem::take(&mut directory.unsure);
                let done = self.take_listing(scan, listing, names);
                for name in unsure.into_keys() {
                    self.look(id, place, name);
                }
                done
            }
            Outcome::Scanned {
                listing: Some(Err(error)),
                ..
            }
            | Outcome::Failed(error) => Err(error),
            Outcome::Looked(_) => Ok(()),
        };
        if let Err(error) = done {
            self.not_watched(scan, error, now);
        }
    }

    /// Reports what is in a directory, and has the directories in it opened.
    fn take_listing(
        &mut self,
        scan: Scan,
        mut listing: Listing,
        names: HashMap<Vec<u8>, Option<bool>>,
    ) -> Result<(), Error> {
        let Scan { watch: id, place, .. } = scan;
        listing.names.retain(|(name, _)| !names.contains_key(name));
        let later = names.into_iter();
        listing
            .names
            .extend(later.filter_map(|(name, is_directory)| Some((name, is_directory?))));
        let Some(watched) = self.watches.get(&id) else {
            return Ok(());
        };
        if scan.report {
            if listing.is_cut {
                watched.queue.lose();
            }
            for (name, _) in &listing.names {
                watched.created(place, name);
            }
        }
        if !watched.kind.recursive {
            return Ok(());
        }
        let mut names = listing.names;
        names.retain(|(_, is_directory)| *is_directory);
        let children = watched.tree.children(place);
        if !children.is_empty() {
            let names: HashSet<_> = names.iter().map(|(name, _)| name.as_slice()).collect();
            let gone = children
                .into_iter()
                .filter(|child| !names.contains(watched.tree.name(*child)));
            let gone: Vec<_> = gone.collect();
            for child in gone {
                self.forget(id, child);
            }
        }
        for (name, _) in names {
            let Some(watched) = self.watches.get(&id) else {
                return Ok(());
            };
            // Those that do not fit are all in this directory.
            let child = watched.tree.child(place, &name);
            let child = child.or_else(|| self.add_place(id, place, &name));
            self.scan(id, child.ok_or_else(|| self.too_many())?, scan.report);
        }
        Ok(())
    }

    fn looked(&mut self, look: Look, outcome: Outcome, renames: u64, now: Instant) {
        let Look {
            watch: id,
            place,
            name,
            ..
        } = &look;
        let Some(watched) = self.watches.get_mut(id) else {
            return;
        };
        let is_steady = watched.tree.is_steady(*place, renames);
        let Some(directory) = watched.tree.get_mut(*place) else {
            return;
        };
        if directory.unsure.get(name) != Some(&Unsure::Looking) {
            // An event has said what is there.
            return;
        }
        if !is_steady && look.since.is_none_or(|since| now - since < MISSING) {
            directory.unsure.insert(name.clone(), Unsure::Queued);
            self.looks += 1;
            self.later_since = Some(now);
            return self.later.push(Job::Look(Look {
                since: look.since.or(Some(now)),
                ..look
            }));
        }
        directory.unsure.remove(name);
        match outcome {
            Outcome::Looked(None) if is_steady => {}
            Outcome::Looked(Some(is_directory)) if is_steady => {
                let (id, place, name) = (*id, *place, name.clone());
                self.appeared(id, place, &name, is_directory);
            }
            Outcome::Failed(error) => watched.unwatched(*place, b"", error.code()),
            _ => watched.unwatched(*place, b"", Error::system(&Errno::ENOENT.into(), "watch").code()),
        }
    }

    /// Opens a directory again: it was missing, or may have been another one.
    fn again_later(&mut self, scan: Scan, now: Instant) {
        let since = scan.since.unwrap_or(now);
        if now - since >= MISSING {
            return self.give_up(scan, Error::system(&Errno::ENOENT.into(), "watch"));
        }
        if let Some(watched) = self.watches.get_mut(&scan.watch)
            && let Some(directory) = watched.tree.get_mut(scan.place)
            && !directory.is_queued
        {
            directory.is_queued = true;
            watched.silent += usize::from(!scan.report);
            self.later_since = Some(now);
            self.later.push(Job::Scan(Scan {
                since: Some(since),
                ..scan
            }));
        }
    }

    fn not_watched(&mut self, scan: Scan, error: Error, now: Instant) {
        match error.system_call().map(|(errno, ..)| errno) {
            // An event that has still to be read says that it is gone, or has another path.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => self.again_later(scan, now),
            Some(libc::ENOSPC) => self.give_up(
                scan,
                Error::LimitExceeded(
                    "the user of this VM may watch no more files (fs.inotify.max_user_watches): exclude names, watch less, or raise it"
                        .to_owned(),
                ),
            ),
            _ => self.give_up(scan, error),
        }
    }

    /// Reports why a directory is not watched.
    fn give_up(&mut self, scan: Scan, error: Error) {
        let Scan { watch: id, place, .. } = scan;
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let begins = watched.ready.is_some();
        if !begins || place != ROOT && !matches!(error, Error::LimitExceeded(_)) {
            return watched.unwatched(place, b"", error.code());
        }
        let path = watched.root().to_string();
        let error = match error {
            Error::System { errno, .. } => Error::System {
                errno,
                syscall: "watch".into(),
                path: Some(path),
            },
            other => other,
        };
        self.fail(id, error);
    }

    /// Has a name looked up at which there may be something that was not reported.
    pub(super) fn look(&mut self, id: WatchId, place: Place, name: Vec<u8>) {
        if self.looks >= self.most_looks {
            return self.lose(id, place, Instant::now());
        }
        if let Some(watched) = self.watches.get_mut(&id)
            && let Some(directory) = watched.tree.get_mut(place)
            && directory.unsure.insert(name.clone(), Unsure::Queued) != Some(Unsure::Queued)
        {
            self.looks += 1;
            self.pending.push_back(Job::Look(Look {
                watch: id,
                place,
                name,
                since: None,
            }));
        }
    }
}
