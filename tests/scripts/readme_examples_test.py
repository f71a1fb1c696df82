"""README shows the clients' examples exactly as they are: their own tests run them."""

import pathlib
import unittest

EXAMPLES = ["client/python/examples/generate.py", "client/node/examples/generate.js"]
MAX_LINES = 25


class ReadmeExamples(unittest.TestCase):
    def test_examples_are_printed_as_they_are_run(self):
        readme = pathlib.Path("README.md").read_text(encoding="utf-8")
        for name in EXAMPLES:
            with self.subTest(name):
                example = pathlib.Path(name).read_text(encoding="utf-8")
                self.assertIn(f"\n{example}```\n", readme)
                self.assertLessEqual(len(example.splitlines()), MAX_LINES)


if __name__ == "__main__":
    unittest.main()
