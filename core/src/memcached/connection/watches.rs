//! Items that are watched: the version of one is read at the beginning of each batch of lookups that ask for it. memcached
//! executes the commands of a connection in order, so each answer of the batch is of a later time than that version.

use crate::memcached::{Completion, Sample, Watch};

/// The watched items, by their numbers.
#[derive(Debug, Default)]
pub struct Watches {
    watched: Vec<Watched>,
    /// That of the last answer.
    of_answer: Option<Watch>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Watched {
    /// The place in the stream of the last command that reads the version.
    queued: Option<u64>,
    /// What the last reply to such a command has said. None if it failed.
    sample: Option<Sample>,
}

impl Watches {
    /// The place in the stream of a command that reads the version and of which no byte is written. The stream is written
    /// up to `written`.
    pub fn unwritten(&self, watch: Watch, written: u64) -> Option<u64> {
        self.get(watch).queued.filter(|&at| at >= written)
    }

    /// Such a command was queued at this place of the stream.
    pub fn queued(&mut self, watch: Watch, at: u64) {
        self.change(watch, |it| it.queued = Some(at));
    }

    /// Such a command was answered.
    pub fn answered<V>(&mut self, watch: Watch, completion: &Completion<V>) {
        let sample = Sample::of(completion);
        self.change(watch, |it| it.sample = sample);
    }

    /// The next answer is that of a lookup with this watch.
    #[inline]
    pub fn set_answer(&mut self, watch: Option<Watch>) {
        self.of_answer = watch;
    }

    /// What there was of the watched item before the last answer. None if that is unknown.
    #[inline]
    pub fn of_answer(&self) -> Option<&Sample> {
        let Watch(index) = self.of_answer?;
        self.watched.get(usize::from(index))?.sample.as_ref()
    }

    /// The connection ended.
    pub fn reset(&mut self) {
        self.watched.clear();
    }

    fn get(&self, Watch(index): Watch) -> Watched {
        self.watched.get(usize::from(index)).copied().unwrap_or_default()
    }

    fn change(&mut self, Watch(index): Watch, change: impl FnOnce(&mut Watched)) {
        let index = usize::from(index);
        if index >= self.watched.len() {
            self.watched.resize(index + 1, Watched::default());
        }
        if let Some(watched) = self.watched.get_mut(index) {
            change(watched);
        }
    }
}
