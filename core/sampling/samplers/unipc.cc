// UniPC (Zhao et al. 2023): a multistep predictor, and a corrector that repeats the last step with
// the prediction made at its end, without an extra network call. What is predicted and expanded is
// x0, in z = -h, or the noise, in z = h (`predict_x0`).
//
// Slot 0 is the predicted x, slot 1 the corrected x one step ago, and slot 2 + j the prediction j +
// 1 steps ago.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/sampling/samplers/linear_form.h"
#include "core/sampling/samplers/noise_path.h"

namespace denoise {
namespace {

constexpr int kLastState = 1;
constexpr int kHistory = 2;

// Solves sum_k rho_k * nodes_k^j = moments_j for j = 0, 1, ..., a Vandermonde system of at most
// three distinct nodes, by Gaussian elimination with pivoting.
std::vector<double> SolveMoments(const std::vector<double>& nodes, std::vector<double> moments) {
  const size_t n = nodes.size();
  std::vector<std::vector<double>> rows(n, std::vector<double>(n, 1.0));
  for (size_t j = 1; j < n; ++j) {
    for (size_t k = 0; k < n; ++k) rows[j][k] = rows[j - 1][k] * nodes[k];
  }
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column; row < n; ++row) {
      if (std::abs(rows[row][column]) > std::abs(rows[pivot][column])) pivot = row;
    }
    std::swap(rows[column], rows[pivot]);
    std::swap(moments[column], moments[pivot]);
    for (size_t row = column + 1; row < n; ++row) {
      const double factor = rows[row][column] / rows[column][column];
      for (size_t k = column; k < n; ++k) rows[row][k] -= factor * rows[column][k];
      moments[row] -= factor * moments[column];
    }
  }
  for (size_t row = n; row-- > 0;) {
    for (size_t k = row + 1; k < n; ++k) moments[row] -= rows[row][k] * moments[k];
    moments[row] /= rows[row][row];
  }
  return moments;
}

// One step of the unified formula (Zhao et al. 2023, section 3) from `x` at path[step].from to
// path[step].to.
class UnifiedStep {
 public:
  UnifiedStep(const NoisePath& path, size_t step, int order, const SamplerOptions& options)
      : s_(path[step].from), t_(path[step].to), order_(order), x0_(!ExpandsNoise(options)) {
    if (order == 1 && t_.sigma == 0)
      return;  // h is infinite, and the first-order step does not need it
    h_ = t_.lambda() - s_.lambda();
    z_ = x0_ ? -h_ : h_;
    b_ = ResolvedSolverType(options) == SolverType::kBh1 ? z_ : std::expm1(z_);
    for (int back = 1; back < order; ++back) {
      nodes_.push_back((path[step - back].from.lambda() - s_.lambda()) / h_);
    }
  }

  // UniP. `m` are the predictions at the step's start and at the order - 1 steps before it.
  LinearForm Predict(const LinearForm& x, const std::vector<LinearForm>& m) const {
    const LinearForm base = FirstOrder(x, m[0]);
    if (order_ == 1) return base;
    // For order 2 any weight works; 1/2 is the paper's choice.
    const std::vector<double> rhos =
        order_ == 2 ? std::vector<double>{0.5} : SolveMoments(nodes_, Moments(order_ - 1));
    return base - Scale() * b_ * Differences(m, rhos);
  }

  // UniC. `m_end` is the prediction at the step's end.
  LinearForm Correct(const LinearForm& x, const std::vector<LinearForm>& m,
                     const LinearForm& m_end) const {
    std::vector<double> rhos = {0.5};
    if (order_ > 1) {
      std::vector<double> nodes = nodes_;
      nodes.push_back(1);
      rhos = SolveMoments(nodes, Moments(order_));
    }
    const double rho_end = rhos.back();
    rhos.pop_back();
    return FirstOrder(x, m[0]) - Scale() * b_ * (Differences(m, rhos) + rho_end * (m_end - m[0]));
  }

 private:
  double Scale() const { return x0_ ? t_.alpha : t_.sigma; }

