"""The output of wrk, the open loop, perf, strace and the kernel."""

from __future__ import annotations

import json
import os
import time
import unittest

from bench import load, measure, pages

# of a real run, shortened
WRK = """Running 1m test @ http://127.0.0.1:28999/p/100/
  1 threads and 64 connections
  20843 requests in 613.48ms, 2.98MB read

BENCH {"requests": 20843, "bytes": 3126450, "duration": 613484, "p50": 819, "p99": 12495, "p999": 16291, \
"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
"""
H2LOAD = """finished in 508.01ms, 5.90 req/s, 71.85KB/s
requests: 3 total, 3 started, 3 done, 3 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 3 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 35.92KB (36782) total, 330B (330) headers (space savings 39.23%), 35.16KB (36000) data
"""
H2LOAD_LOG = "1796011209156199\t200\t17000\n1796011209156185\t200\t1600\n1796011209156174\t200\t1700\n"
OPEN = {
    "requests": 200, "seconds": 1.99, "p50": 126, "p99": 15108, "p999": 25107, "late_p99": 7037,
    "unanswered": 0, "errors": 0, "error": "",
}


class Wrk(unittest.TestCase):
    def test_figures(self) -> None:
        found = load.wrk_load(WRK, 0.5, 100)
        self.assertEqual((found.requests, found.p99), (20843, 12495))
        self.assertAlmostEqual(found.per_second, 20843 / 0.613484)

    def test_parts_of_large_answers_count(self) -> None:
        found = load.wrk_load(WRK.replace('"requests": 20843', '"requests": 20'), 0.5, 100_000)
        self.assertAlmostEqual(found.requests, 31.2645)

    def test_statuses_that_are_not_2xx_fail(self) -> None:
        with self.assertRaisesRegex(load.Failed, "3 status errors"):
            load.wrk_load(WRK.replace('"status": 0', '"status": 3'), 0.5, 100)

    def test_socket_errors_fail(self) -> None:
        with self.assertRaisesRegex(load.Failed, "7 read errors"):
            load.wrk_load(WRK.replace('"read": 0', '"read": 7'), 0.5, 100)

    def test_short_bodies_fail(self) -> None:
        with self.assertRaisesRegex(load.Failed, "too few"):
            load.wrk_load(WRK, 0.5, 1000)

    def test_silence_fails(self) -> None:
        with self.assertRaises(load.Failed):
            load.wrk_load("unable to connect to 127.0.0.1:1 Connection refused", 0.5, 100)
        with self.assertRaises(load.Nothing):
            load.wrk_load(WRK.replace('"requests": 20843', '"requests": 0'), 0.5, 100)


class H2load(unittest.TestCase):
    def test_figures(self) -> None:
        found = load.h2load_load(H2LOAD, H2LOAD_LOG, 0.3, 12000)
        self.assertEqual((found.requests, found.p50, found.p999), (3, 1700, 17000))
        self.assertAlmostEqual(found.seconds, 0.50801)
        seconds = H2LOAD.replace("508.01ms", "1.25s")
        self.assertAlmostEqual(load.h2load_load(seconds, H2LOAD_LOG, 0.3, 12000).per_second, 2.4)

    def test_answers_that_are_wrong_fail(self) -> None:
        wrongs = (("3 2xx, 0 3xx", "2 2xx, 1 3xx"), ("0 failed", "1 failed"), ("0 timeout", "1 timeout"))
        for right, wrong in wrongs:
            with self.assertRaises(load.Failed):
                load.h2load_load(H2LOAD.replace(right, wrong), H2LOAD_LOG, 0.3, 12000)

    def test_short_bodies_fail(self) -> None:
        with self.assertRaisesRegex(load.Failed, "too few"):
            load.h2load_load(H2LOAD, H2LOAD_LOG, 0.3, 12001)

    def test_silence_fails(self) -> None:
        with self.assertRaises(load.Failed):
            load.h2load_load("Connection refused", "", 0.3, 12000)


class Html(unittest.TestCase):
    def test_it_compresses_as_a_page_does(self) -> None:
        page = pages.html(50_000)
        self.assertEqual(len(page), 50_000)
        self.assertTrue(3 < len(page) / len(pages.compressed(50_000)) < 8)


class OpenLoop(unittest.TestCase):
    def test_figures(self) -> None:
        found = load.open_load(json.dumps(OPEN), 0.1)
        self.assertEqual((found.requests, found.p999, found.late), (200, 25107, 7037))

    def test_errors_fail(self) -> None:
        with self.assertRaisesRegex(load.Failed, "answered"):
            load.open_load(json.dumps(OPEN | {"errors": 1, "error": 'answered "HTTP/1.1 502"'}), 0.1)
        with self.assertRaisesRegex(load.Failed, "never answered"):
            load.open_load(json.dumps(OPEN | {"unanswered": 4}), 0.1)
        with self.assertRaisesRegex(load.Failed, "refused"):
            load.open_load("openloop: Connection refused (os error 111)\n", 0.1)


class Counters(unittest.TestCase):
    def test_perf(self) -> None:
        text = "# started on Sun Nov 22\n\n123456,,raw_syscalls:sys_enter,2000000000,100.00,,\n"
        self.assertEqual(measure.calls_of(text), 123456)

    def test_perf_that_could_not_count(self) -> None:
        self.assertIsNone(measure.calls_of("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"))

    def test_strace(self) -> None:
        text = (
            "% time     seconds  usecs/call     calls    errors syscall\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            " 49.39    0.016545           9      1719           epoll_wait\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            "100.00    0.033499           8      3915        17 total\n"
        )
        self.assertEqual(measure.calls_of(text), 3915)

    def test_machine(self) -> None:
        found = measure.machine_of("cpu  500 20 300 9000 40 0 60 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
        self.assertAlmostEqual(found.busy * measure.TICKS, 880)
        self.assertAlmostEqual(found.stolen * measure.TICKS, 30)

    def test_own_time_passes(self) -> None:
        # the kernel counts in ticks
        before = measure.cpu_seconds([os.getpid()])
        started = time.process_time()
        while time.process_time() - started < 0.1:
            pass
        self.assertGreater(measure.cpu_seconds([os.getpid()]) - before, 0.05)


class Pages(unittest.TestCase):
    def test_a_page_begins_with_its_uri_and_has_its_size(self) -> None:
        for size in (100, 10_000):
            self.assertEqual(len(pages.body(size, 99_999)), size)
            self.assertTrue(pages.body(size, 7).startswith(f"/p/{size}/7 ".encode()))

    def test_uwsgi(self) -> None:
        def sized(text: bytes) -> bytes:
            return len(text).to_bytes(2, "little") + text

        variables = sized(b"REQUEST_METHOD") + sized(b"GET") + sized(b"PATH_INFO") + sized(b"/p/100/3")
        packet = b"\0" + len(variables).to_bytes(2, "little") + b"\0" + variables
        self.assertTrue(pages.uwsgi_answer(packet).endswith(pages.body(100, 3)))


if __name__ == "__main__":
    unittest.main()
