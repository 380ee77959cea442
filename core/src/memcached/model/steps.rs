//! The steps of the model, and their notation.
//!
//! An input is seven bytes of bounds, then steps: a letter and its arguments, a byte each, of which digits count as such.
//! Any byte means something, so that the fuzzer wastes none; seeds are text.
//!
//! ```text
//! bounds  connections  lookups in flight  keepalive  addresses  max_fails  fail_timeout  what the last sockets do
//!
//! s item budget kind  submit a lookup          x which      cancel one
//! c conn              its socket opens         y which      cancel one that has ended
//! r conn              it is refused            w which what within the next event: cancel,
//! o conn bytes        write                                 submit, close
//! m conn lookups      memcached answers        k conn       the driver closes
//! f conn how          it answers falsely       e conn how   the socket ends
//! g conn n BYTES      it sends rubbish         p time       time passes, timers run
//! d conn bytes        deliver what it sent     l time       time passes, timers are late
//! a                   every socket does all    b bytes      room for values
//! t item budget kind  submit a command that changes an item
//! j                   submit the last lookup once more, in the same msec
//! ```

use crate::memcached::{BreakerLimits, ConnectionError, Limits, Msec, Protocol};

/// In msec. Recovery is promised only if no lookup waits for longer than the last.
const BUDGETS: [Msec; 8] = [1, 0, 2, 10, 50, 100, 250, 500];
const TIMES: [Msec; 8] = [0, 1, 5, 30, 100, 250, 600, 3_000];
const BYTES: [usize; 10] = [0, 1, 2, 3, 5, 10, 30, 100, 5_000, usize::MAX];
const ROOMS: [usize; 8] = [0, 4, 31, 100, 5_000, 70_000, 75_000, 1 << 20];

#[derive(Debug)]
pub struct Bounds {
    pub limits: Limits,
    /// At the end of the run the sockets hang, instead of being closed.
    pub old_sockets_hang: bool,
}

#[derive(Debug, Clone)]
pub enum Step<'a> {
    Submit(Request),
    /// The last lookup once more, if no time has passed since.
    SubmitSame,
    /// Of those that wait, by position.
    Cancel(usize),
    /// With a ticket of a lookup that has ended.
    CancelEnded(usize),
    /// While the next event is being handled.
    Within(Within),
    Open(usize),
    Refuse(usize),
    Write(usize, usize),
    /// memcached answers so many lookups.
    Serve(usize, usize),
    Falsify(usize, False),
    Rubbish(usize, &'a [u8]),
    Deliver(usize, usize),
    End(usize, ConnectionError),
    Close(usize),
    Pass(Msec),
    Lag(Msec),
    Run,
    Room(usize),
}

#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub verb: Verb,
    pub item: usize,
    pub protocol: Protocol,
    pub timeout: Msec,
    pub connect_timeout: Msec,
    pub max_size: usize,
}

impl Request {
    /// Whether it has a body.
    pub fn stores(&self) -> bool {
        matches!(self.verb, Verb::Set | Verb::Append)
    }
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Set,
    Append,
    Delete,
}

/// What a request that is resumed may do.
#[derive(Debug, Clone, Copy)]
pub enum Within {
    Cancel(usize),
    Submit(Request),
    Close(usize),
}

/// False answers to one lookup.
#[derive(Debug, Clone, Copy)]
pub enum False {
    /// None at all: those behind it come in its place.
    Omitted,
    Twice,
    OtherKey,
    OtherOpaque,
    BareMiss,
    ServerError,
    TooLarge,
    Error,
    /// The length is off by so much.
    Length(isize),
}

