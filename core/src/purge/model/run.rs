//! The order of steps, and what goes wrong.

use super::world::{Fault, Plan, Worker, World};

impl World {
    pub fn run(&mut self) {
        for _ in 0..self.plan.steps {
            let kind = self.random.u32(..1_000);
            let Plan { purges, faults, lookups, .. } = self.plan;
            match kind {
                _ if kind < purges => self.begin_purge(),
                _ if kind < purges + faults => self.go_wrong(),
                _ if kind < purges + faults + lookups => self.begin_lookup(),
                _ if kind < purges + faults + lookups + 20 => self.begin_reading_segment(),
                _ => self.step(),
            }
        }
        while !self.tasks.is_empty() || self.workers.iter().any(|it| !it.waiting.is_empty()) {
            self.step();
        }
    }

    /// Something goes on.
    fn step(&mut self) {
        self.now += 1;
        let worker = self.random.usize(..self.workers.len());
        if !self.workers[worker].waiting.is_empty() && !self.workers[worker].is_reading {
            self.begin_reading(worker);
        }
        if self.tasks.is_empty() {
            return;
        }
        let task = self.random.usize(..self.tasks.len());
        let next = self.tasks.swap_remove(task).step(self);
        self.tasks.extend(next);
    }

    fn go_wrong(&mut self) {
        self.now += 1;
        let kinds = self.plan.kinds;
        match kinds[self.random.usize(..kinds.len())] {
            Fault::Log => {
                let log = self.log_key();
                self.memcached.evict(|key| key == log);
            }
            Fault::Segments => {
                let segment = self.log_key() + ":";
                self.memcached.evict(|key| key.starts_with(&segment));
            }
            Fault::Restart => {
                self.memcached.restart();
                self.tasks.retain(|task| task.survives_restart());
            }
            Fault::Overwrite => {
                let texts =
                    ["", "E", "HTTP/1.1 200 OK\r\n", "E0123456789abcdef\nh 1 *\n", "nonsense"];
                let text = texts[self.random.usize(..texts.len())];
                self.memcached.put(&self.log_key(), 0, text.as_bytes().to_vec());
            }
            Fault::Worker => {
                let worker = self.random.usize(..self.workers.len());
                let process = self.now;
                self.workers[worker] = Worker { process, ..Worker::default() };
            }
        }
    }
}
