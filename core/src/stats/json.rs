//! A report as JSON, for scripts and for the page. Times are in seconds, sizes in bytes.

use super::{BOUNDS, Histogram, Numbers, Report, ServerReport, UpstreamReport};
use crate::outcome::{Reason, Status};
use serde_json::Value;

/// The report. Its Content-Type is `application/json`.
pub fn json(report: &Report) -> String {
    object([
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("started", report.started.into()),
        ("uncounted", report.uncounted.into()),
        ("upstreams", report.upstreams.iter().map(upstream).collect()),
    ])
    .to_string()
}

fn upstream(upstream: &UpstreamReport) -> Value {
    object([
        ("name", upstream.name.as_str().into()),
        ("bypasses", by_reason(&upstream.before, Status::Bypass)),
        ("servers", upstream.servers.iter().map(server).collect()),
    ])
}

fn server(server: &ServerReport) -> Value {
    let numbers = &server.numbers;
    object([
        ("name", server.name.as_str().into()),
        ("hits", numbers.hits.into()),
        ("misses", by_reason(numbers, Status::Miss)),
        ("errors", by_reason(numbers, Status::Error)),
        ("hit_bytes", numbers.bytes.into()),
        ("lookups", numbers.lookups.into()),
        ("batches", numbers.batches.into()),
        ("lookups_per_batch", ratio(numbers.lookups, numbers.batches).into()),
        ("lookups_in_flight", numbers.in_flight.into()),
        ("connections", numbers.connections.into()),
        ("connects", numbers.connects.into()),
        ("failing_workers", numbers.failing.into()),
        ("state_changed", (numbers.changed > 0).then_some(numbers.changed).into()),
        ("lookup_seconds", times(&numbers.times)),
    ])
}

fn by_reason(numbers: &Numbers<u64>, status: Status) -> Value {
    let of_status = Reason::ALL.into_iter().filter(|reason| reason.status() == status);
    of_status.map(|reason| (reason.name(), Value::from(numbers.left_for(reason)))).collect()
}

fn times(times: &Histogram<u64>) -> Value {
    let seconds = |micros: f64| micros / 1e6;
    let bounds = BOUNDS.into_iter().map(|bound| Value::from(seconds(bound as f64)));
    let buckets = bounds
        .chain([Value::Null])
        .zip(&times.buckets)
        .map(|(bound, count)| object([("to", bound), ("count", (*count).into())]));
    object([
        ("count", times.count().into()),
        ("sum", seconds(times.sum as f64).into()),
        ("p50", times.quantile(0.5).map(seconds).into()),
        ("p99", times.quantile(0.99).map(seconds).into()),
        ("buckets", buckets.collect()),
    ])
}

/// `json!` would do, but its code can panic.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().collect()
}

/// None where there is nothing to divide by.
fn ratio(of: u64, by: u64) -> Option<f64> {
    (by > 0).then(|| of as f64 / by as f64)
}
