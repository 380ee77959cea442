//! Asks several servers at once, each in a thread of its own. A server that is down or silent delays its own answers
//! only, and for a bounded time.

use crate::cluster::Server;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The questions for one server, in order.
pub struct Batch<Q> {
    pub server: Server,
    pub questions: Vec<Q>,
}

/// An answer, or why the server gave none.
pub type Answer<A> = Result<A, String>;

/// Asks each server its questions over the connection that `open` returns. The wait for each answer ends after
/// `timeout`, whatever `open` and `answer` do. After a failure the server is not asked again, and its remaining
/// questions fail with the same reason. Answers are in the order of the questions.
pub fn ask<Q, L, A>(
    batches: Vec<Batch<Q>>,
    timeout: Duration,
    open: fn(&Server, Duration) -> Answer<L>,
    answer: fn(&mut L, &Q) -> Answer<A>,
) -> Vec<Vec<Answer<A>>>
where
    Q: Send + 'static,
    L: 'static,
    A: Send + 'static,
{
    let ask_one = |Batch { server, questions }| {
        let (answers, receiver) = mpsc::channel();
        let count = questions.len();
        // resolving a name may take longer than the timeout; such a thread ends with the process
        let _ = thread::Builder::new().spawn(move || {
            let mut link = open(&server, timeout);
            for question in &questions {
                let said = link.as_mut().map_err(|reason| reason.clone());
                let said = said.and_then(|link| answer(link, question));
                let failed = said.is_err();
                if answers.send(said).is_err() || failed {
                    return;
                }
            }
        });
        (receiver, count)
    };
    let asked: Vec<_> = batches.into_iter().map(ask_one).collect();
    asked.into_iter().map(|(receiver, count)| collect(&receiver, count, timeout)).collect()
}

fn collect<A>(receiver: &Receiver<Answer<A>>, count: usize, timeout: Duration) -> Vec<Answer<A>> {
    let mut answers = Vec::with_capacity(count);
    while answers.len() < count {
        let said = receiver.recv_timeout(timeout).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => {
                    format!("no answer within {} s", timeout.as_secs_f64())
                }
                RecvTimeoutError::Disconnected => "no thread could be started".to_owned(),
            })
        });
        match said {
            Ok(said) => answers.push(Ok(said)),
            Err(reason) => answers.resize_with(count, || Err(reason.clone())),
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn batch(name: &str, questions: &[u64]) -> Batch<u64> {
        let server = Server { name: name.to_owned(), weight: 1, is_down: false };
        Batch { server, questions: questions.to_vec() }
    }

    fn open(server: &Server, _: Duration) -> Answer<u64> {
        match server.name.as_str() {
            "away" => Err("refused".to_owned()),
            name => Ok(name.parse().unwrap_or(0)),
        }
    }

    /// Sleeps for as many milliseconds as the server's name says.
    fn answer(pause: &mut u64, question: &u64) -> Answer<u64> {
        thread::sleep(Duration::from_millis(*pause));
        if *question == 13 { Err("unlucky".to_owned()) } else { Ok(question * 2) }
    }

    #[test]
    fn one_server_s_trouble_is_not_another_s() {
        let start = Instant::now();
        let batches = vec![
            batch("away", &[1, 2]),
            batch("60000", &[1, 2]),
            batch("0", &[1, 13, 2]),
            batch("0", &[4, 5]),
            batch("0", &[]),
        ];
        let said = ask(batches, Duration::from_millis(200), open, answer);
        let failed = |reason: &str| Err(reason.to_owned());
        assert_eq!(said[0], [failed("refused"), failed("refused")]);
        assert_eq!(said[1], [failed("no answer within 0.2 s"), failed("no answer within 0.2 s")]);
        assert_eq!(said[2], [Ok(2), failed("unlucky"), failed("unlucky")]);
        assert_eq!(said[3], [Ok(8), Ok(10)]);
        assert_eq!(said[4], []);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
