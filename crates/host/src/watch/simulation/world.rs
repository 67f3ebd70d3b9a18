//! A simulated kernel with programs that change names, as far as inotify shows them.
//!
//! A change has the locks of the directories whose names it changes. It changes them, and then adds its events to the queue, one
//! after the other. Between these steps everything else may happen: the steps of other programs, and what the reader does. Only
//! a listing waits for the directory's lock; to open a path does not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::random::Random;
use crate::watch::raw::Position;

pub type Inode = usize;

const TOP: Inode = 0;
const OUTSIDE: Inode = 1;
const NAMES: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];

/// How many programs there are.
const PROGRAMS: usize = 3;

/// An event of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    number: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    fn size(&self) -> usize {
        16 + (self.name.len() + usize::from(!self.name.is_empty())).next_multiple_of(16)
    }

    fn bytes(&self) -> Vec<u8> {
        let room = self.size() - 16;
        let mut bytes = Vec::new();
        bytes.extend(self.number.to_ne_bytes());
        bytes.extend(self.mask.to_ne_bytes());
        bytes.extend(self.cookie.to_ne_bytes());
        bytes.extend((room as u32).to_ne_bytes());
        bytes.extend(&self.name);
        bytes.resize(16 + room, 0);
        bytes
    }
}

/// What a program still has to do of its change.
enum Step {
    Event(Inode, u32, u32, Vec<u8>),
    Unlock,
    /// A directory does not exist any more.
    Gone(Inode),
}

#[derive(Default)]
struct Program {
    steps: VecDeque<Step>,
    locked: Vec<Inode>,
}

pub struct World {
    pub random: Random,
    /// The names in each directory; `None` for another file.
    files: Vec<Option<BTreeMap<Vec<u8>, Inode>>>,
    numbers: HashMap<Inode, i32>,
    last_number: i32,
    last_cookie: u32,
    events: VecDeque<Event>,
    waiting: Position,
    most_events: usize,
    programs: Vec<Program>,
    changes: usize,
    /// How many bytes of events were read.
    pub read: Position,
}

impl World {
    pub fn new(random: Random, most_events: usize) -> Self {
        Self {
            random,
            files: vec![Some(BTreeMap::new()), Some(BTreeMap::new())],
            numbers: HashMap::new(),
            last_number: 0,
            last_cookie: 0,
            events: VecDeque::new(),
            waiting: 0,
            most_events,
            programs: (0..PROGRAMS).map(|_| Program::default()).collect(),
            changes: 0,
            read: 0,
        }
    }

    /// Has the programs make changes.
    pub fn begin(&mut self, changes: usize) {
        self.changes = changes;
    }

    /// Some steps of the programs.
    pub fn go_on(&mut self) {
        let most = if self.random.below(4) == 0 { 12 } else { 2 };
        for _ in 0..self.random.below(most) {
            let program = self.random.below(PROGRAMS as u64) as usize;
            self.step(program);
        }
    }

    /// All that the programs still have to do.
    pub fn finish(&mut self) {
        while self.changes > 0 || self.programs.iter().any(|program| !program.steps.is_empty()) {
            for program in 0..PROGRAMS {
                self.step(program);
            }
        }
    }

    /// Lets the program go on that changes names in a directory.
    pub fn wait_for(&mut self, inode: Inode) {
        while let Some(program) = self
            .programs
            .iter()
            .position(|program| program.locked.contains(&inode))
        {
            self.step(program);
        }
    }

    fn step(&mut self, program: usize) {
        match self.programs[program].steps.pop_front() {
            None if self.changes > 0 => {
                self.changes -= 1;
                self.change(program);
            }
            None => {}
            Some(Step::Event(inode, mask, cookie, name)) => {
                if let Some(number) = self.number(inode) {
                    self.report(Event {
                        number,
                        mask,
                        cookie,
                        name,
                    });
                }
            }
            Some(Step::Unlock) => self.programs[program].locked.clear(),
            Some(Step::Gone(inode)) => {
                if let Some(number) = self.number(inode) {
                    self.report_itself(number, libc::IN_DELETE_SELF);
                    self.unwatch(number);
                }
            }
        }
    }

    fn report_itself(&mut self, number: i32, mask: u32) {
        self.report(Event {
            number,
            mask,
            cookie: 0,
            name: Vec::new(),
        });
    }