  LinearForm FirstOrder(const LinearForm& x, const LinearForm& m0) const {
    if (!x0_) {
      return (t_.alpha / s_.alpha) * x + (t_.sigma - t_.alpha * s_.sigma / s_.alpha) * m0;
    }
    return (t_.sigma / s_.sigma) * x + (t_.alpha - t_.sigma * s_.alpha / s_.sigma) * m0;
  }

  // sum_k rho_k * (m_k - m_0) / node_k
  LinearForm Differences(const std::vector<LinearForm>& m, const std::vector<double>& rhos) const {
    LinearForm sum;
    for (size_t k = 0; k < rhos.size(); ++k) sum += (rhos[k] / nodes_[k]) * (m[k + 1] - m[0]);
    return sum;
  }

  // j! * z * phi_{j+1}(z) / B(h) for j = 1, 2, ..., where phi_1(z) = (e^z - 1) / z and
  // phi_{j+1}(z) = (phi_j(z) - 1 / j!) / z.
  std::vector<double> Moments(int count) const {
    std::vector<double> moments;
    double phi = std::expm1(z_) / z_;
    double factorial = 1;
    for (int j = 1; j <= count; ++j) {
      factorial *= j;
      phi = (phi - 1 / factorial) / z_;
      moments.push_back(factorial * z_ * phi / b_);
    }
    return moments;
  }

  NoiseLevel s_;
  NoiseLevel t_;
  int order_;
  bool x0_;  // expands x0, not noise
  double h_ = 0;
  double z_ = 0;
  double b_ = 0;               // B(h)
  std::vector<double> nodes_;  // where the earlier predictions lie, in units of h; all negative
};

// Order p needs p - 1 earlier predictions. The last step has order 1 if its end has no noise (B(h)
// would be infinite) or if it does not move (sigma_min has been reached).
int OrderOfStep(const NoisePath& path, size_t step, const SamplerOptions& options) {
  int order = std::min<int>(options.solver_order, static_cast<int>(step) + 1);
  if (options.lower_order_final) order = std::min(order, static_cast<int>(path.size() - step));
  const Move& move = path[step];
  return move.to.sigma == 0 || move.to.sigma == move.from.sigma ? 1 : order;
}

std::vector<LinearForm> History(int order) {
  std::vector<LinearForm> history;
  for (int j = 0; j < order; ++j) history.push_back(Slot(kHistory + j));
  return history;
}

// The current x, corrected with the network's latest output.
LinearForm CorrectedState(const NoisePath& path, size_t step, const SamplerOptions& options) {
  const std::vector<int>& disabled = options.disable_corrector;
  if (step == 0) return Slot(0);
  const int last_step = static_cast<int>(step) - 1;
  if (std::find(disabled.begin(), disabled.end(), last_step) != disabled.end()) return Slot(0);
  const int order = OrderOfStep(path, step - 1, options);
  return UnifiedStep(path, step - 1, order, options)
      .Correct(Slot(kLastState), History(order), ExpandedValue(path[step].from, options));
}

}  // namespace

SamplerPlan CompileUniPc(const NoisePath& path, const SamplerOptions& options) {
  SamplerPlan plan = StartPlan(path, options.solver_order + 2);
  for (size_t step = 0; step < path.size(); ++step) {
    Evaluation evaluation = StartEvaluation(path[step], options);
    const LinearForm corrected = CorrectedState(path, step, options);

    const int order = OrderOfStep(path, step, options);
    const LinearForm predicted = ExpandedValue(path[step].from, options);
    std::vector<LinearForm> m = History(order - 1);
    m.insert(m.begin(), predicted);
    const LinearForm next = UnifiedStep(path, step, order, options).Predict(corrected, m);

    std::vector<LinearForm> slots = {next, corrected, predicted};
    for (int slot = kHistory + 1; slot < plan.slots; ++slot) slots.push_back(Slot(slot - 1));
    evaluation.update = UpdateMatrix(slots);
    plan.evaluations.push_back(std::move(evaluation));
  }
  return plan;
}

}  // namespace denoise
