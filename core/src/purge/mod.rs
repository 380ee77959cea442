//! Purges: which stored pages must no longer be served as fresh, as each server's purge log says.
//!
//! A purge names pages by key, by a prefix of their keys, by a tag, or all pages of a zone. It does not look for their
//! items: a line is appended to the zone's log on each server, and readers compare each page with the log. A reader
//! looks at the log before it looks up a page, so every lookup sees the purges that had returned before it.
//!
//! ```text
//! key     pagecache:purges:<zone>
//! value   E<epoch> <base>{ <unix time> <target>} LF        the header
//!         s|h <unix time> <target> LF                      lines, oldest first; s: soft, h: hard
//! target  *                 every page of the zone
//!         k:<key prefix>    pages whose keys begin so
//!         u:<key>           the page of this key
//!         t:<tag hash>      pages with this tag
//! ```
//!
//! - The epoch is 16 hex digits, drawn at random when the log is created. The bytes of all lines of an epoch are numbered
//!   from 0, and are never changed: the log only grows. The base is the number of the first byte behind the header.
//! - A page notes the epoch and the end of the log from before it was rendered. It is valid if the epoch is the same and no
//!   line that ends later names it. [`Noted`] has the form.
//! - Keys are those that the location evaluates, before they are shortened for memcached, and escaped as for memcached: bytes
//!   up to 0x20, and `%`, are written as `%XX`. A longer key or prefix than [`MAX_PREFIX`] names the pages of its beginning.
//! - A tag hash is the first 16 hex digits, in lower case, of the SHA-256 of the zone, a line feed, and the tag.
//! - A line that is malformed, or is not ended yet, is a soft purge of all pages. An empty line says nothing.
//! - A value with a malformed header is no log. It is replaced by one of a new epoch, as a log that was evicted.
//! - The header may repeat hard purges of an earlier epoch, or of lines that are no longer in the value. They have no
//!   number. They concern pages whose own lines are not known: pages of other epochs, and those that are older than the
//!   oldest known line. Such pages are stale in any case, and purged hard if a hard purge names them.
//!
//! In each case of doubt, and beyond each bound, a page is stale rather than fresh.
//!
//! | file | owns |
//! |---|---|
//! | `zone`, `epoch` | the names of a zone's items, tags, and logs |
//! | `line` | one purge, as a line |
//! | `log` | the value: header and lines |
//! | `carried` | the hard purges that outlive their lines |
//! | `mark`, `marks` | what a stored page notes |
//! | `targets`, `index` | what a worker keeps of a log, and whether a page is valid |
//! | `view` | how a worker keeps up with a log, creates it, and makes it short |
//! | `rotate` | how a log is split |
//! | `append` | the commands that add a purge |

mod append;
mod carried;
mod epoch;
mod index;
mod line;
mod log;
mod mark;
mod marks;
#[cfg(test)]
mod model;
mod rotate;
mod targets;
mod view;
mod zone;

pub use append::{Appending, Next};
pub use carried::Carried;
pub use epoch::Epoch;
pub use index::{Index, Shrunk, Validity};
pub use line::{MAX_PREFIX, Purge, Target};
pub use log::{Line, Log};
pub use mark::{Mark, Noted, TagList, Tags};
pub use marks::Marks;
pub use rotate::Segment;
pub use view::{Change, Reading, View};
pub use zone::{Tag, Zone};

/// The longest value that is read as a log, in bytes: memcached's own limit. A longer one is no log.
pub const MAX_LOG: usize = 1 << 20;