pub struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    pub fn new(input: &'a [u8]) -> Steps<'a> {
        Steps(input)
    }

    pub fn bounds(&mut self) -> Bounds {
        let limits = Limits {
            connections: 1 + self.number() % 3,
            inflight: [1, 2, 3, 64][self.number() % 4],
            keepalive: [60_000, 1, 20, 500][self.number() % 4],
            addresses: [1, 1, 2, 3][self.number() % 4],
            breaker: BreakerLimits {
                max_fails: (self.number() % 4) as u32,
                fail_timeout: [2_000, 0, 100, 500][self.number() % 4],
            },
        };
        Bounds { limits, old_sockets_hang: self.number() % 2 == 1 }
    }

    pub fn next_step(&mut self) -> Option<Step<'a>> {
        const LETTERS: &[u8] = b"sxywcromfgdekplabtj";
        let byte = loop {
            // seeds have lines
            match self.byte()? {
                b'\n' | b' ' => {}
                byte => break byte,
            }
        };
        let letter =
            if LETTERS.contains(&byte) { byte } else { LETTERS[usize::from(byte) % LETTERS.len()] };
        Some(match letter {
            b's' => Step::Submit(self.request()),
            b't' => Step::Submit(self.change()),
            b'j' => Step::SubmitSame,
            b'x' => Step::Cancel(self.number()),
            b'y' => Step::CancelEnded(self.number()),
            b'w' => {
                let which = self.number();
                Step::Within(match self.number() % 3 {
                    0 => Within::Cancel(which),
                    1 => Within::Submit(self.request()),
                    _ => Within::Close(which),
                })
            }
            b'c' => Step::Open(self.number()),
            b'r' => Step::Refuse(self.number()),
            b'o' => Step::Write(self.number(), self.bytes()),
            b'm' => Step::Serve(self.number(), self.number()),
            b'f' => Step::Falsify(self.number(), self.falsehood()),
            b'g' => {
                let connection = self.number();
                let len = self.number().min(self.0.len());
                let rubbish;
                (rubbish, self.0) = self.0.split_at(len);
                Step::Rubbish(connection, rubbish)
            }
            b'd' => Step::Deliver(self.number(), self.bytes()),
            b'e' => Step::End(
                self.number(),
                [ConnectionError::Closed, ConnectionError::Io(104)][self.number() % 2],
            ),
            b'k' => Step::Close(self.number()),
            b'p' => Step::Pass(TIMES[self.number() % 8]),
            b'l' => Step::Lag(TIMES[self.number() % 8]),
            b'b' => Step::Room(ROOMS[self.number() % 8]),
            _ => Step::Run,
        })
    }

    fn request(&mut self) -> Request {
        let (item, timeout, kind) = (self.number(), BUDGETS[self.number() % 8], self.number());
        Request {
            verb: Verb::Get,
            item,
            protocol: if kind & 1 == 0 { Protocol::Meta } else { Protocol::Classic },
            timeout,
            connect_timeout: if kind & 4 == 0 { 100 } else { 3 },
            max_size: if kind & 2 == 0 { usize::MAX } else { 50 },
        }
    }

    fn change(&mut self) -> Request {
        let (item, timeout, kind) = (self.number(), BUDGETS[self.number() % 8], self.number());
        Request {
            verb: [Verb::Set, Verb::Append, Verb::Delete][kind / 8 % 3],
            item,
            protocol: if kind & 1 == 0 { Protocol::Meta } else { Protocol::Classic },
            timeout,
            connect_timeout: if kind & 4 == 0 { 100 } else { 3 },
            max_size: usize::MAX,
        }
    }

    fn falsehood(&mut self) -> False {
        match self.number() % 13 {
            0 => False::Omitted,
            1 => False::Twice,
            2 => False::OtherKey,
            3 => False::OtherOpaque,
            4 => False::BareMiss,
            5 => False::ServerError,
            6 => False::Error,
            7 => False::Length(-1),
            8 => False::Length(1),
            9 => False::Length(2),
            10 => False::Length(-2),
            12 => False::TooLarge,
            _ => False::Length(isize::MAX),
        }
    }

    /// A digit is one of the table, another byte is itself.
    fn bytes(&mut self) -> usize {
        match self.byte().unwrap_or_default() {
            digit @ b'0'..=b'9' => BYTES[usize::from(digit - b'0')],
            byte => usize::from(byte),
        }
    }

    fn number(&mut self) -> usize {
        match self.byte().unwrap_or_default() {
            digit @ b'0'..=b'9' => usize::from(digit - b'0'),
            byte => usize::from(byte),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}
