//! A report in the text format of Prometheus, version 0.0.4: base units, a HELP and a TYPE for each metric, and
//! labels whose number depends on the configuration alone.
//!
//! ```text
//! # HELP pagecache_hits_total Requests served from the cache.
//! # TYPE pagecache_hits_total counter
//! pagecache_hits_total{upstream="pages",server="127.0.0.1:11211"} 17
//! ```

use super::{Kind, ROWS, Report, Row, ServerReport, TIMES, Times, UpstreamReport, not_stored};
use crate::outcome::{Reason, Status};
use std::fmt::{self, Display, Write};

/// The metrics of requests that were left to the fallback, with the status that their reasons have.
const FALLTHROUGHS: [(&str, &str, Status); 2] = [
    ("pagecache_misses_total", "Lookups without a page, by reason.", Status::Miss),
    (
        "pagecache_errors_total",
        "Lookups that failed or could not be made, by reason.",
        Status::Error,
    ),
];

/// The metric of pages that were not stored.
const NOT_STORED: (&str, &str) =
    ("pagecache_not_stored_total", "Responses of the fallback that were not stored, by reason.");

/// The report. Its Content-Type is `text/plain; version=0.0.4; charset=utf-8`.
pub fn prometheus(report: &Report) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    head(out, "pagecache_info", "gauge", "The module's version.")?;
    writeln!(out, "pagecache_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
    head(out, "pagecache_start_timestamp_seconds", "gauge", "When counting began.")?;
    writeln!(out, "pagecache_start_timestamp_seconds {}", report.started)?;
    head(
        out,
        "pagecache_uncounted_total",
        "counter",
        "Requests in no other number: the zone is full.",
    )?;
    writeln!(out, "pagecache_uncounted_total {}", report.uncounted)?;

    head(out, "pagecache_bypasses_total", "counter", "Requests not looked up, by reason.")?;
    for upstream in &report.upstreams {
        for reason in reasons_of(Status::Bypass) {
            let count = upstream.before.fallthroughs(reason);
            let upstream = Label(&upstream.name);
            let reason = reason.name();
            writeln!(
                out,
                "pagecache_bypasses_total{{upstream=\"{upstream}\",reason=\"{reason}\"}} {count}"
            )?;
        }
    }
    for (name, help, status) in FALLTHROUGHS {
        head(out, name, "counter", help)?;
        for (upstream, server) in servers(report) {
            for reason in reasons_of(status) {
                let count = server.counters.fallthroughs(reason);
                let labels = Labels(upstream, server);
                writeln!(out, "{name}{{{labels},reason=\"{}\"}} {count}", reason.name())?;
            }
        }
    }
    head(out, NOT_STORED.0, "counter", NOT_STORED.1)?;
    for (upstream, server) in servers(report) {
        for status in not_stored() {
            let (labels, count) = (Labels(upstream, server), server.counters.fills(status));
            writeln!(out, "{}{{{labels},reason=\"{}\"}} {count}", NOT_STORED.0, status.name())?;
        }
    }
    for Row { kind, metric, help, value, .. } in ROWS {
        let kind = if kind == Kind::Total { "counter" } else { "gauge" };
        head(out, metric, kind, help)?;
        for (upstream, server) in servers(report) {
            writeln!(out, "{metric}{{{}}} {}", Labels(upstream, server), value(&server.counters))?;
        }
    }
    TIMES.iter().try_for_each(|it| times(out, it, report))
}

fn times(out: &mut String, times: &Times, report: &Report) -> fmt::Result {
    let Times { metric, help, bounds, value, .. } = times;
    head(out, metric, "histogram", help)?;
    for (upstream, server) in servers(report) {
        let (labels, times) = (Labels(upstream, server), value(&server.counters));
        let mut so_far = 0;
        for (count, bound) in times.buckets.iter().zip(*bounds) {
            so_far += count;
            writeln!(out, "{metric}_bucket{{{labels},le=\"{}\"}} {so_far}", seconds(*bound))?;
        }
        let count = times.count();
        writeln!(out, "{metric}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(out, "{metric}_sum{{{labels}}} {}", seconds(times.sum))?;
        writeln!(out, "{metric}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn servers(report: &Report) -> impl Iterator<Item = (&UpstreamReport, &ServerReport)> {
    report
        .upstreams
        .iter()
        .flat_map(|upstream| upstream.servers.iter().map(move |server| (upstream, server)))
}

fn reasons_of(status: Status) -> impl Iterator<Item = Reason> {
    Reason::ALL.into_iter().filter(move |reason| reason.status().kind() == status)
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

struct Labels<'a>(&'a UpstreamReport, &'a ServerReport);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Labels(upstream, server) = self;
        write!(f, "upstream=\"{}\",server=\"{}\"", Label(&upstream.name), Label(&server.name))
    }
}

/// The value of a label, with its three special characters escaped.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
