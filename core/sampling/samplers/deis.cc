// DEIS (Zhang & Chen 2023, section 3.3), multistep, of order 1 to 3, its polynomial in log rho.
//
// For x / alpha the diffusion ODE is d(x / alpha) / drho = epsilon with rho = sigma / alpha.
// Between the step's start and end, epsilon is approximated by the polynomial in log rho through
// the last predictions and integrated exactly:
//
//     x_t / alpha_t = x_s / alpha_s + sum_j C_j epsilon_j,  C_j = integral of L_j(log rho) drho
//
// where L_j are Lagrange's polynomials. Slot 0 is x; slot j is the noise predicted j steps ago.
#include <cmath>
#include <vector>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

// The coefficients, constant first, of the polynomial that is 1 at nodes[j] and 0 at the others.
std::vector<double> LagrangePolynomial(const std::vector<double>& nodes, size_t j) {
  std::vector<double> polynomial = {1};
  for (size_t k = 0; k < nodes.size(); ++k) {
    if (k == j) continue;
    std::vector<double> product(polynomial.size() + 1, 0.0);
    for (size_t power = 0; power < polynomial.size(); ++power) {
      const double coefficient = polynomial[power] / (nodes[j] - nodes[k]);
      product[power + 1] += coefficient;
      product[power] -= coefficient * nodes[k];
    }
    polynomial = std::move(product);
  }
  return polynomial;
}

// The integral of polynomial(u) e^u from 0 to `end`, which may be -inf for a constant. By parts,
// that of u^k e^u is end^k e^end - k times that of u^(k - 1) e^u.
double IntegrateAgainstExponential(const std::vector<double>& polynomial, double end) {
  double moment = std::expm1(end);
  double sum = polynomial[0] * moment;
  for (size_t k = 1; k < polynomial.size(); ++k) {
    const double power = static_cast<double>(k);
    moment = std::pow(end, power) * std::exp(end) - power * moment;
    sum += polynomial[k] * moment;
  }
  return sum;
}

// With u = log(rho / rho_s), drho is rho_s e^u du.
LinearForm NextState(const NoisePath& path, size_t step, int order) {
  const NoiseLevel& s = path[step].from;
  const NoiseLevel& t = path[step].to;
  std::vector<double> nodes;
  for (int back = 0; back < order; ++back)
    nodes.push_back(s.lambda() - path[step - back].from.lambda());
  LinearForm sum = Slot(0) / s.alpha;
  for (int j = 0; j < order; ++j) {
    const double weight = s.ratio() * IntegrateAgainstExponential(LagrangePolynomial(nodes, j),
                                                                  s.lambda() - t.lambda());
    sum += weight * (j == 0 ? NoiseIn(s) : Slot(j));
  }
  return t.alpha * sum;
}

}  // namespace

SamplerPlan CompileDeis(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, options.solver_order);
  for (size_t step = 0; step < path.size(); ++step) {
    std::vector<LinearForm> slots = {NextState(path, step, MultistepOrder(path, step, options))};
    if (plan.slots > 1) slots.push_back(NoiseIn(path[step].from));
    for (int slot = 2; slot < plan.slots; ++slot) slots.push_back(Slot(slot - 1));

    Evaluation evaluation = StartEvaluation(path[step], options);
    evaluation.update = UpdateMatrix(slots);
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
