// Pooling over images, channels last: a part is a row of outputs, or of inputs where gradients are gathered for them,
// so that every value is written once, by one thread, from sums in a fixed order.
#include "ops/pooling.h"

#include <algorithm>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"
#include "cpu/windows.h"

namespace autoprog::cpu {

namespace {

Kernel maxPool(const Operands& operands) {
  return [o = MaxPoolOperands(operands, false)] {
    const int64_t line = o.across.in * o.channels;
    parallelFor(o.batch * o.down.out, rowsPerPart(o.across.out * o.channels), [&](int64_t outputRow) {
      const int64_t oy = outputRow % o.down.out, image = outputRow / o.down.out * o.down.in * line;
      const Span rows = o.down.inputs(oy);
      for (int64_t ox = 0; ox < o.across.out; ox++) {
        const Span columns = o.across.inputs(ox);
        const int64_t at = (outputRow * o.across.out + ox) * o.channels;
        const int64_t first = o.down.within(rows.begin, oy) * o.across.kernel + o.across.within(columns.begin, ox);
        windowMaximum(
            {o.x.f32() + image + rows.begin * line + columns.begin * o.channels, rows.end - rows.begin,
             columns.end - columns.begin, line, o.channels, static_cast<int>(first), static_cast<int>(o.across.kernel)},
            o.y.f32() + at, o.index.u8() + at, o.channels);
      }
    });
  };
}

Kernel maxPoolGradient(const Operands& operands) {
  return [o = MaxPoolOperands(operands, true)] {
    const int64_t line = o.across.in * o.channels;
    parallelFor(o.batch * o.down.in, rowsPerPart(line), [&](int64_t inputRow) {
      const int64_t iy = inputRow % o.down.in, image = inputRow / o.down.in * o.down.out;
      const Span rows = o.down.outputs(iy);
      float* dx = o.x.f32() + inputRow * line;
      std::fill_n(dx, line, 0.0f);
      for (int64_t ix = 0; ix < o.across.in; ix++, dx += o.channels) {
        const Span columns = o.across.outputs(ix);
        for (int64_t oy = rows.begin; oy < rows.end; oy++) {
          for (int64_t ox = columns.begin; ox < columns.end; ox++) {
            const int64_t number = o.down.within(iy, oy) * o.across.kernel + o.across.within(ix, ox);
            const int64_t at = ((image + oy) * o.across.out + ox) * o.channels;
            addWhere(o.y.f32() + at, o.index.u8() + at, static_cast<int>(number), dx, o.channels);
          }
        }
      }
    });
  };
}

// The rows of a window are summed first, then their sums: so even a whole image's mean loses little.
template <bool global>
Kernel averagePool(const Operands& operands) {
  const AveragePoolOperands checked(operands, global, false);
  const int64_t outputRows = checked.batch * checked.down.out;
  const View lines = operands.scratch->take(Type::f32, {outputRows, checked.channels});
  return [o = checked, lines, outputRows] {
    const int64_t line = o.across.in * o.channels;
    const int64_t grain = rowsPerPart(o.across.out * o.down.kernel * o.across.kernel * o.channels);
    parallelFor(outputRows, grain, [&](int64_t outputRow) {
      float* lineSum = lines.f32() + outputRow * o.channels;
      const Span rows = o.down.inputs(outputRow % o.down.out);
      const float* image = o.x.f32() + outputRow / o.down.out * o.down.in * line;
      for (int64_t ox = 0; ox < o.across.out; ox++) {
        const Span columns = o.across.inputs(ox);
        float* y = o.y.f32() + (outputRow * o.across.out + ox) * o.channels;
        std::fill_n(y, o.channels, 0.0f);
        for (int64_t iy = rows.begin; iy < rows.end; iy++) {
          std::fill_n(lineSum, o.channels, 0.0f);
          for (int64_t ix = columns.begin; ix < columns.end; ix++)
            accumulate(image + iy * line + ix * o.channels, lineSum, o.channels);
          accumulate(lineSum, y, o.channels);
        }
        const int64_t count = (rows.end - rows.begin) * (columns.end - columns.begin);
        scaleInto(y, 1.0f / static_cast<float>(count), y, o.channels);
      }
    });
  };
}

template <bool global>
Kernel averagePoolGradient(const Operands& operands) {
  return [o = AveragePoolOperands(operands, global, true)] {
    const int64_t line = o.across.in * o.channels;
    parallelFor(o.batch * o.down.in, rowsPerPart(line), [&](int64_t inputRow) {
      const int64_t oy = inputRow % o.down.in / o.down.stride;
      const Span rows = o.down.inputs(oy);
      const float* dy = o.y.f32() + (inputRow / o.down.in * o.down.out + oy) * o.across.out * o.channels;
      for (int64_t ix = 0; ix < o.across.in; ix++) {
        const int64_t ox = ix / o.across.stride;
        const Span columns = o.across.inputs(ox);
        const int64_t count = (rows.end - rows.begin) * (columns.end - columns.begin);
        scaleInto(dy + ox * o.channels, 1.0f / static_cast<float>(count), o.x.f32() + inputRow * line + ix * o.channels,
                  o.channels);
      }
    });
  };
}

}  // namespace

std::vector<Implementation> pooling() {
  return {{"maxPool", {"kernel", "stride", "padding"}, maxPool},
          {"maxPoolGradient", {"kernel", "stride", "padding", "height", "width"}, maxPoolGradient},
          {"averagePool", {"size"}, averagePool<false>},
          {"averagePoolGradient", {"size", "height", "width"}, averagePoolGradient<false>},
          {"globalAveragePool", {}, averagePool<true>},
          {"globalAveragePoolGradient", {"height", "width"}, averagePoolGradient<true>}};
}

}  // namespace autoprog::cpu
