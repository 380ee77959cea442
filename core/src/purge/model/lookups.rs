//! Those who read and store pages, as a worker does it: by the rules of [`View`](crate::purge::View).

use super::memcached::{self, reading, sample};
use super::world::{Lookup, PAGES, Render, Task, World, text};
use crate::memcached::Completion;
use crate::purge::{Change, Epoch, Log, Mark, Tags, Validity};

/// A worker reads the log, for these lookups.
pub struct Read {
    worker: (usize, u64),
    lookups: Vec<Lookup>,
    reply: Option<(memcached::Read, u64)>,
}

/// A worker reads a segment.
pub struct ReadSegment {
    worker: (usize, u64),
    segment: (Epoch, u64),
    reply: Option<memcached::Read>,
}

/// A worker stores a log.
pub struct Changing {
    change: Change,
}

/// A page is rendered, then stored.
pub struct Rendering {
    page: usize,
    mark: Mark,
    number: usize,
}

impl World {
    pub fn begin_lookup(&mut self) {
        self.now += 1;
        let worker = self.any_worker();
        let page = self.random.usize(..PAGES.len());
        let lookup = Lookup { worker, page, sampled: 0, sample: None, found: None };
        self.tasks.push(Box::new(lookup));
        // a page may also be rendered for which nobody has asked
        if self.random.u32(..10) == 0 {
            self.render(worker, page);
        }
    }

    pub fn begin_reading(&mut self, worker: usize) {
        let it = &mut self.workers[worker];
        it.is_reading = true;
        let (lookups, worker) = (std::mem::take(&mut it.waiting), (worker, it.process));
        self.tasks.push(Box::new(Read { worker, lookups, reply: None }));
    }

    pub fn begin_reading_segment(&mut self) {
        let worker = self.any_worker();
        if let Some(segment) = self.workers[worker.0].view.next_segment() {
            self.tasks.push(Box::new(ReadSegment { worker, segment, reply: None }));
        }
    }

    fn render(&mut self, worker: (usize, u64), page: usize) {
        let now = self.now;
        let Some(it) = self.worker(worker) else { return };
        let (Some(mark), viewed) = (it.view.mark(), it.viewed) else { return };
        let number = self.renders.len();
        self.renders.push(Render { began: now, viewed });
        self.tasks.push(Box::new(Rendering { page, mark, number }));
    }

    /// A page may be served, or is rendered again.
    fn judge(&mut self, lookup: &Lookup) {
        let Some(worker) = self.worker(lookup.worker) else { return };
        let found = lookup.found.as_ref().expect("a reply");
        let validity = found.as_ref().map(|(_, note)| {
            let noted = crate::purge::Noted::read(note).unwrap();
            (worker.view.validity(&noted, PAGES[lookup.page].0.as_bytes()), noted)
        });
        if let Some((validity, noted)) = validity {
            let note = String::from_utf8_lossy(&found.as_ref().unwrap().1);
            let number: usize = note.rsplit_once("; render=").unwrap().1.parse().unwrap();
            self.check(lookup, validity, noted.mark.unwrap(), number);
        }
        let is_valid = validity.is_some_and(|(validity, _)| validity == Validity::Valid);
        if !is_valid && self.random.bool() {
            self.render(lookup.worker, lookup.page);
        }
    }
}

impl Task for Lookup {
    /// Its sample is of the connection that the lookup was sent over.
    fn survives_restart(&self) -> bool {
        self.found.is_some()
    }

    fn step(mut self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        match (&self.sample, &self.found) {
            (None, _) => {
                self.sampled = world.now;
                self.sample = Some(world.memcached.get(&world.log_key()));
            }
            (_, None) => self.found = Some(world.memcached.get(PAGES[self.page].0)),
            (Some(sampled), Some(_)) => {
                let sample = sample(sampled);
                let worker = world.worker(self.worker)?;
                match worker.view.is_current(sample) {
                    true => world.judge(&self),
                    false => worker.waiting.push(*self),
                }
                return None;
            }
        }
        Some(self)
    }
}

impl Task for Read {
    fn step(mut self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        let Some((read, at)) = &self.reply else {
            self.reply = Some((world.memcached.get(&world.log_key()), world.now));
            return Some(self);
        };
        let (now, random) = (world.now, world.random.u64(..));
        let worker = world.worker(self.worker)?;
        worker.is_reading = false;
        worker.viewed = *at;
        let value = read.as_ref().map(|(_, value)| &value[..]).unwrap_or_default();
        let value_text = String::from_utf8_lossy(value);
        let is_number = |word: &&str| word.len() < 8;
        let numbers = value_text.split([' ', '\n']).filter(is_number);
        worker.seen.extend(numbers.filter_map(|word| word.parse::<u64>().ok()));
        worker.base = Log::parse(value).map_or(0, |log| log.base);
        let change = worker.view.read(reading(read), now, random);
        for lookup in &self.lookups {
            world.judge(lookup);
        }
        if let Some(change) = change {
            world.counts.rotations += usize::from(change.segment.is_some());
            world.tasks.push(Box::new(Changing { change }));
        }
        None
    }
}

impl Task for ReadSegment {
    fn step(mut self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        match self.reply.take() {
            None => {
                let (epoch, end) = self.segment;
                let key = text(world.zone.segment_key(epoch, end));
                self.reply = Some(world.memcached.get(&key));
                Some(self)
            }
            Some(read) => {
                world.counts.segments += usize::from(read.is_some());
                let segment = self.segment;
                let value = read.as_ref().map(|(_, value)| &value[..]);
                world.worker(self.worker)?.view.add_segment(segment, value);
                None
            }
        }
    }
}

impl Task for Changing {
    /// The number is one of the log that was read.
    fn survives_restart(&self) -> bool {
        self.change.set.cas.is_none()
    }

    fn step(mut self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        if let Some((epoch, segment)) = self.change.segment.take() {
            let key = text(world.zone.segment_key(epoch, segment.end));
            let reply = world.memcached.set(&key, segment.set, &segment.value);
            return Change::goes_on_after(&reply).then_some(self as Box<dyn Task>);
        }
        let reply = world.memcached.set(&world.log_key(), self.change.set, &self.change.value);
        match reply {
            Completion::Stored(_) => world.counts.creations += usize::from(self.change.set.is_add),
            _ => world.counts.lost_changes += 1,
        }
        None
    }
}

impl Task for Rendering {
    fn step(self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        // it takes its time
        if world.random.u32(..4) > 0 {
            return Some(self);
        }
        let (key, tags) = PAGES[self.page];
        let tags = Tags::of(&world.zone, tags.iter().map(|tag| tag.as_bytes()));
        let note = format!("v=1{}; render={}", tags.note(self.mark), self.number);
        world.memcached.put(key, 0x5c00_0000, note.into_bytes());
        None
    }
}
