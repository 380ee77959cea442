//! Those who purge: workers, and other programs with the classic protocol.

use super::world::{Purged, Task, World};
use crate::memcached::{Command, Completion, Set};
use crate::purge::{Appending, Epoch, Next, Purge, Target};

/// A worker purges.
pub struct Appends {
    appending: Appending,
    /// Its number in the list of purges.
    number: usize,
    next: Sent,
}

enum Sent {
    Command(Command, Vec<u8>),
    Reply(Completion<()>),
}

/// Another program purges.
pub struct Classic {
    line: String,
    epoch: Epoch,
    number: usize,
    /// How many commands have failed. Every other one adds.
    failed: u32,
    reply: Option<Completion<()>>,
}

impl World {
    pub fn begin_purge(&mut self) {
        self.now += 1;
        let purge = self.draw_purge();
        let epoch = Epoch(self.random.u64(..));
        let number = self.purges.len();
        let is_own = !self.plan.has_others || self.random.bool();
        let mut purged = Purged {
            purge: purge.clone(),
            is_own,
            is_malformed: false,
            is_cut: false,
            appended: None,
            returned: None,
        };
        if is_own {
            let worker = self.any_worker().0;
            let known = self.workers[worker].view.to_carry(self.now);
            let mut appending = Appending::new(&[purge], epoch, &known, self.now);
            let next = sent(appending.begin()).expect("a command");
            self.tasks.push(Box::new(Appends { appending, number, next }));
        } else {
            let mut line = Vec::new();
            purge.write(&mut line);
            let mut line = String::from_utf8(line).unwrap();
            if self.plan.are_careless {
                match self.random.u32(..10) {
                    0 | 1 => {
                        line.truncate(line.len() - 1);
                        purged.is_cut = true;
                    }
                    2 => (line, purged.is_malformed) = (line.replace('\n', "\r\n"), true),
                    3 => (line, purged.is_malformed) = ("purge it all\n".to_owned(), true),
                    4 => (line, purged.is_malformed) = (format!("now {line}"), true),
                    _ => {}
                }
            }
            let task = Classic { line, epoch, number, failed: 0, reply: None };
            self.tasks.push(Box::new(task));
        }
        self.purges.push(purged);
    }

    fn draw_purge(&mut self) -> Purge {
        let is_hard = self.random.u32(..4) == 0;
        let target = if self.random.u32(..100) < self.plan.noise {
            Target::prefix(format!("/noise/{}/{:0400}", self.random.u32(..3), 0).as_bytes())
        } else {
            match self.random.u32(..12) {
                0 => Target::All,
                1 => Target::prefix(b"/1"),
                2 => Target::prefix(b"/2/a "),
                3 | 4 => Target::key(b"/1"),
                5 | 6 => Target::key(b"/10"),
                7 | 8 => Target::key(b"/2/a b"),
                9 => Target::Tag(self.zone.tag(b"a")),
                10 => Target::Tag(self.zone.tag(b"b")),
                _ => Target::Tag(self.zone.tag(b"c")),
            }
        };
        // the time names the purge, too
        Purge { is_hard, time: self.now, target }
    }
}

fn sent(next: Next<'_>) -> Option<Sent> {
    match next {
        Next::Send(command, body) => Some(Sent::Command(command, body.to_vec())),
        Next::Done | Next::Failed(_) => None,
    }
}

impl Task for Appends {
    fn step(mut self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        let key = world.log_key();
        match self.next {
            Sent::Command(command, body) => {
                let reply = match command {
                    Command::Append(_) => world.memcached.append(&key, &body),
                    Command::Set(set) => world.memcached.set(&key, set, &body),
                    _ => panic!("{command:?}"),
                };
                if matches!(reply, Completion::Stored(_)) {
                    world.purges[self.number].appended = Some(world.now);
                }
                self.next = Sent::Reply(reply);
            }
            Sent::Reply(reply) => match self.appending.completed(&reply) {
                Next::Done => {
                    let purged = &mut world.purges[self.number];
                    assert!(purged.appended.is_some(), "it is in no log");
                    purged.returned = Some(world.now);
                    return None;
                }
                Next::Failed(_) => return None,
                next @ Next::Send(..) => self.next = sent(next)?,
            },
        }
        Some(self)
    }
}

impl Task for Classic {
    fn step(mut self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>> {
        let key = world.log_key();
        match self.reply.take() {
            None => {
                let reply = if self.failed % 2 == 1 {
                    let set = Set { flags: 0, ttl: 0, cas: None, is_add: true };
                    let value = format!("E{} 0\n{}", self.epoch, self.line);
                    world.memcached.set(&key, set, value.as_bytes())
                } else {
                    world.memcached.append(&key, self.line.as_bytes())
                };
                if matches!(reply, Completion::Stored(_)) {
                    world.purges[self.number].appended = Some(world.now);
                }
                self.reply = Some(reply);
            }
            Some(Completion::Stored(_)) => {
                world.purges[self.number].returned = Some(world.now);
                return None;
            }
            // the log is full
            Some(_) if self.failed == 8 => return None,
            Some(_) => self.failed += 1,
        }
        Some(self)
    }
}
