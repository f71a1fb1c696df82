"""Runs scripts/check-borders on small made-up trees: check_borders_test.py SCRIPT."""

import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)


class CheckBorders(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = os.path.realpath(self.folder.name)
        self.table = os.path.join(self.root, "borders.txt")
        open(self.table, "w").close()

    def write(self, path, text=""):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def target(self, name, folder, sources, links="", interface="", kind="STATIC_LIBRARY"):
        fields = [name, kind, os.path.join(self.root, folder), sources, links, interface]
        with open(self.table, "a") as table:
            table.write("\t".join(fields) + "\n")

    def check(self):
        return self.run_script(self.table)

    def run_script(self, *arguments):
        command = [sys.executable, SCRIPT, *arguments, "--root", self.root]
        result = subprocess.run(command, capture_output=True, text=True)
        return result.returncode, result.stderr

    def assert_passes(self):
        self.assertEqual(self.check(), (0, ""))

    def assert_fails(self, *messages):
        code, errors = self.check()
        self.assertEqual(code, 1, errors)
        for message in messages:
            self.assertIn(message, errors)

    def base_and_json(self, links="", interface=""):
        self.target("denoise_base", "core/base", "a.cc")
        self.target("denoise_json", "core/json", "j.cc", links, interface)
        self.write("core/base/a.cc", '#include "core/base/a.h"\n')
        self.write("core/base/a.h")
        self.write("core/json/j.cc", '#include "core/json/j.h"\n')
        self.write("core/json/j.h", '\n#include "core/base/a.h"\n')

    def test_a_linked_folder_may_be_included(self):
        self.base_and_json("denoise::base", "denoise::base")
        self.assert_passes()

    def test_a_folder_that_is_not_linked_may_not(self):
        self.base_and_json()
        self.assert_fails('core/json/j.h:2: "core/base/a.h" needs a link to denoise_base')

    def test_public_links_pass_headers_on(self):
        self.base_and_json("denoise::base", "denoise::base")
        self.target("denoise_nn", "core/nn", "n.cc", "denoise::json")
        self.write("core/nn/n.cc", '#include "core/json/j.h"\n#include "core/base/a.h"\n')
        self.assert_passes()

    def test_private_links_do_not(self):
        self.base_and_json("denoise::base", "$<LINK_ONLY:denoise::base>")
        self.target("denoise_nn", "core/nn", "n.cc", "denoise::json")
        self.write("core/nn/n.cc", '#include "core/json/j.h"\n')
        self.assert_fails(
            'core/json/j.h:2: "core/base/a.h" needs a link to denoise_base that is '
            "missing from: denoise_nn"
        )

    def test_a_listed_header_belongs_to_the_target_that_lists_it(self):
        self.target("denoise_network", "core/nn", "network.h", kind="INTERFACE_LIBRARY")
        self.target("denoise_nn", "core/nn", "unet.cc", "denoise::network", "denoise::network")
        self.target("denoise_diffusion", "core/diffusion", "d.cc", "denoise::network")
        self.write("core/nn/network.h")
        self.write("core/nn/unet.h")
        self.write("core/nn/unet.cc", '#include "core/nn/unet.h"\n#include "core/nn/network.h"\n')
        self.write("core/diffusion/d.cc", '#include "core/nn/network.h"\n')
        self.assert_passes()
        self.write("core/diffusion/d.cc", '#include "core/nn/unet.h"\n')
        self.assert_fails('core/diffusion/d.cc:1: "core/nn/unet.h" needs a link to denoise_nn')

    def test_targets_of_one_folder_may_include_all_its_headers(self):
        self.target("denoise_device", "core/device", "runtime.cc")
        self.target("denoise_cuda", "core/device", "cuda.cc", kind="MODULE_LIBRARY")
        self.write("core/device/runtime.h")
        self.write("core/device/runtime.cc", '#include "core/device/runtime.h"\n')
        self.write("core/device/cuda.cc", '#include "core/device/runtime.h"\n')
        self.assert_passes()

    def test_libraries_from_outside_must_be_linked(self):
        self.target("denoise_rpc", "server/rpc", "r.cc", "gRPC::grpc++")
        self.write("server/rpc/r.cc", "#include <grpcpp/grpcpp.h>\n#include <vector>\n")
        self.assert_passes()
        self.write("server/rpc/r.cc", "\n\n#include <ATen/ATen.h>\n")
        self.assert_fails("server/rpc/r.cc:3: <ATen/ATen.h> needs a link to LibTorch::")

    def test_generated_messages_belong_to_the_contract(self):
        self.target("denoise_rpc", "server/rpc", "r.cc")
        self.write("server/rpc/r.cc", '#include "denoised/v1/models.pb.h"\n')
        self.assert_fails(
            "server/rpc/r.cc:1: <denoised/v1/models.pb.h> needs a link to denoise_proto"
        )

    def test_some_folders_do_without_libtorch_however_indirectly(self):
        self.target("denoise_tensors", "core/tensors", "t.cc", "LibTorch::torch")
        self.target(
            "denoise_image",
            "core/image",
            "i.cc",
            "denoise::tensors",
            "$<LINK_ONLY:denoise::tensors>",
        )
        self.target("denoise_cli", "client/cli", "c.cc", "denoise::image")
        self.target("denoise_scheduling", "server/scheduling", "s.cc", "denoise::tensors")
        self.assert_fails(
            "core/image/CMakeLists.txt: core/image does without LibTorch",
            "server/scheduling/CMakeLists.txt: server/scheduling does without LibTorch",
            "client/cli/CMakeLists.txt: client does without LibTorch",
        )

    def test_core_engine_and_scheduler_do_not_know_the_contract(self):
        self.target("denoise_proto", "proto", "p.proto", "protobuf::libprotobuf")
        self.target("denoise_engine", "server/engine", "e.cc", "denoise::proto")
        self.target("denoise_train", "core/train", "t.cc", "gRPC::grpc++")
        self.target("denoise_scheduling", "server/scheduling", "s.cc", "denoise::proto")
        self.assert_fails(
            "server/engine/CMakeLists.txt: the engine does not know the contract",
            "core/train/CMakeLists.txt: core does not know the contract",
            "server/scheduling/CMakeLists.txt: the scheduler does not know the contract",
        )

    def test_helpers_of_tests_are_for_tests(self):
        self.target("denoise_base", "core/base", "a.cc")
        self.target("base_test", "tests/core/base", "a_test.cc", kind="EXECUTABLE")
        self.write("core/base/a.cc", '#include "tests/support/fake_clock.h"\n')
        self.write("tests/core/base/a_test.cc", '#include "tests/support/fake_clock.h"\n')
        self.write("tests/support/fake_clock.h")
        self.assert_fails('core/base/a.cc:1: "tests/support/fake_clock.h" is for tests')
        self.write("core/base/a.cc")
        self.assert_passes()

    def test_without_a_table_it_says_what_to_do(self):
        os.remove(self.table)
        code, errors = self.run_script()
        self.assertEqual(code, 2)
        self.assertIn("Run cmake --preset release first", errors)


if __name__ == "__main__":
    unittest.main()
