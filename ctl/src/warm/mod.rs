//! Requests the pages of a site, so that the application stores them.
//!
//! | file | owns |
//! |---|---|
//! | `pace.rs` | the rate limit |
//! | `origins.rs` | the sites that may be requested |
//! | `site.rs` | one request, over HTTP |
//! | `sitemap.rs` | the text of a sitemap |
//! | `sources.rs` | the pages: URLs, lists, sitemaps and the pages that those name |
//! | `workers.rs` | concurrent requests |
//! | `tally.rs` | the results |
//! | `progress.rs` | the display of the progress |

mod origins;
mod pace;
mod progress;
mod site;
mod sitemap;
mod sources;
mod tally;
mod workers;

pub use origins::Origins;
pub use progress::Progress;
pub use site::Site;
pub use sources::{Limits, pages};
pub use workers::{Plan, warm};
