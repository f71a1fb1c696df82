"""Runs every command of docs/http.md and docs/openai.md, as it is printed there, against the server.

    http_docs_test.py DENOISED
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

DOCUMENTS = {pathlib.Path("docs/http.md").resolve(): 8, pathlib.Path("docs/openai.md").resolve(): 5}
MODELS = pathlib.Path("deploy/models").resolve()
PRINTED = "http://127.0.0.1:8080"
PATIENCE_SECONDS = 180


def commands(document):
    """The blocks of shell commands that use curl, by the heading they are under."""
    heading = ""
    text = document.read_text(encoding="utf-8")
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

    def check_rpc(self, heading, command, output):
        messages = [json.loads(line) for line in output.splitlines()]
        self.assertTrue(messages)
        self.assertEqual("code" in messages[0], heading == "Errors", output)
        if "frames" in command:
            self.assertTrue(any("frame" in message for message in messages))
            self.assertIn("finished", messages[-1])

    def check_openai(self, heading, command, output):
        if "stream" in command:
            names = re.findall(r"^event: (\S+)$", output, re.MULTILINE)
            self.assertEqual(names, 3 * ["image_generation.partial_image"]
                             + ["image_generation.completed"])
        else:
            self.assertEqual("error" in json.loads(output), heading == "Errors", output)

    def check(self, heading, command, folder):
        output = self.run_command(command, folder)
        saved = re.search(r"> (\S+\.png)$", command)
        if saved:
            self.assertTrue((pathlib.Path(folder) / saved[1]).read_bytes().startswith(b"\x89PNG"))
        elif "/denoised.v1" in command:
            self.check_rpc(heading, command, output)
        elif "/v1/" in command:
            self.check_openai(heading, command, output)
        else:
            self.assertTrue(output)

    def test_every_command_does_what_the_page_says(self):
        for document, least in DOCUMENTS.items():
            seen = list(commands(document))
            self.assertGreaterEqual(len(seen), least)
            with tempfile.TemporaryDirectory() as folder:  # a command may use what another saved
                for heading, command in seen:
                    with self.subTest(command):
                        self.check(heading, command, folder)


if __name__ == "__main__":
    DENOISED = sys.argv.pop(1)
    unittest.main()
