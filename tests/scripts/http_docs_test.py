"""Runs every command of docs/http.md, as it is printed there, against the server.

    http_docs_test.py DENOISED
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

DOCUMENT = pathlib.Path("docs/http.md").resolve()
MODELS = pathlib.Path("deploy/models").resolve()
PRINTED = "http://127.0.0.1:8080"
PATIENCE_SECONDS = 180


def commands():
    """The blocks of shell commands that use curl, by the heading they are under."""
    heading = ""
    text = DOCUMENT.read_text(encoding="utf-8")
    for match in re.finditer(r"^#+ ([^\n]*)$|^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        heading = match[1] or heading
        if match[2] and match[2].startswith("curl"):
            yield heading, match[2].strip()


class HttpDocs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen(
            [DENOISED, "--models", MODELS, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.address = next(line.removeprefix("http on ").strip() for line in cls.server.stdout
                           if line.startswith("http on "))

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait(PATIENCE_SECONDS)
        cls.server.stdout.close()

    def run_command(self, command, folder):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace(PRINTED, f"http://{self.address}")],
            cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")
        return done.stdout

    def test_every_command_does_what_the_page_says(self):
        seen = list(commands())
        self.assertGreaterEqual(len(seen), 8)
        for heading, command in seen:
            with self.subTest(command), tempfile.TemporaryDirectory() as folder:
                output = self.run_command(command, folder)
                image = pathlib.Path(folder) / "image.png"
                if "image.png" in command:
                    self.assertTrue(image.read_bytes().startswith(b"\x89PNG"))
                elif "denoised.v1" in command:
                    messages = [json.loads(line) for line in output.splitlines()]
                    self.assertTrue(messages)
                    self.assertEqual("code" in messages[0], heading == "Errors", output)
                    if "frames" in command:
                        self.assertTrue(any("frame" in message for message in messages))
                        self.assertIn("finished", messages[-1])
                else:
                    self.assertTrue(output)


if __name__ == "__main__":
    DENOISED = sys.argv.pop(1)
    unittest.main()
