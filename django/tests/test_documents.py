"""What the package's README and nginx's example configurations say twice."""

import re
import unittest

from pagecache.args import IgnoredArgs
from tests.processes import ROOT


class IgnoredArguments(unittest.TestCase):
    def test_the_readme_and_each_example_have_one_list(self):
        readme = (ROOT / "django/README.md").read_text(encoding="utf-8")
        (program,) = re.findall(r"^```python\n(PAGECACHE_IGNORE_ARGS = .*?)^```", readme, re.MULTILINE | re.DOTALL)
        settings = {}
        exec(program, settings)
        words = settings["PAGECACHE_IGNORE_ARGS"]
        self.assertEqual(IgnoredArgs.parse(words).words, tuple(words))
        for name in (b"utm_source", b"gclid", b"fbclid", b"msclkid"):
            self.assertTrue(IgnoredArgs.parse(words).has_name(name))

        examples = sorted((ROOT / "nginx-config").glob("*.conf"))
        self.assertGreater(len(examples), 4)
        for example in examples:
            with self.subTest(example.name):
                lines = re.findall(r"^ *pagecache_ignore_args ([^;]*);", example.read_text(encoding="utf-8"), re.MULTILINE)
                self.assertEqual([line.split() for line in lines], [words])


if __name__ == "__main__":
    unittest.main()
