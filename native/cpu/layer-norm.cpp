// Layer norm, alone or fused with the residual addition before it: sum = x + keep * branch, y = norm(sum), in one pass
// over memory each way.
#include <algorithm>
#include <memory>

#include "cpu/backend.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

// The factor of a residual branch for the image that holds row `row`: keep (B, paths), or 1 without it.
struct Keep {
  View view;
  bool given = false;
  int64_t path = 0, rowsPerImage = 1;

  float of(int64_t row) const { return given ? view.f32()[row / rowsPerImage * view.last() + path] : 1.0f; }
};

Keep keepOf(const Operands& operands, size_t index, const View& x) {
  Keep keep;
  if (operands.inputs.size() <= index) return keep;
  keep.given = true;
  keep.view = operands.inputs[index];
  const int64_t images = keep.view.extent(0);
  require(keep.view.type == Type::f32 && keep.view.shape.size() == 2 && images > 0 && x.extent(0) == images, "SHAPE",
          "Expected keep factors [batch, paths] but received " + keep.view.describe());
  keep.rowsPerImage = x.rows() / images;
  keep.path = operands.attributes.integer("path", 0, keep.view.last() - 1);
  return keep;
}

void expectNorm(const View& x, const View& gamma) {
  require(x.type == Type::f32 && x.last() > 0, "SHAPE", "Expected f32 rows but received " + x.describe());
  Operands::expect(gamma, Type::f32, x.last(), "gamma");
}

// layerNorm: x (…, C), gamma (C), beta (C) -> y (…, C), stats (rows, 2).
Kernel norm(const Operands& operands) {
  operands.count(3, 2);
  const View x = operands.inputs[0], gamma = operands.inputs[1], beta = operands.inputs[2];
  const View y = operands.outputs[0], stats = operands.outputs[1];
  const float epsilon = static_cast<float>(operands.attributes.number("epsilon"));
  const int64_t n = x.last();
  expectNorm(x, gamma);
  Operands::expect(beta, Type::f32, n, "beta");
  Operands::expect(y, Type::f32, x.size(), "y");
  Operands::expect(stats, Type::f32, 2 * x.rows(), "stats");
  return [=] {
    parallelFor(x.rows(), rowsPerPart(n), [&](int64_t row) {
      normalize(x.f32() + row * n, gamma.f32(), beta.f32(), epsilon, y.f32() + row * n, stats.f32() + 2 * row, n);
    });
  };
}

// residualNorm: x, branch (B, N, C), gamma, beta, keep (B, paths)? -> sum = x + keep * branch, y = norm(sum), stats.
Kernel residual(const Operands& operands) {
  operands.count(4, 5, 3, 3);
  const View x = operands.inputs[0], branch = operands.inputs[1], gamma = operands.inputs[2], beta = operands.inputs[3];
  const View sum = operands.outputs[0], y = operands.outputs[1], stats = operands.outputs[2];
  const float epsilon = static_cast<float>(operands.attributes.number("epsilon"));
  const int64_t n = x.last();
  expectNorm(x, gamma);
  Operands::expect(beta, Type::f32, n, "beta");
  Operands::expect(branch, Type::f32, x.size(), "branch");
  Operands::expect(sum, Type::f32, x.size(), "sum");
  Operands::expect(y, Type::f32, x.size(), "y");
  Operands::expect(stats, Type::f32, 2 * x.rows(), "stats");
  const Keep keep = keepOf(operands, 4, x);
  return [=] {
    parallelFor(x.rows(), rowsPerPart(n), [&](int64_t row) {
      const int64_t at = row * n;
      addScaled(x.f32() + at, keep.of(row), branch.f32() + at, sum.f32() + at, n);
      normalize(sum.f32() + at, gamma.f32(), beta.f32(), epsilon, y.f32() + at, stats.f32() + 2 * row, n);
    });
  };
}

// Sums of the gradients of gamma and beta by part of the rows, added up in the order of the parts.
struct Partials {
  int64_t rows, n, rowsInPart;
  std::shared_ptr<std::vector<float>> values;

  Partials(int64_t rows, int64_t n)
      : rows(rows),
        n(n),
        rowsInPart(2 * rowsPerPart(n)),
        values(std::make_shared<std::vector<float>>(static_cast<size_t>((rows / rowsInPart + 1) * 2 * n))) {}

  // Calls body(row, sum of dgamma, sum of dbeta) for all rows, then adds the sums to dgamma and dbeta.
  template <typename Body>
  void forRows(float* dgamma, float* dbeta, Body body) const {
    std::fill(values->begin(), values->end(), 0.0f);
    parallelRanges(rows, rowsInPart, [&](int64_t begin, int64_t end) {
      float* sums = values->data() + begin / rowsInPart * 2 * n;
      for (int64_t row = begin; row < end; row++) body(row, sums, sums + n);
    });
    for (int64_t part = 0; part * rowsInPart < rows; part++) {
      accumulate(values->data() + part * 2 * n, dgamma, n);
      accumulate(values->data() + part * 2 * n + n, dbeta, n);
    }
  }
};

