"""From samples to figures, bars, tables and the JSON file."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from bench import bars, cells, contenders, figures, report
from bench.cells import Cell
from bench.conf import nginx_conf
from bench.results import Calls, Results, Sample

CELL = Cell("hit/100B/c64", "closed", 100, 64)
MACHINE = {
    "date": "2026-01-02T03:04:05+00:00", "cpu": "CPU", "cores": 2, "kernel": "6.1", "nginx": "1.22.1",
    "memcached": "1.6.18", "wrk": "4.1.0", "commit": "abc", "load_before": 0.1,
}
SETTINGS = {
    "repeats": 3, "seconds": 1.0, "open_seconds": 5.0, "pin": "none", "cores": {}, "awake": True,
    "syscalls": None,
}


def sample(contender: str, repeat: int, rps: int, nginx_us: float, **more) -> Sample:
    fields = {
        "requests": rps, "seconds": 1.0, "p50": 100.0, "p99": 900.0, "p999": 2000.0,
        "nginx_cpu": rps * nginx_us / 1e6, "memcached_cpu": rps * 2 / 1e6, "generator_cpu": 0.5,
    }
    return Sample(CELL.name, contender, repeat, **(fields | more))


def results(*samples: Sample, cell: Cell = CELL) -> Results:
    names = dict.fromkeys(one.contender for one in samples)
    titles = {name: contenders.CONTENDERS[name].title for name in names}
    return Results(dict(MACHINE), dict(SETTINGS), [cell], titles, {}, list(samples))


class Figures(unittest.TestCase):
    def test_median_and_spread(self) -> None:
        found = figures.figure([3.0, 1.0, 2.0])
        self.assertEqual((found.median, found.least, found.most, found.spread), (2, 1, 3, 1))
        self.assertIsNone(figures.figure([]))

    def test_ratios_are_of_the_same_repeat(self) -> None:
        # the machine became half as fast: a ratio of two repeats would not be 2
        found = figures.ratio({0: 200.0, 1: 100.0, 2: 50.0}, {0: 100.0, 1: 50.0, 2: 25.0, 3: 1.0})
        self.assertEqual((found.median, found.spread), (2, 0))
        self.assertIsNone(figures.ratio({0: 1.0}, {1: 1.0}))


class Cells(unittest.TestCase):
    def test_names_are_unique(self) -> None:
        names = [cell.name for cell in cells.FULL]
        self.assertEqual(len(names), len(set(names)))

    def test_the_smaller_matrices_are_of_the_whole_one(self) -> None:
        self.assertLessEqual(set(cells.QUICK), set(cells.FULL))
        self.assertLessEqual(set(cells.DEFAULT), set(cells.FULL))

    def test_selection(self) -> None:
        self.assertEqual(cells.select(cells.FULL, []), cells.FULL)
        found = cells.select(cells.FULL, ["hit/*/c1", "miss/c64"])
        self.assertEqual({cell.connections for cell in found}, {1, 64})
        self.assertEqual(len(found), 5)

    def test_each_bar_has_a_cell(self) -> None:
        for bar in bars.BARS:
            for pattern in bar.cells:
                self.assertTrue(cells.select(cells.FULL, [pattern]), pattern)


class Configuration(unittest.TestCase):
    def test_each_contender_s_part_is_filled_in(self) -> None:
        there = list(contenders.CONTENDERS.values())
        values = dict.fromkeys(("memcached", "lua_address", "root", "origin", "uwsgi", "application"), "X")
        ports = {one.name: 1000 + nth for nth, one in enumerate(there)} | {"origin": 999}
        conf = nginx_conf(
            there, ports, values,
            module="our.so", modules_folder="modules", workers=1, user="", descriptors=1024,
        )
        self.assertNotIn("$$", conf)
        self.assertIn("pagecache_key      \"$uri\";", conf)
        self.assertEqual(conf.count("{"), conf.count("}"))
        self.assertLess(conf.index("ndk_http_module"), conf.index("ngx_http_lua_module"))

    def test_each_cell_has_usual_contenders(self) -> None:
        for cell in cells.FULL:
            usual = [one.name for one in contenders.CONTENDERS.values() if one.takes(cell, usual=True)]
            self.assertTrue(usual, cell.name)

    def test_both_of_a_bar_are_measured_at_its_cells(self) -> None:
        for bar in bars.BARS:
            for cell in cells.select(cells.FULL, list(bar.cells)):
                for name in {bar.contender, bar.base} - {""}:
                    self.assertTrue(contenders.CONTENDERS[name].takes(cell, usual=True), f"{cell.name} {name}")

    def test_only_the_cells_for_it_are_compressed_and_encrypted(self) -> None:
        one = contenders.CONTENDERS["ours"]
        values = dict.fromkeys(("memcached", "root", "application"), "X")
        shared = {"module": "our.so", "modules_folder": "", "workers": 1, "user": "", "descriptors": 1024}
        for work, gzip, tls in (("plain", False, False), ("gzip", True, False), ("h2", True, True)):
            conf = nginx_conf([one], {"ours": 1, "origin": 2}, values, work=work, **shared)
            self.assertEqual(("gzip on" in conf, "1 ssl http2" in conf), (gzip, tls), work)


class Keep(unittest.TestCase):
    def test_tables_show_what_is_kept(self) -> None:
        found = results(*(sample(name, 0, 1, 1) for name in ("return200", "stock", "ours")))
        found.cells.append(Cell("miss/c64", "closed", hit=False))
        found.keep([CELL], ["ours", "stock"])
        self.assertEqual(found.measured(CELL.name), ["stock", "ours"])
        self.assertNotIn("miss/c64", report.markdown(found))

    def test_all_contenders_unless_some_are_named(self) -> None:
        found = results(sample("stock", 0, 1, 1), sample("ours", 0, 1, 1))
        found.keep([CELL], None)
        self.assertEqual(found.measured(CELL.name), ["stock", "ours"])


class Limits(unittest.TestCase):
    def test_nobody(self) -> None:
        self.assertEqual(results(sample("ours", 0, 100_000, 9.5)).limits(CELL, "ours"), "")

    def test_the_generator(self) -> None:
        found = results(sample("ours", 0, 100_000, 9.5, generator_cpu=0.97))
        self.assertEqual(found.limits(CELL, "ours"), "generator")

    def test_servers_that_wait(self) -> None:
        found = results(sample("ours", 0, 50_000, 9.5))
        self.assertEqual(found.limits(CELL, "ours"), "waiting")
        few = Cell("hit/100B/c64", "closed", 100, 4)
        self.assertEqual(found.limits(few, "ours"), "")

    def test_servers_that_share_a_core_are_busy_together(self) -> None:
        found = results(sample("ours", 0, 85_000, 9.0))
        self.assertEqual(found.limits(CELL, "ours"), "waiting")
        found.settings["cores"] = {"nginx": 0, "memcached": 0, "load": 1}
        self.assertEqual(found.limits(CELL, "ours"), "")

    def test_others_on_the_machine(self) -> None:
        found = results(
            sample("ours", 0, 1, 1),
            sample("ours", 1, 1, 1, others_cpu=0.2),
            sample("ours", 2, 1, 1, stolen=0.1),
        )
        self.assertEqual([one.repeat for one in found.disturbed()], [1, 2])


class Bars(unittest.TestCase):
    def words(self, found: Results) -> dict[str, str]:
        return {f"{one.bar.quantity}/{one.bar.base}": one.word for one in bars.verdicts(found)}

    def test_reached(self) -> None:
        found = results(
            *(sample("stock", nth, 50_000, 19.0) for nth in range(3)),
            *(sample("ours", nth, 100_000, 9.5) for nth in range(3)),
            *(sample("return200", nth, 120_000, 8.0) for nth in range(3)),
        )
        words = self.words(found)
        self.assertEqual(words["rps/stock"], "reached")
        self.assertEqual(words["nginx_us/stock"], "reached")
        self.assertEqual(words["nginx_us/return200"], "reached")
        self.assertEqual(words["memcached_us/stock"], "missed")

    def test_missed_for_the_load_s_sake(self) -> None:
        ours = sample("ours", 0, 80_000, 9.5, generator_cpu=0.99)
        found = results(sample("stock", 0, 50_000, 19.0), ours)
        self.assertEqual(self.words(found)["rps/stock"], "missed: generator")

    def test_repeats_that_do_not_agree(self) -> None:
        found = results(
            *(sample("stock", nth, 50_000, 19.0) for nth in range(3)),
            sample("ours", 0, 100_000, 9.5), sample("ours", 1, 91_000, 9.5), sample("ours", 2, 70_000, 9.5),
        )
        self.assertEqual(self.words(found)["rps/stock"], "reached, within the spread")

    def test_failed(self) -> None:
        found = results(sample("stock", 0, 50_000, 19.0), sample("ours", 0, 1, 1, failed="status 502"))
        self.assertEqual(set(self.words(found).values()), {"missed: failed"})


class Report(unittest.TestCase):
    def test_tables(self) -> None:
        found = results(
            sample("stock", 0, 50_000, 19.0), sample("ours", 0, 100_000, 9.5),
            sample("ours-b", 0, 110_000, 9.0), sample("memc", 0, 1, 1, failed="status 502"),
        )
        found.calls.append(Calls(CELL.name, "ours", 2.5, 0.1))
        text = report.markdown(found)
        row = "| this module | 100,000 ± 0 % | 2.00 | 100 µs | 900 µs | 9.5 | 0.50 | 2.0 | 2.50 |"
        self.assertIn(row, text)
        self.assertIn("failed: status 502", text)
        self.assertIn("1.100 (1.100 to 1.100), 1/1", text)
        for block in text.split("\n\n"):
            rows = [line.count("|") for line in block.splitlines() if line.startswith("|")]
            self.assertLessEqual(len(set(rows)), 1, block)

    def test_the_file_has_all_of_it(self) -> None:
        found = results(sample("stock", 0, 50_000, 19.0), sample("ours", 0, 100_000, 9.5))
        found.capacity[100] = 50_000.0
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "new", "run.json")
            report.write_json(found, file)
            self.assertEqual(report.read_json(file), found)
            self.assertEqual(json.loads(file.read_text())["machine"]["cpu"], "CPU")


if __name__ == "__main__":
    unittest.main()
