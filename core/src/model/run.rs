//! Lets a world happen, from its first visitor until nothing more happens, and what goes wrong in it.

use super::application::{Asks, Text};
use super::plan::{Fault, Plan};
use super::request::Filling;
use super::worker::Worker;
use super::world::{Event, Wire, World};
use crate::memcached::Msec;

/// How long a worker is away that was killed, in msec: another one takes its place, or the whole nginx starts again.
const WORKER_RESTARTS: Msec = 50;
const NGINX_RESTARTS: Msec = 8_000;

/// The longest time for which a connection delivers nothing, in msec.
const LONGEST_STALL: Msec = 4_000;

/// More happens in no world.
const MOST_STEPS: usize = 200_000;

/// Plays one world.
///
/// # Panics
/// A property does not hold.
pub fn play(plan: &Plan, seed: u64) -> World {
    // shown if the test fails
    println!("seed {seed}");
    let mut world = World::new(plan.clone(), seed);
    world.run();
    world.check_end();
    world
}

impl World {
    fn run(&mut self) {
        for _ in 0..MOST_STEPS {
            let event = self.events.keys().next().copied();
            let timer = self.next_timer();
            match (event, timer) {
                (None, None) => return,
                (Some(key), timer) if timer.is_none_or(|(at, _)| key.0 <= at) => {
                    self.now = key.0;
                    if let Some(event) = self.events.remove(&key) {
                        self.happen(event);
                    }
                }
                (_, Some((at, worker))) => {
                    self.now = self.now.max(at);
                    self.ring(worker);
                }
                (Some(_), None) => {}
            }
        }
        panic!("it does not end");
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Comes { worker, page, asks } => self.come(worker, page, asks),
            Event::Leaves(id) => self.leave(id),
            Event::Goes(fault) => self.go_wrong(fault),
            Event::Opened(wire) => self.opened(wire),
            Event::Sent(wire, bytes) => {
                if !self.cut.contains(&wire) {
                    self.serve(wire, bytes);
                }
            }
            Event::Replied(wire, bytes) => self.receive(wire, bytes),
            Event::Head(number) => self.head(number),
            Event::Body(number) => self.body(number),
        }
    }

    /// A visitor comes. If the worker is not there, another one takes him.
    fn come(&mut self, worker: usize, page: usize, asks: Asks) {
        let is_there = |worker: &usize| self.workers[*worker].absent_until.is_none();
        let others = (0..self.workers.len()).map(|it| (worker + it) % self.workers.len());
        let Some(worker) = others.into_iter().find(is_there) else { return };
        let id = self.begin(worker, page, asks);
        if self.random.u32(..100) < self.plan.impatient {
            let at = self.now + self.draw_time(0..=2 * self.plan.render.end());
            self.at(at, Event::Leaves(id));
        }
        self.settle(worker);
    }

    /// A visitor leaves. What is captured for all is captured to its end.
    fn leave(&mut self, id: u64) {
        if !matches!(self.request(id).filling, Filling::Capture(_)) {
            self.end(id);
        }
        let worker = self.requests[&id].worker;
        if self.workers[worker].process == self.requests[&id].process {
            self.settle(worker);
        }
    }

    fn go_wrong(&mut self, fault: Fault) {
        let worker = self.random.usize(..self.workers.len());
        let page = self.random.usize(..self.pages.len());
        let (now, url) = (self.now, self.pages[page].url.clone());
        match fault {
            Fault::Worker => self.kill(worker, WORKER_RESTARTS),
            Fault::Nginx => {
                let first = worker / 2 * 2;
                let both = first..(first + 2).min(self.workers.len());
                both.for_each(|worker| self.kill(worker, NGINX_RESTARTS));
            }
            Fault::Flush => self.memcached.clear(),
            Fault::Restart => {
                self.memcached.clear();
                self.wires().into_iter().for_each(|wire| self.cut_wire(wire));
            }
            Fault::Reset => {
                let wires = self.wires();
                if !wires.is_empty() {
                    let wire = wires[self.random.usize(..wires.len())];
                    self.cut_wire(wire);
                }
            }
            Fault::Stall => {
                let stall = self.draw_time(0..=LONGEST_STALL);
                let wires = self.wires();
                if !wires.is_empty() {
                    let wire = wires[self.random.usize(..wires.len())];
                    let socket = self.workers[wire.worker].sockets[wire.index].as_mut();
                    socket.into_iter().for_each(|socket| socket.replied_by = now + stall);
                }
            }
            Fault::Set => {
                self.memcached.store(&url, Text::of_its_own(page, now).as_bytes(), now, 0);
                self.pages[page].changed = Some(now);
            }
            Fault::Delete => {
                self.memcached.remove(&url);
                self.pages[page].changed = Some(now);
            }
            Fault::Invalidate => self.memcached.mark_as_stale(&url),
            Fault::Cut => {
                let requests = &self.requests;
                let mut renders = self.renders.iter_mut().rev();
                if let Some(render) = renders.find(|it| !requests[&it.request].has_ended) {
                    render.is_cut = true;
                }
            }
        }
    }

    /// The sockets of all workers.
    fn wires(&self) -> Vec<Wire> {
        let mut wires = Vec::new();
        for (worker, it) in self.workers.iter().enumerate() {
            for (index, socket) in it.sockets.iter().enumerate() {
                if let Some(socket) = socket.filter(|socket| socket.is_open) {
                    let (process, generation) = (it.process, socket.generation);
                    wires.push(Wire { worker, process, index, generation });
                }
            }
        }
        wires
    }

    /// A connection ends. What is on its way to memcached is lost, or what is on its way back.
    fn cut_wire(&mut self, wire: Wire) {
        self.cut.push(wire);
        let at = self.now + self.draw_time(self.plan.latency.clone());
        self.at(at, Event::Replied(wire, None));
    }

    /// A worker is killed, and comes back after so many msec.
    fn kill(&mut self, worker: usize, after: Msec) {
        if self.workers[worker].absent_until.is_some() {
            return;
        }
        let process = self.workers[worker].process;
        let its =
            self.requests.values_mut().filter(|it| (it.worker, it.process) == (worker, process));
        for request in its.filter(|it| !it.has_ended) {
            (request.has_ended, request.was_killed) = (true, true);
            request.filling = Filling::Nothing;
        }
        self.next_process += 1;
        let absent_until = Some(self.now + after);
        self.workers[worker] = Worker { absent_until, ..Worker::new(self.next_process) };
    }
}