// layerNormGradient: dy, x, stats, gamma -> dx (=), dgamma (+=), dbeta (+=).
Kernel normGradient(const Operands& operands) {
  operands.count(4, 3);
  const View dy = operands.inputs[0], x = operands.inputs[1], stats = operands.inputs[2], gamma = operands.inputs[3];
  const View dx = operands.outputs[0], dgamma = operands.outputs[1], dbeta = operands.outputs[2];
  const int64_t n = x.last();
  expectNorm(x, gamma);
  Operands::expect(stats, Type::f32, 2 * x.rows(), "stats");
  Operands::expect(dy, Type::f32, x.size(), "dy");
  Operands::expect(dx, Type::f32, x.size(), "dx");
  Operands::expect(dgamma, Type::f32, n, "dgamma");
  Operands::expect(dbeta, Type::f32, n, "dbeta");
  const Partials partials(x.rows(), n);
  return [=] {
    partials.forRows(dgamma.f32(), dbeta.f32(), [&](int64_t row, float* gammaSum, float* betaSum) {
      const int64_t at = row * n;
      normalizeGradient(dy.f32() + at, x.f32() + at, stats.f32() + 2 * row, gamma.f32(), nullptr, dx.f32() + at,
                        gammaSum, betaSum, n);
    });
  };
}

// residualNormGradient: dsum, dy, sum, stats, gamma, keep? -> dx = dsum + norm's gradient (=), dgamma (+=), dbeta (+=),
// and, where keep is given, dbranch = keep * dx (=). Without keep, dx is the branch's gradient too.
Kernel residualGradient(const Operands& operands) {
  operands.count(5, 6, 3, 4);
  const View dsum = operands.inputs[0], dy = operands.inputs[1], sum = operands.inputs[2], stats = operands.inputs[3],
             gamma = operands.inputs[4];
  const View dx = operands.outputs[0], dgamma = operands.outputs[1], dbeta = operands.outputs[2];
  const View dbranch = operands.outputs.back();
  const int64_t n = sum.last();
  expectNorm(sum, gamma);
  Operands::expect(stats, Type::f32, 2 * sum.rows(), "stats");
  for (const View* view : {&dsum, &dy, &dx}) Operands::expect(*view, Type::f32, sum.size(), "a gradient");
  Operands::expect(dgamma, Type::f32, n, "dgamma");
  Operands::expect(dbeta, Type::f32, n, "dbeta");
  const Keep keep = keepOf(operands, 5, sum);
  require(keep.given == (operands.outputs.size() == 4), "SHAPE",
          "Expected a branch gradient exactly where keep is given");
  if (keep.given) Operands::expect(dbranch, Type::f32, sum.size(), "dbranch");
  const Partials partials(sum.rows(), n);
  return [=] {
    partials.forRows(dgamma.f32(), dbeta.f32(), [&](int64_t row, float* gammaSum, float* betaSum) {
      const int64_t at = row * n;
      normalizeGradient(dy.f32() + at, sum.f32() + at, stats.f32() + 2 * row, gamma.f32(), dsum.f32() + at,
                        dx.f32() + at, gammaSum, betaSum, n);
      if (keep.given) {
        const float factor = keep.of(row);
        for (int64_t i = 0; i < n; i++) dbranch.f32()[at + i] = factor * dx.f32()[at + i];
      }
    });
  };
}

// keepBranch: dx (B, …), keep (B, paths) -> keep's column `path` times dx (=).
Kernel keepBranch(const Operands& operands) {
  operands.count(2, 1);
  const View dx = operands.inputs[0], y = operands.outputs[0];
  const Keep keep = keepOf(operands, 1, dx);
  Operands::expect(dx, Type::f32, dx.size(), "dx");
  Operands::expect(y, Type::f32, dx.size(), "dbranch");
  return [=] {
    parallelFor(dx.rows(), rowsPerPart(dx.last()), [&](int64_t row) {
      const float factor = keep.of(row);
      for (int64_t i = row * dx.last(); i < (row + 1) * dx.last(); i++) y.f32()[i] = factor * dx.f32()[i];
    });
  };
}

}  // namespace

std::vector<Implementation> layerNorm() {
  return {{"layerNorm", {"epsilon"}, norm},
          {"residualNorm", {"epsilon", "path"}, residual},
          {"layerNormGradient", {}, normGradient},
          {"residualNormGradient", {"path"}, residualGradient},
          {"keepBranch", {"path"}, keepBranch}};
}

}  // namespace autoprog::cpu
