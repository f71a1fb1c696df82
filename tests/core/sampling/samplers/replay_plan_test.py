"""Replays `denoise plan --json` as docs/plan.md says, and compares with samplers written from their papers.

Usage: replay_plan_test.py DENOISE, where DENOISE is the path of the command. Needs numpy and nothing else.

The data is Gaussian, so that the best denoiser, and with it the network, is known exactly.
"""

import json
import subprocess
import sys
import tempfile
import unittest

import numpy as np

MEAN, DEVIATION = 0.4, 0.6
DENOISE = None


def compile_plan(*flags):
    command = [DENOISE, "plan", "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command} answered {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def compile_plan_of(config, *flags):
    """The plan over the noise schedule of a scheduler_config.json."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        return compile_plan("--scheduler-config", file.name, *flags)


def alphas_cumprod():
    """The schedule that `denoise plan` takes when it is given none."""
    return np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def levels(t):
    """alpha and sigma at a timestep; below 0 there is no noise left."""
    alpha_cumprod = alphas_cumprod()[int(t)] if t >= 0 else 1.0
    return np.sqrt(alpha_cumprod), np.sqrt(1 - alpha_cumprod)


def denoised(x, alpha, sigma):
    """E[x0 | x]"""
    return MEAN + alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2) * (x - alpha * MEAN)


def predicted_noise(x, t):
    alpha, sigma = levels(t)
    return (x - alpha * denoised(x, alpha, sigma)) / sigma


def predicted_velocity(x, t):
    alpha, sigma = levels(t)
    x0 = denoised(x, alpha, sigma)
    return alpha * (x - alpha * x0) / sigma - sigma * x0


def replay(plan, network, x, draw=None):
    """The loop of docs/plan.md."""
    slots = np.zeros((plan["slots"], x.size))
    slots[0] = plan["init_noise_scale"] * x
    for evaluation in plan["evaluations"]:
        output = network(evaluation["input_scale"] * slots[0], evaluation["timestep"])
        x0 = evaluation["x0_from_state"] * slots[0] + evaluation["x0_from_output"] * output
        clip = evaluation["clip"]
        if clip is not None and "min" in clip:
            x0 = np.clip(x0, clip["min"], clip["max"])
        elif clip is not None:
            s = np.clip(np.quantile(np.abs(x0), clip["dynamic_ratio"]), 1, clip["max_value"])
            x0 = np.clip(x0, -s, s) / s
        slots = np.array(evaluation["update"]) @ np.vstack([slots, x0, output])
        if evaluation["noise_scale"] != 0:
            slots[0] += evaluation["noise_scale"] * draw(x.size)
    return slots[0]


def noise(seed):
    return np.random.default_rng(seed).standard_normal


class ReplayedPlans(unittest.TestCase):
    def setUp(self):
        self.x = noise(1)(256)

    def assert_close(self, actual, expected, tolerance=1e-9):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)

    def ddim(self, timesteps, eta=0.0, clip=np.inf, clipped_direction=False, draw=None):
        """Song et al. 2021, eq. 12, from each timestep to the next one listed."""
        x = self.x
        for t, previous in zip(timesteps, list(timesteps[1:]) + [-1]):
            (alpha, sigma), (alpha_next, sigma_next) = levels(t), levels(previous)
            epsilon = predicted_noise(x, t)
            x0 = np.clip((x - sigma * epsilon) / alpha, -clip, clip)
            if clipped_direction:
                epsilon = (x - alpha * x0) / sigma
            s = eta * sigma_next / sigma * np.sqrt(1 - (alpha / alpha_next) ** 2)
            x = alpha_next * x0 + np.sqrt(sigma_next**2 - s**2) * epsilon
            if s > 0:
                x = x + s * draw(x.size)
        return x

    def test_ddim_with_custom_timesteps(self):
        plan = compile_plan(
            "--sampler", "ddim", "--timesteps", "999,700,300,50,0", "--clip-sample", "false"
        )
        expected = self.ddim([999, 700, 300, 50, 0])
        self.assert_close(replay(plan, predicted_noise, self.x), expected)

    def test_ddim_with_leading_timesteps_noise_and_clip(self):
        for clipped_direction in (False, True):
            plan = compile_plan(
                "--sampler",
                "ddim",
                "--steps",
                "10",
                "--eta",
                "0.7",
                "--clip-sample",
                "true",
                "--clip-sample-range",
                "0.8",
                "--use-clipped-model-output",
                str(clipped_direction).lower(),
            )
            expected = self.ddim(range(900, -1, -100), 0.7, 0.8, clipped_direction, noise(2))
            self.assert_close(replay(plan, predicted_noise, self.x, noise(2)), expected)

    def test_ddpm(self):
        plan = compile_plan("--sampler", "ddpm", "--steps", "20", "--clip-sample", "false")
        draw, x = noise(3), self.x
        for t in range(950, -1, -50):
            # Ho et al. 2020, eq. 6 and 7.
            abar, abar_next = levels(t)[0] ** 2, levels(t - 50)[0] ** 2
            beta = 1 - abar / abar_next
            x0 = denoised(x, *levels(t))
            mean = (np.sqrt(abar_next) * beta * x0 + np.sqrt(1 - beta) * (1 - abar_next) * x) / (
                1 - abar
            )
            x = mean
            if t > 0:
                x = mean + np.sqrt((1 - abar_next) / (1 - abar) * beta) * draw(x.size)
        self.assert_close(replay(plan, predicted_noise, self.x, noise(3)), x)

    def dpm_solver_pp_2m(self, timesteps, threshold=None):
        """Lu et al. 2022b, algorithm 2; the first and the last step are of order 1."""
        x, last_x0, last_lambda = self.x, None, None
        for i, t in enumerate(timesteps):
            alpha, sigma = levels(t)
            x0 = denoised(x, alpha, sigma)
            if threshold is not None:
                s = np.clip(np.quantile(np.abs(x0), threshold[0]), 1, threshold[1])
                x0 = np.clip(x0, -s, s) / s
            if i + 1 == len(timesteps):
                return x0
            alpha_next, sigma_next = levels(timesteps[i + 1])
            lam, lam_next = np.log(alpha / sigma), np.log(alpha_next / sigma_next)
            h = lam_next - lam
            d = x0
            if i > 0:
                r = (lam - last_lambda) / h
                d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * last_x0
            x = sigma_next / sigma * x - alpha_next * np.expm1(-h) * d
            last_x0, last_lambda = x0, lam
        return x

    def test_dpm_solver_pp_2m(self):
        timesteps = np.rint(np.linspace(0, 999, 11))[:0:-1]
        plan = compile_plan("--sampler", "dpmpp_2m", "--steps", "10")
        self.assertEqual([e["timestep"] for e in plan["evaluations"]], timesteps.tolist())
        self.assert_close(replay(plan, predicted_noise, self.x), self.dpm_solver_pp_2m(timesteps))

    def test_dpm_solver_pp_2m_of_a_network_that_predicts_v(self):
        timesteps = [999, 800, 650, 400, 200, 20]
        plan = compile_plan(
            "--sampler",
            "dpmpp_2m",
            "--timesteps",
            ",".join(map(str, timesteps)),
            "--prediction-type",
            "v_prediction",
        )
        self.assert_close(
            replay(plan, predicted_velocity, self.x), self.dpm_solver_pp_2m(timesteps)
        )

    def test_dynamic_thresholding(self):
        timesteps = [999, 800, 650, 400, 200, 20]
        plan = compile_plan(
            "--sampler",
            "dpmpp_2m",
            "--timesteps",
            ",".join(map(str, timesteps)),
            "--thresholding",
            "true",
            "--dynamic-thresholding-ratio",
            "0.9",
            "--sample-max-value",
            "1.5",
        )
        self.assertEqual(plan["evaluations"][0]["clip"], {"dynamic_ratio": 0.9, "max_value": 1.5})
        self.assert_close(
            replay(plan, predicted_noise, self.x), self.dpm_solver_pp_2m(timesteps, (0.9, 1.5))
        )

    def test_heun_on_the_schedule_of_edm(self):
        # Karras et al. 2022, algorithm 1, with its network F (table 1).
        plan = compile_plan_of(
            {"_class_name": "EDMEulerScheduler"}, "--sampler", "heun", "--steps", "18"
        )
        sigma_data = 0.5

        def network(c_in_x, t):
            sigma = np.exp(4 * t)
            variance = sigma**2 + sigma_data**2
            x = c_in_x * np.sqrt(variance)
            x0 = denoised(x, 1, sigma)
            return (x0 - sigma_data**2 / variance * x) / (sigma * sigma_data / np.sqrt(variance))

        root = np.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 18)
        sigmas = [*root**7, 0]
        x = np.hypot(80, 1) * self.x
        for sigma, next_sigma in zip(sigmas, sigmas[1:]):
            slope = (x - denoised(x, 1, sigma)) / sigma
            euler = x + (next_sigma - sigma) * slope
            if next_sigma > 0:
                slope = (slope + (euler - denoised(euler, 1, next_sigma)) / next_sigma) / 2
            x = x + (next_sigma - sigma) * slope
        self.assert_close(replay(plan, network, self.x), x, 1e-7)

    def test_flow_matching(self):
        def velocity(x, t):
            x0 = denoised(x, 1 - t / 1000, t / 1000)
            return (x - x0) / (t / 1000)

        for sampler, shift in (("euler", 1), ("euler", 3), ("heun", 3)):
            with self.subTest((sampler, shift)):
                plan = compile_plan_of(
                    {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": shift},
                    "--sampler",
                    sampler,
                    "--steps",
                    "10",
                )

                def shifted(sigma):
                    return shift * sigma / (1 + (shift - 1) * sigma)

                sigmas = [*shifted(np.linspace(1, shifted(0.001), 10)), 0]
                x = self.x
                for sigma, next_sigma in zip(sigmas, sigmas[1:]):
                    v = velocity(x, 1000 * sigma)
                    if sampler == "heun" and next_sigma > 0:
                        v = (v + velocity(x + (next_sigma - sigma) * v, 1000 * next_sigma)) / 2
                    x = x + (next_sigma - sigma) * v
                self.assert_close(replay(plan, velocity, self.x), x)

    def test_every_solver_follows_the_exact_flow(self):
        # The probability flow of Gaussian data keeps each sample as many standard deviations from
        # the mean.
        alpha, sigma = levels(999)
        deviations = (self.x - alpha * MEAN) / np.sqrt(alpha**2 * DEVIATION**2 + sigma**2)
        alpha, sigma = levels(0)
        expected = alpha * MEAN + np.sqrt(alpha**2 * DEVIATION**2 + sigma**2) * deviations
        for sampler in (
            "dpm_solver_2",
            "dpm_solver_3",
            "dpmpp_2m",
            "dpmpp_3m",
            "dpmpp_2s",
            "dpmpp_3s",
            "deis",
            "unipc_1",
            "unipc_2",
            "unipc_3",
        ):
            with self.subTest(sampler):
                plan = compile_plan(
                    "--sampler", sampler, "--steps", "400", "--final-sigma", "sigma_min"
                )
                self.assert_close(replay(plan, predicted_noise, self.x), expected, 2e-3)

    def test_stochastic_samplers_reach_the_data_distribution(self):
        x = noise(4)(20000)
        for flags in (
            ("--sampler", "dpmpp_sde"),
            ("--sampler", "vp_sde"),
            ("--sampler", "ddim", "--eta", "1", "--clip-sample", "false"),
            ("--sampler", "ddpm", "--clip-sample", "false"),
            ("--sampler", "euler_a", "--timestep-spacing", "leading"),
        ):
            with self.subTest(flags[1]):
                sample = replay(
                    compile_plan(*flags, "--steps", "250"), predicted_noise, x, noise(5)
                )
                self.assertAlmostEqual(sample.mean(), MEAN, delta=0.02)
                self.assertAlmostEqual(sample.std(), DEVIATION, delta=0.02)

    def test_learned_variance_is_left_to_the_network(self):
        plan = compile_plan("--sampler", "ddpm", "--steps", "4", "--variance-type", "learned_range")
        bounds = plan["evaluations"][0]["noise_scale"]
        self.assertLess(bounds["log_variance_min"], bounds["log_variance_max"])
        self.assertEqual(plan["evaluations"][-1]["noise_scale"], 0)

    def test_what_cannot_be_is_refused(self):
        for flags in (
            ("--steps", "0"),
            ("--sampler", "euler_b"),
            ("--sampler", "ddpm", "--eta", "1"),
            ("--timesteps", "100,200"),
            ("--steps", "3", "--timesteps", "9"),
            ("--eta", "nan"),
            ("--scheduler-config", "/nonexistent"),
        ):
            with self.subTest(flags):
                done = subprocess.run(
                    [DENOISE, "plan", *flags], capture_output=True, text=True, check=False
                )
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertIn("--", done.stderr)


if __name__ == "__main__":
    DENOISE = sys.argv.pop(1)
    unittest.main()