    /// Adds an event to the queue.
    fn report(&mut self, event: Event) {
        if self.events.back() == Some(&event) {
            return;
        }
        let event = if self.events.len() < self.most_events {
            event
        } else if self.events.back().is_none_or(|last| last.number != -1) {
            Event {
                number: -1,
                mask: libc::IN_Q_OVERFLOW,
                cookie: 0,
                name: Vec::new(),
            }
        } else {
            return;
        };
        self.waiting += event.size() as Position;
        self.events.push_back(event);
    }

    /// Reads events.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.events.len());
        let bytes: Vec<u8> = self
            .events
            .drain(..count)
            .flat_map(|event| event.bytes())
            .collect();
        self.read += bytes.len() as Position;
        self.waiting -= bytes.len() as Position;
        bytes
    }

    /// Where the next event will be.
    pub fn end(&self) -> Position {
        self.read + self.waiting
    }

    pub fn watch(&mut self, inode: Inode) -> i32 {
        let last = &mut self.last_number;
        *self.numbers.entry(inode).or_insert_with(|| {
            *last += 1;
            *last
        })
    }

    pub fn unwatch(&mut self, number: i32) {
        let before = self.numbers.len();
        self.numbers.retain(|_, each| *each != number);
        if self.numbers.len() < before {
            self.report_itself(number, libc::IN_IGNORED);
        }
    }

    pub fn number(&self, inode: Inode) -> Option<i32> {
        self.numbers.get(&inode).copied()
    }

    pub fn is_directory(&self, inode: Inode) -> bool {
        self.files[inode].is_some()
    }

    fn names(&self, inode: Inode) -> &BTreeMap<Vec<u8>, Inode> {
        self.files[inode].as_ref().expect("it is a directory")
    }

    fn names_mut(&mut self, inode: Inode) -> &mut BTreeMap<Vec<u8>, Inode> {
        self.files[inode].as_mut().expect("it is a directory")
    }

    /// What is at a path.
    pub fn find(&self, way: &[u8]) -> Option<Inode> {
        let mut names = way.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names.try_fold(TOP, |inode, name| self.files[inode].as_ref()?.get(name).copied())
    }

    /// Reads the names of a directory in two pieces.
    pub fn list(&mut self, inode: Inode) -> Vec<(Vec<u8>, bool)> {
        let mut found = Vec::new();
        let middle = self.random.of(&NAMES);
        for is_first in [true, false] {
            self.wait_for(inode);
            let names = self.names(inode).iter();
            let names = names.filter(|(name, _)| (name.as_slice() < middle) == is_first);
            found.extend(names.map(|(name, inode)| (name.clone(), self.is_directory(*inode))));
            self.go_on();
        }
        found
    }

    /// All below a directory, with their paths.
    fn below(&self, top: Inode) -> Vec<(Vec<u8>, Inode)> {
        let mut found = vec![(Vec::new(), top)];
        let mut next = 0;
        while let Some((way, inode)) = found.get(next).cloned() {
            for (name, inode) in self.files[inode].iter().flatten() {
                found.push(([way.as_slice(), b"/", name].concat(), *inode));
            }
            next += 1;
        }
        found
    }

    /// The directories, with their paths.
    pub fn directories(&self) -> Vec<(Vec<u8>, Inode)> {
        let mut found = self.below(TOP);
        found.retain(|(_, inode)| self.is_directory(*inode));
        found
    }

    /// The paths of all that is there.
    pub fn paths(&self) -> BTreeSet<String> {
        let found = self.below(TOP).into_iter().skip(1);
        found
            .map(|(way, _)| format!("/top{}", String::from_utf8_lossy(&way)))
            .collect()
    }

    /// Begins a change: the names are changed, and what follows are its events.
    fn change(&mut self, program: usize) {
        let top = if self.random.below(6) == 0 { OUTSIDE } else { TOP };
        let (first, name) = self.some_name(top);
        let top = if self.random.below(6) == 0 { OUTSIDE } else { TOP };
        let (second, other) = self.some_name(top);
        let is_locked = |inode| {
            self.programs
                .iter()
                .any(|program| program.locked.contains(&inode))
        };
        if is_locked(first) || is_locked(second) {
            return;
        }
        self.last_cookie += 2;
        let there = self.names(first).get(name).copied();
        let chosen = self.random.below(100);
        let (mut locked, mut steps) = (vec![first], Vec::new());
        match (chosen, there) {
            (..25, None) => {
                let inode = self.add(true, first, name);
                steps.push(self.event(first, libc::IN_CREATE, 0, name, inode));
            }
            (25..45, None) => {
                let inode = self.add(false, first, name);
                steps.push(self.event(first, libc::IN_CREATE, 0, name, inode));
                steps.push(self.event(first, libc::IN_MODIFY, 0, name, inode));
            }
            (25..45, Some(inode)) => steps.push(self.event(first, libc::IN_ATTRIB, 0, name, inode)),
            (45..60, Some(inode)) if self.files[inode].as_ref().is_none_or(BTreeMap::is_empty) => {
                self.names_mut(first).remove(name);
                steps.push(self.event(first, libc::IN_DELETE, 0, name, inode));
                self.end_inode(inode, &mut steps);
            }
            (60.., Some(inode)) => {
                locked.push(second);
                steps = self.rename(chosen >= 88, (first, name, inode), (second, other));
            }
            _ => {}
        }
        if !steps.is_empty() {
            steps.push(Step::Unlock);
            self.programs[program].steps.extend(steps);
            self.programs[program].locked = locked;
        }
    }

    fn rename(
        &mut self,
        exchange: bool,
        (first, name, inode): (Inode, &[u8], Inode),
        (second, other): (Inode, &[u8]),
    ) -> Vec<Step> {
        let there = self.names(second).get(other).copied();
        let is_in = |inner: Inode, outer: Inode| self.below(outer).iter().any(|(_, each)| *each == inner);
        if there == Some(inode)
            || is_in(second, inode)
            || there.is_some_and(|there| exchange && is_in(first, there))
        {
            return Vec::new();
        }
        let cookie = self.last_cookie;
        let mut steps = vec![
            self.event(first, libc::IN_MOVED_FROM, cookie, name, inode),
            self.event(second, libc::IN_MOVED_TO, cookie, other, inode),
        ];
        match (exchange, there) {
            (true, None) => return Vec::new(),
            (true, Some(there)) => {
                self.names_mut(first).insert(name.to_vec(), there);
                steps.push(self.event(second, libc::IN_MOVED_FROM, cookie + 1, other, there));
                steps.push(self.event(first, libc::IN_MOVED_TO, cookie + 1, name, there));
            }
            (false, Some(there)) => {
                let is_empty = self.files[there].as_ref().is_none_or(BTreeMap::is_empty);
                if !is_empty || self.is_directory(there) != self.is_directory(inode) {
                    return Vec::new();
                }
                self.names_mut(first).remove(name);
                self.end_inode(there, &mut steps);
            }
            (false, None) => {
                self.names_mut(first).remove(name);
            }
        }
        self.names_mut(second).insert(other.to_vec(), inode);
        steps
    }

    /// The end of a file without names comes before or after the events of what has removed it.
    fn end_inode(&mut self, inode: Inode, steps: &mut Vec<Step>) {
        if self.random.below(2) == 0 {
            steps.insert(0, Step::Gone(inode));
        } else {
            steps.extend([Step::Unlock, Step::Gone(inode)]);
        }
    }

    fn event(&self, directory: Inode, mask: u32, cookie: u32, name: &[u8], inode: Inode) -> Step {
        let kind = if self.is_directory(inode) {
            libc::IN_ISDIR
        } else {
            0
        };
        Step::Event(directory, mask | kind, cookie, name.to_vec())
    }

    fn add(&mut self, is_directory: bool, parent: Inode, name: &[u8]) -> Inode {
        let inode = self.files.len();
        self.files.push(is_directory.then(BTreeMap::new));
        self.names_mut(parent).insert(name.to_vec(), inode);
        inode
    }

    /// A name in some directory, whether or not there is anything.
    fn some_name(&mut self, top: Inode) -> (Inode, &'static [u8]) {
        let mut inode = top;
        while self.random.below(3) > 0 {
            let names = self.names(inode).values().copied();
            let directories: Vec<_> = names.filter(|inode| self.is_directory(*inode)).collect();
            if directories.is_empty() {
                break;
            }
            inode = self.random.of(&directories);
        }
        (inode, self.random.of(&NAMES))
    }
}
