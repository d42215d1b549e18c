#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/windows.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/highway.h>

#include "cpu/windows.h"

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using Integers = hn::RebindToSigned<D>;
using Bytes = hn::Rebind<uint8_t, D>;

// Channels that fill no vector are taken one by one: bytes have no masked stores everywhere.
void windowMaximum(const MaximumWindow& window, float* y, uint8_t* index, int64_t channels) {
  const D d;
  const Integers integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    V best = hn::Set(d, -__builtin_inff());
    auto place = hn::Set(integers, window.first);
    for (int64_t row = 0; row < window.rows; row++) {
      for (int64_t column = 0; column < window.columns; column++) {
        const V value = hn::LoadU(d, window.x + row * window.rowStride + column * window.columnStride + c);
        const auto better = hn::Or(hn::Gt(value, best), hn::IsNaN(value));
        const int number = window.first + static_cast<int>(row) * window.kernel + static_cast<int>(column);
        best = hn::IfThenElse(better, value, best);
        place = hn::IfThenElse(hn::RebindMask(integers, better), hn::Set(integers, number), place);
      }
    }
    hn::StoreU(best, d, y + c);
    hn::StoreU(hn::DemoteTo(Bytes(), place), Bytes(), index + c);
  }
  for (; c < channels; c++) {
    float best = -__builtin_inff();
    int place = window.first;
    for (int64_t row = 0; row < window.rows; row++) {
      for (int64_t column = 0; column < window.columns; column++) {
        const float value = window.x[row * window.rowStride + column * window.columnStride + c];
        if (!(value > best) && value == value) continue;
        best = value;
        place = window.first + static_cast<int>(row) * window.kernel + static_cast<int>(column);
      }
    }
    y[c] = best;
    index[c] = static_cast<uint8_t>(place);
  }
}

void addWhere(const float* dy, const uint8_t* index, int number, float* dx, int64_t channels) {
  const D d;
  const Integers integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(integers, number);
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    const auto place = hn::PromoteTo(integers, hn::LoadU(Bytes(), index + c));
    const V gradient = hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(place, wanted)), hn::LoadU(d, dy + c));
    hn::StoreU(hn::Add(hn::LoadU(d, dx + c), gradient), d, dx + c);
  }
  for (; c < channels; c++)
    if (index[c] == number) dx[c] += dy[c];
}

void scaleInto(const float* x, float scale, float* y, int64_t channels) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V factor = hn::Set(d, scale);
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + c), factor), d, y + c);
  for (; c < channels; c++) y[c] = scale * x[c];
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace autoprog::cpu {

HWY_EXPORT(windowMaximum);
HWY_EXPORT(addWhere);
HWY_EXPORT(scaleInto);

void windowMaximum(const MaximumWindow& window, float* y, uint8_t* index, int64_t channels) {
  HWY_DYNAMIC_DISPATCH(windowMaximum)(window, y, index, channels);
}
void addWhere(const float* dy, const uint8_t* index, int number, float* dx, int64_t channels) {
  HWY_DYNAMIC_DISPATCH(addWhere)(dy, index, number, dx, channels);
}
void scaleInto(const float* x, float scale, float* y, int64_t channels) {
  HWY_DYNAMIC_DISPATCH(scaleInto)(x, scale, y, channels);
}

}  // namespace autoprog::cpu

#endif  // HWY_ONCE
