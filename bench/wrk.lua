-- The requests of wrk, and its output at the end: one line of JSON, in microseconds and counts.
-- BENCH_KEYS: the number of pages, /p/SIZE/0 and on, which are requested in turn; without it the page of the URL.
-- BENCH_RUN: a number that no other load of the run has: each request is for a page that was never requested before.
-- BENCH_GZIP: the client accepts gzip.

-- A Host with a port is not that of the key: its response would not be stored.
wrk.headers["Host"] = "bench.example"

local keys = tonumber(os.getenv("BENCH_KEYS") or "1")
local run = os.getenv("BENCH_RUN")

if os.getenv("BENCH_GZIP") then
    wrk.headers["Accept-Encoding"] = "gzip"
end

-- wrk calls a script for each request only if this function exists: a load of one page must not pay for it.
if run then
    local before, after, last = nil, nil, 0

    function init()
        local mark = run .. "-"
        local request = wrk.format("GET", wrk.path .. mark)
        local _, place = request:find(mark, 1, true)
        before, after = request:sub(1, place), request:sub(place + 1)
    end

    function request()
        last = last + 1
        return before .. last .. after
    end
elseif keys > 1 then
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
