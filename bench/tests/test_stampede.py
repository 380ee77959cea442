"""The cells "stampede": what the load generator and the application write down, and the figures of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from bench import bars, cells, load, report, stampede
from bench.conf import nginx_conf
from bench.contenders import CONTENDERS
from bench.load import Burst
from bench.machine import ROOT
from bench.results import Results, Sample

BURST = {
    "began": 5_000_000, "sent": 2500, "requests": 512, "p50": 8000, "p99": 10_000, "most": 11_000, "errors": 0,
    "error": "",
}
RENDERS = """begin /html/10000/cold-1 5.010000
begin /html/10000/cold-2 5.020000
begin /html/10000/cold-1 5.030000
end /html/10000/cold-1 5.310000
end /html/10000/cold-1 5.330000
"""
APPLICATION = """
from bench import renderer

def ask(path, **more):
    def start(status, headers):
        print(status, dict(headers)["Cache-Control"])
    print(len(b"".join(renderer.application({"PATH_INFO": path, **more}, start))))

renderer.RENDER_SECONDS = 0
ask("/html/1000/0")
ask("/html/1000/stale-1")
ask("/html/1000/expired-1", HTTP_X_PREPARE="1")
"""


def burst(**more) -> Burst:
    return Burst(**(BURST | more))


def quiet(*times: float) -> list[Burst]:
    """The bursts before that for the page."""
    return [burst(p99=100_000), *(burst(p99=time) for time in times)]


class Bursts(unittest.TestCase):
    def test_each_path_has_a_line(self) -> None:
        output = json.dumps(BURST) + "\n" + json.dumps(BURST | {"errors": 3, "error": "no answer"}) + "\n"
        first, second = load.bursts_of(output, 2)
        self.assertEqual((first.p99, first.errors, second.errors), (10_000, 0, 3))

    def test_other_output_fails(self) -> None:
        wrong = [("openloop: Connection refused\n", 1), (json.dumps(BURST), 2), ('{"began": 1}', 1), ("[]", 1)]
        for output, count in wrong:
            with self.assertRaises(load.Failed):
                load.bursts_of(output, count)


class Renders(unittest.TestCase):
    def test_they_are_counted_by_page(self) -> None:
        self.assertEqual(stampede.renders_of(RENDERS, "/html/10000/cold-1"), (2, [5_310_000, 5_330_000]))
        self.assertEqual(stampede.renders_of(RENDERS, "/html/10000/cold-2"), (1, []))
        self.assertEqual(stampede.renders_of(RENDERS, "/html/10000/cold"), (0, []))

    def test_the_application_writes_them_down(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "renders.log")
            environment = os.environ | {"BENCH_RENDERS": str(log), "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-B", "-c", APPLICATION]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            text = log.read_text()
        self.assertEqual(
            done.stdout.splitlines(),
            [
                "200 OK max-age=3600", "1000",
                "200 OK max-age=3600, stale-while-revalidate=600", "1000",
                "200 OK max-age=1", "1000",
            ],
        )
        for page, count in (("0", 1), ("stale-1", 1), ("expired-1", 0)):
            begun, ended = stampede.renders_of(text, f"/html/1000/{page}")
            self.assertEqual((begun, len(ended)), (count, count), page)


class Figures(unittest.TestCase):
    def test_waiters_are_compared_with_the_first_render(self) -> None:
        found = [*quiet(3000, 9000, 4000, 4000, 9000), burst(p50=320_000, p99=350_000, errors=1)]
        done = stampede.load_of(found, [5_310_000.0, 5_305_000.0], False, 1.0, 0.1)
        self.assertEqual((done.p50, done.p99), (320_000, 350_000))
        self.assertEqual((done.more["renders"], done.more["errors"], done.more["rendered"]), (2, 1, 305_000))
        self.assertEqual(done.more["quiet_p99"], 4000)

    def test_nobody_waits_for_the_renewal_of_a_stale_page(self) -> None:
        found = [*quiet(*[4000] * 5), burst(), burst(most=70_000, errors=2)]
        done = stampede.load_of(found, [5_310_000.0], True, 1.0, 0.1)
        self.assertEqual((done.more["rendered"], done.more["next_most"], done.more["errors"]), (0, 70_000, 2))

    def test_a_page_that_nobody_rendered(self) -> None:
        done = stampede.load_of([*quiet(*[4000] * 5), burst(errors=512)], [], False, 1.0, 0.1)
        self.assertEqual((done.more["renders"], done.more["errors"], done.more["rendered"]), (0, 512, 0))


class Tables(unittest.TestCase):
    def results(self, state: str, **more) -> Results:
        [cell] = cells.select(cells.STAMPEDE, [f"stampede/{state}/n3"])
        fields = {
            "requests": 1536, "seconds": 0.6, "p50": 325_000, "p99": 352_000, "rendered": 302_000, "renders": 1,
            "quiet_p99": 10_000, "most": 353_000,
        }
        samples = [Sample(cell.name, "ours-stored", nth, **(fields | more)) for nth in range(2)]
        samples.append(Sample(cell.name, "proxy-cache-lock", 0, **(fields | {"renders": 3})))
        samples.append(Sample(cell.name, "proxy-cache-lock", 1, **(fields | {"renders": 5})))
        titles = {one: CONTENDERS[one].title for one in ("proxy-cache-lock", "ours-stored")}
        settings = {"repeats": 2, "seconds": 1.0, "cores": {}, "awake": True}
        machine = {
            "date": "2026-01-02T03:04:05+00:00", "cpu": "CPU", "cores": 2, "kernel": "6.1", "nginx": "1.22.1",
            "memcached": "1.6.18", "wrk": "4.1.0", "commit": "abc", "load_before": 0.1,
        }
        return Results(machine, settings, [cell], titles, {}, samples)

    def test_a_row_has_renders_and_times(self) -> None:
        text = report.markdown(self.results("cold"))
        row = "this module, stored by nginx | 1 | 0 | 325.00 ms | 352.00 ms | 353.00 ms | 23 ms | 50 ms | 10.00 ms |  |"
        self.assertIn(row, text)
        self.assertIn("| proxy_cache with its lock | 4 (3 to 5) | 0 |", text)

    def test_bars_without_a_base(self) -> None:
        def words(found: Results) -> list[tuple[str, str]]:
            return [(one.bar.quantity, one.word) for one in bars.verdicts(found)]

        self.assertEqual(words(self.results("cold")), [("renders", "reached"), ("behind_p50", "reached")])
        slow = self.results("cold", renders=2, p50=345_000)
        self.assertEqual(words(slow), [("renders", "missed"), ("behind_p50", "missed")])
        stale = self.results("stale", p99=16_000)
        self.assertEqual(words(stale), [("renders", "reached"), ("times_quiet", "missed")])

    def test_errors_are_failures(self) -> None:
        self.assertEqual(self.results("cold").failures(), [])
        self.assertEqual(len(self.results("cold", errors=1).failures()), 2)


class Configuration(unittest.TestCase):
    def test_connections_are_spread_over_the_workers(self) -> None:
        values = dict.fromkeys(("memcached", "root", "application"), "X")
        shared = {"module": "our.so", "modules_folder": "", "workers": 2, "user": "", "descriptors": 1024}
        one = CONTENDERS["ours-stored"]
        for work, spread in (("stampede", True), ("stored", False)):
            conf = nginx_conf([one], {one.name: 1, "origin": 2}, values, work=work, **shared)
            self.assertEqual("listen 127.0.0.1:1 reuseport " in conf, spread, work)

    def test_what_serves_nothing_stale_is_left_out_there(self) -> None:
        for cell in cells.STAMPEDE:
            names = {one.name for one in CONTENDERS.values() if one.takes(cell, usual=True)}
            expected = {"proxy-cache-lock", "uwsgi-cache-lock", "varnish", "ours-stored"}
            expected |= set() if cell.state == "stale" else {"srcache-store"}
            self.assertEqual(names, expected, cell.name)


if __name__ == "__main__":
    unittest.main()
