-- The requests of wrk, and its output at the end: one line of JSON, in microseconds and counts.
-- BENCH_KEYS: the number of pages, /p/SIZE/0 and on, which are requested in turn; without it the page of the URL.

local keys = tonumber(os.getenv("BENCH_KEYS") or "1")

-- wrk calls a script for each request only if this function exists: a load of one page must not pay for it.
if keys > 1 then
    local requests, last = {}, 0

    function init()
        for number = 1, keys do
            requests[number] = wrk.format("GET", wrk.path .. (number - 1))
        end
    end

    function request()
        last = last % keys + 1
        return requests[last]
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\nBENCH {"requests": %d, "bytes": %d, "duration": %d, "p50": %d, "p99": %d, "p999": %d, ' ..
        '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
        summary.requests, summary.bytes, summary.duration,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
