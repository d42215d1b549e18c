// Class token and position embedding, the latter resized inside the graph so that its gradient reaches the full-size
// one.
#include <algorithm>
#include <cmath>
#include <memory>

#include "cpu/backend.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

struct Tokens {
  int64_t batch, patches, width;
};

Tokens tokensOf(const View& patches, const View& tokens, const View& classToken, const View& position) {
  require(patches.shape.size() == 3, "SHAPE", "Expected patches [B, N, D] but received " + patches.describe());
  const Tokens t{patches.shape[0], patches.shape[1], patches.shape[2]};
  Operands::expect(patches, Type::f32, patches.size(), "patches");
  Operands::expectShape(tokens, Type::f32, {t.batch, t.patches + 1, t.width}, "tokens");
  Operands::expect(classToken, Type::f32, t.width, "class token");
  Operands::expect(position, Type::f32, (t.patches + 1) * t.width, "position");
  return t;
}

// tokens: patches (B, N, D), class token (D), position (N + 1, D) -> (B, N + 1, D).
Kernel join(const Operands& operands) {
  operands.count(3, 1);
  const View patches = operands.inputs[0], classToken = operands.inputs[1], position = operands.inputs[2],
             y = operands.outputs[0];
  const Tokens t = tokensOf(patches, y, classToken, position);
  return [=] {
    parallelFor(t.batch, rowsPerPart(t.patches * t.width), [&](int64_t image) {
      float* target = y.f32() + image * (t.patches + 1) * t.width;
      addScaled(classToken.f32(), 1.0f, position.f32(), target, t.width);
      addScaled(patches.f32() + image * t.patches * t.width, 1.0f, position.f32() + t.width, target + t.width,
                t.patches * t.width);
    });
  };
}

// tokensGradient: dy (B, N + 1, D) -> dpatches (=), dclass (+=), dposition (=).
Kernel split(const Operands& operands) {
  operands.count(1, 3);
  const View dy = operands.inputs[0], dpatches = operands.outputs[0], dclass = operands.outputs[1],
             dposition = operands.outputs[2];
  const Tokens t = tokensOf(dpatches, dy, dclass, dposition);
  return [=] {
    const int64_t image = (t.patches + 1) * t.width;
    parallelRanges(image, std::max<int64_t>(64, kGrain / std::max<int64_t>(1, t.batch)),
                   [&](int64_t begin, int64_t end) {
                     std::fill(dposition.f32() + begin, dposition.f32() + end, 0.0f);
                     for (int64_t i = 0; i < t.batch; i++)
                       accumulate(dy.f32() + i * image + begin, dposition.f32() + begin, end - begin);
                   });
    accumulate(dposition.f32(), dclass.f32(), t.width);
    parallelFor(t.batch, rowsPerPart(t.patches * t.width), [&](int64_t i) {
      std::copy_n(dy.f32() + i * image + t.width, t.patches * t.width, dpatches.f32() + i * t.patches * t.width);
    });
  };
}

// selectToken: x (B, N, D) -> its first token (B, 1, D).
Kernel select(const Operands& operands) {
  operands.count(1, 1);
  const View x = operands.inputs[0], y = operands.outputs[0];
  require(x.shape.size() == 3 && x.shape[1] > 0, "SHAPE", "Expected tokens [B, N, D] but received " + x.describe());
  Operands::expect(x, Type::f32, x.size(), "x");
  Operands::expectShape(y, Type::f32, {x.shape[0], 1, x.shape[2]}, "y");
  return [=] {
    for (int64_t i = 0; i < x.shape[0]; i++)
      std::copy_n(x.f32() + i * x.shape[1] * x.shape[2], x.shape[2], y.f32() + i * x.shape[2]);
  };
}

// selectTokenGradient: dy (B, 1, D) -> dx (B, N, D) (=), zero but for the first token.
Kernel place(const Operands& operands) {
  operands.count(1, 1);
  const View dy = operands.inputs[0], dx = operands.outputs[0];
  require(dx.shape.size() == 3 && dx.shape[1] > 0, "SHAPE", "Expected tokens [B, N, D] but received " + dx.describe());
  Operands::expect(dx, Type::f32, dx.size(), "dx");
  Operands::expectShape(dy, Type::f32, {dx.shape[0], 1, dx.shape[2]}, "dy");
  return [=] {
    const int64_t image = dx.shape[1] * dx.shape[2];
    parallelFor(dx.shape[0], rowsPerPart(image), [&](int64_t i) {
      float* target = dx.f32() + i * image;
      std::copy_n(dy.f32() + i * dx.shape[2], dx.shape[2], target);
      std::fill(target + dx.shape[2], target + image, 0.0f);
    });
  };
}

