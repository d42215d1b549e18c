#pragma once

#include "ops/ops.h"

// Checked operands of layer norm, alone or fused with the residual addition before it, and of their gradients.
namespace autoprog {

// The factor of a residual branch for each image: column `path` of keep (B, paths), or 1 where none is given.
struct KeepOperand {
  View view;
  bool given = false;
  int64_t path = 0, paths = 1, rowsPerImage = 1;

  KeepOperand(const Operands& operands, size_t index, const View& x) {
    if (operands.inputs.size() <= index) return;
    given = true;
    view = operands.inputs[index];
    const int64_t images = view.extent(0);
    require(view.type == Type::f32 && view.shape.size() == 2 && images > 0 && x.extent(0) == images, "SHAPE",
            "Expected keep factors [batch, paths] but received " + view.describe());
    rowsPerImage = x.rows() / images;
    paths = view.last();
    path = operands.attributes.integer("path", 0, paths - 1);
  }

  float of(int64_t row) const { return given ? view.f32()[row / rowsPerImage * paths + path] : 1.0f; }
};

// layerNorm: x (…, C), gamma (C), beta (C) -> y (…, C), stats (rows, 2: mean and 1 / deviation).
// residualNorm: x, branch (B, N, C), gamma, beta, keep (B, paths)? -> sum = x + keep * branch, y = norm(sum), stats.
struct NormOperands {
  View x, branch, gamma, beta, sum, y, stats;  // without a residual addition, branch is empty and sum is x
  KeepOperand keep;
  float epsilon;
  int64_t rows, n;

  NormOperands(const Operands& operands, bool residual) : keep(checked(operands, residual), 4, operands.inputs[0]) {
    const auto& in = operands.inputs;
    x = in[0], gamma = in[residual ? 2 : 1], beta = in[residual ? 3 : 2];
    sum = residual ? operands.outputs[0] : x;
    y = operands.outputs[residual ? 1 : 0], stats = operands.outputs.back();
    if (residual) branch = in[1];
    epsilon = static_cast<float>(operands.attributes.number("epsilon"));
    rows = x.rows(), n = x.last();
    require(n > 0, "SHAPE", "Expected rows but received " + x.describe());
    Operands::expect(x, Type::f32, rows * n, "x");
    Operands::expect(sum, Type::f32, rows * n, "sum");
    if (residual) Operands::expectFloats(branch, rows * n, "branch");
    Operands::expect(gamma, Type::f32, n, "gamma");
    Operands::expect(beta, Type::f32, n, "beta");
    Operands::expectFloats(y, rows * n, "y");
    Operands::expect(stats, Type::f32, 2 * rows, "stats");
  }

 private:
  static const Operands& checked(const Operands& operands, bool residual) {
    residual ? operands.count(4, 5, 3, 3) : operands.count(3, 2);
    return operands;
  }
};

// layerNormGradient: dy, x, stats, gamma -> dx (=), dgamma (+=), dbeta (+=), dx in another type (=)?.
// residualNormGradient: dsum, dy, sum, stats, gamma, keep? -> dx = dsum + the norm's gradient (=), dgamma (+=),
// dbeta (+=), dbranch = keep * dx (=)?. Without keep, dx is the branch's gradient too, and dbranch its copy in another
// type.
struct NormGradientOperands {
  View dsum, dy, sum, stats, gamma, dx, dgamma, dbeta, dbranch;  // dsum is empty without a residual addition
  KeepOperand keep;
  bool branched;
  int64_t rows, n;

  NormGradientOperands(const Operands& operands, bool residual)
      : keep(checked(operands, residual), 5, operands.inputs[residual ? 2 : 1]) {
    const size_t first = residual ? 1 : 0;
    const auto &in = operands.inputs, &out = operands.outputs;
    if (residual) dsum = in[0];
    dy = in[first], sum = in[first + 1], stats = in[first + 2], gamma = in[first + 3];
    dx = out[0], dgamma = out[1], dbeta = out[2], dbranch = out.back();
    branched = out.size() == 4;
    rows = sum.rows(), n = sum.last();
    require(branched || !keep.given, "SHAPE", "Expected a branch gradient where keep is given");
    require(n > 0, "SHAPE", "Expected rows but received " + sum.describe());
    if (residual) Operands::expect(dsum, Type::f32, rows * n, "dsum");
    Operands::expectFloats(dy, rows * n, "dy");
    Operands::expect(sum, Type::f32, rows * n, "x");
    Operands::expect(stats, Type::f32, 2 * rows, "stats");
    Operands::expect(gamma, Type::f32, n, "gamma");
    Operands::expect(dx, Type::f32, rows * n, "dx");
    Operands::expect(dgamma, Type::f32, n, "dgamma");
    Operands::expect(dbeta, Type::f32, n, "dbeta");
    if (branched) Operands::expectFloats(dbranch, rows * n, "dbranch");
  }

 private:
  static const Operands& checked(const Operands& operands, bool residual) {
    operands.count(residual ? 5 : 4, residual ? 6 : 4, 3, 4);
    return operands;
  }
};

// keepBranch: dx (B, …), keep (B, paths) -> keep's column `path` times dx (=).
struct KeepBranchOperands {
  View dx, y;
  KeepOperand keep;

  explicit KeepBranchOperands(const Operands& operands) : keep(checked(operands), 1, operands.inputs[0]) {
    dx = operands.inputs[0], y = operands.outputs[0];
    Operands::expectFloats(dx, dx.size(), "dx");
    Operands::expectFloats(y, dx.size(), "dbranch");
  }

 private:
  static const Operands& checked(const Operands& operands) {
    operands.count(2, 1);
    return operands;
  }
};

}  // namespace autoprog
