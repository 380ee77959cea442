//! A report as JSON, for scripts and for the status page. Times are in seconds, sizes in bytes.

use super::{
    Counters, Kind, ROWS, Report, Row, ServerReport, TIMES, Times, UpstreamReport, not_stored,
};
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
    let counters = &server.counters;
    let row = |row: Row| {
        let value = (row.value)(counters);
        // 0 means never, which is null in JSON
        let is_known = row.kind != Kind::Latest || value > 0;
        (row.json, Value::from(is_known.then_some(value)))
    };
    let others = [
        ("name", server.name.as_str().into()),
        ("misses", by_reason(counters, Status::Miss)),
        ("errors", by_reason(counters, Status::Error)),
        (
            "not_stored",
            not_stored().map(|it| (it.name(), Value::from(counters.fills(it)))).collect(),
        ),
        ("lookups_per_batch", ratio(counters.lookups, counters.batches).into()),
    ];
    let times = TIMES.into_iter().map(|it| (it.json, times(&it, counters)));
    others.into_iter().chain(times).chain(ROWS.into_iter().map(row)).collect()
}

fn by_reason(counters: &Counters<u64>, status: Status) -> Value {
    let of_status = Reason::ALL.into_iter().filter(|reason| reason.status().kind() == status);
    of_status.map(|reason| (reason.name(), Value::from(counters.fallthroughs(reason)))).collect()
}

fn times(Times { bounds, value, .. }: &Times, counters: &Counters<u64>) -> Value {
    let (times, seconds) = (value(counters), |micros: f64| micros / 1e6);
    let quantile = |q| times.quantile(bounds, q).map(seconds);
    let bounds = bounds.iter().map(|bound| Value::from(seconds(*bound as f64)));
    let buckets = bounds
        .chain([Value::Null])
        .zip(&times.buckets)
        .map(|(bound, count)| object([("to", bound), ("count", (*count).into())]));
    object([
        ("count", times.count().into()),
        ("sum", seconds(times.sum as f64).into()),
        ("p50", quantile(0.5).into()),
        ("p99", quantile(0.99).into()),
        ("buckets", buckets.collect()),
    ])
}

/// `json!` would be shorter, but its code can panic.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().collect()
}

/// None if the divisor is 0.
fn ratio(of: u64, by: u64) -> Option<f64> {
    (by > 0).then(|| of as f64 / by as f64)
}
