// Layer norm, alone or fused with the residual addition before it: sum = x + keep * branch, y = norm(sum), in one pass
// over memory each way.
#include "ops/layer-norm.h"

#include <algorithm>

#include "cpu/lots.h"
#include "cpu/operations.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

template <bool residual>
Kernel norm(const Operands& operands) {
  return [o = NormOperands(operands, residual)] {
    parallelFor(o.rows, rowsPerPart(o.n), [&](int64_t row) {
      const int64_t at = row * o.n;
      if constexpr (residual) addScaled(o.x.f32() + at, o.keep.of(row), o.branch.f32() + at, o.sum.f32() + at, o.n);
      normalize(o.sum.f32() + at, o.gamma.f32(), o.beta.f32(), o.epsilon, o.y.f32() + at, o.stats.f32() + 2 * row, o.n);
    });
  };
}

// Sums of the gradients of gamma and beta by part of the rows, added up in the order of the parts.
struct Partials {
  int64_t rows, n, rowsInPart;
  View lots;

  Partials(Scratch& scratch, int64_t rows, int64_t n)
      : rows(rows), n(n), rowsInPart(rowsPerPart(n)), lots(takeLots(scratch, divideUp(rows, rowsInPart), 2 * n)) {}

  // Calls body(row, sum of dgamma, sum of dbeta) for all rows, then adds the sums to dgamma and dbeta.
  template <typename Body>
  void forRows(float* dgamma, float* dbeta, Body body) const {
    parallelRanges(rows, rowsInPart, [&](int64_t begin, int64_t end) {
      float* sums = lots.f32() + begin / rowsInPart * lots.last();
      std::fill_n(sums, 2 * n, 0.0f);
      for (int64_t row = begin; row < end; row++) body(row, sums, sums + n);
    });
    for (int64_t part = 0; part < lots.rows(); part++) {
      const float* sums = lots.f32() + part * lots.last();
      accumulate(sums, dgamma, n);
      accumulate(sums + n, dbeta, n);
    }
  }
};

template <bool residual>
Kernel normGradient(const Operands& operands) {
  const NormGradientOperands checked(operands, residual);
  return [o = checked, partials = Partials(*operands.scratch, checked.rows, checked.n)] {
    partials.forRows(o.dgamma.f32(), o.dbeta.f32(), [&](int64_t row, float* gammaSum, float* betaSum) {
      const int64_t at = row * o.n;
      const float* dsum = residual ? o.dsum.f32() + at : nullptr;
      normalizeGradient(o.dy.f32() + at, o.sum.f32() + at, o.stats.f32() + 2 * row, o.gamma.f32(), dsum,
                        o.dx.f32() + at, gammaSum, betaSum, o.n);
      if (!o.branched) return;
      const float factor = o.keep.of(row);
      for (int64_t i = 0; i < o.n; i++) o.dbranch.f32()[at + i] = factor * o.dx.f32()[at + i];
    });
  };
}

Kernel keepBranch(const Operands& operands) {
  return [o = KeepBranchOperands(operands)] {
    const int64_t n = o.dx.last();
    parallelFor(o.dx.rows(), rowsPerPart(n), [&](int64_t row) {
      const float factor = o.keep.of(row);
      for (int64_t i = row * n; i < (row + 1) * n; i++) o.y.f32()[i] = factor * o.dx.f32()[i];
    });
  };
}

}  // namespace

std::vector<Implementation> layerNorm() {
  return {{"layerNorm", {"epsilon"}, norm<false>},
          {"residualNorm", {"epsilon", "path"}, norm<true>},
          {"layerNormGradient", {}, normGradient<false>},
          {"residualNormGradient", {"path"}, normGradient<true>},
          {"keepBranch", {"path"}, keepBranch}};
}

}  // namespace autoprog::cpu
