//! What is to be written to one connection, and how much of it was.

/// Commands that are not yet written.
#[derive(Debug, Default)]
pub struct Transmitter {
    text: Vec<u8>,
    /// Bytes of the text that were written.
    sent: usize,
    /// Bytes that were written since the connection began.
    written: u64,
    /// Commands were added since the last attempt to write.
    is_fresh: bool,
}

impl Transmitter {
    /// Makes room for a command of at most so many bytes. None without memory.
    pub fn reserve(&mut self, bytes: usize) -> Option<()> {
        self.text.try_reserve(bytes).ok()
    }

    /// Appends a command, which `encode` writes. Returns at which byte of the stream it ends.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        encode(&mut self.text);
        self.is_fresh = true;
        self.end()
    }

    /// The byte of the stream at which the next command begins.
    pub fn end(&self) -> u64 {
        self.written + (self.text.len() - self.sent) as u64
    }

    /// Bytes to write.
    pub fn output(&self) -> &[u8] {
        self.text.get(self.sent..).unwrap_or_default()
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Whether there is something to write that no attempt was made to write.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The first `n` bytes of the output were written; 0 if the socket took none. Returns how many were written
    /// since the connection began.
    pub fn sent(&mut self, n: usize) -> u64 {
        self.is_fresh = false;
        self.written += n as u64;
        self.sent += n;
        if self.sent >= self.text.len() {
            self.text.clear();
            self.sent = 0;
        } else if self.sent > self.text.len() / 2 {
            // moves fewer bytes than were written
            self.text.drain(..self.sent);
            self.sent = 0;
        }
        self.written
    }

    /// The connection ended: nothing of the output is written any more.
    pub fn reset(&mut self) {
        self.text.clear();
        (self.sent, self.written, self.is_fresh) = (0, 0, false);
    }
}
