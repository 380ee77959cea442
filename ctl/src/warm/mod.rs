//! Requesting the pages of a site, so that the application stores them.
//!
//! | file | owns |
//! |---|---|
//! | `pace.rs` | when the next request may begin |
//! | `origins.rs` | which sites may be asked |
//! | `site.rs` | one request, over HTTP |
//! | `sitemap.rs` | the text of a sitemap |
//! | `sources.rs` | which pages: URLs, lists, sitemaps and what those name |
//! | `crew.rs` | several requests at once |
//! | `tally.rs` | what became of them |
//! | `progress.rs` | what is shown meanwhile |

mod crew;
mod origins;
mod pace;
mod progress;
mod site;
mod sitemap;
mod sources;
mod tally;

pub use crew::{Plan, warm};
pub use origins::Origins;
pub use progress::Progress;
pub use site::Site;
pub use sources::{Limits, pages};