// Bicubic weights with a = -0.75, half-pixel centres, edges repeated, no antialias: those of PyTorch's interpolate.
struct Cubic {
  int64_t at[4];
  float weights[4];
};

std::vector<Cubic> cubicTaps(int64_t in, int64_t out) {
  constexpr double a = -0.75;
  const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };       // |x| <= 1
  const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };  // 1 < |x| < 2
  std::vector<Cubic> list;
  for (int64_t i = 0; i < out; i++) {
    const double source = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    const double floor = std::floor(source), t = source - floor;
    Cubic cubic{};
    const double weights[4] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
    for (int64_t k = 0; k < 4; k++) {
      cubic.at[k] = std::clamp<int64_t>(static_cast<int64_t>(floor) - 1 + k, 0, in - 1);
      cubic.weights[k] = static_cast<float>(weights[k]);
    }
    list.push_back(cubic);
  }
  return list;
}

struct Resize {
  int64_t from, to, width;
  std::vector<Cubic> taps;

  // Calls body(source row, target row, weight) for the grid's rows; row 0 is the class token, which stays.
  template <typename Body>
  void forTaps(Body body) const {
    for (int64_t y = 0; y < to; y++)
      for (int64_t x = 0; x < to; x++)
        for (int64_t j = 0; j < 4; j++)
          for (int64_t i = 0; i < 4; i++) {
            const Cubic &row = taps[static_cast<size_t>(y)], &column = taps[static_cast<size_t>(x)];
            const float weight = row.weights[j] * column.weights[i];
            if (weight != 0.0f) body(1 + row.at[j] * from + column.at[i], 1 + y * to + x, weight);
          }
  }
};

std::shared_ptr<Resize> resizeOf(const Operands& operands, const View& full, const View& resized) {
  auto resize = std::make_shared<Resize>();
  resize->from = operands.attributes.integer("from", 1, 1 << 12);
  resize->to = operands.attributes.integer("to", 1, 1 << 12);
  resize->width = full.last();
  Operands::expect(full, Type::f32, (resize->from * resize->from + 1) * resize->width, "position");
  Operands::expect(resized, Type::f32, (resize->to * resize->to + 1) * resize->width, "resized position");
  resize->taps = cubicTaps(resize->from, resize->to);
  return resize;
}

// resizePosition: position (1 + from^2, D) -> (1 + to^2, D).
Kernel resizePosition(const Operands& operands) {
  operands.count(1, 1);
  const View x = operands.inputs[0], y = operands.outputs[0];
  const auto resize = resizeOf(operands, x, y);
  return [=] {
    const int64_t n = resize->width;
    std::fill_n(y.f32(), y.size(), 0.0f);
    std::copy_n(x.f32(), n, y.f32());
    resize->forTaps([&](int64_t source, int64_t target, float weight) {
      float* row = y.f32() + target * n;
      addScaled(row, weight, x.f32() + source * n, row, n);
    });
  };
}

// resizePositionGradient: dy (1 + to^2, D) -> dposition (1 + from^2, D) (+=).
Kernel resizePositionGradient(const Operands& operands) {
  operands.count(1, 1);
  const View dy = operands.inputs[0], dx = operands.outputs[0];
  const auto resize = resizeOf(operands, dx, dy);
  return [=] {
    const int64_t n = resize->width;
    accumulate(dy.f32(), dx.f32(), n);
    resize->forTaps([&](int64_t source, int64_t target, float weight) {
      float* row = dx.f32() + source * n;
      addScaled(row, weight, dy.f32() + target * n, row, n);
    });
  };
}

}  // namespace

std::vector<Implementation> tokens() {
  return {{"tokens", {}, join},
          {"tokensGradient", {}, split},
          {"selectToken", {"tokens"}, select},
          {"selectTokenGradient", {"tokens"}, place},
          {"resizePosition", {"from", "to"}, resizePosition},
          {"resizePositionGradient", {"from", "to"}, resizePositionGradient}};
}

}  // namespace autoprog::cpu
