// Random erasing (Zhong et al., 2020): boxes of images become noise. One part per image; only what is erased is drawn.
#include "ops/erase.h"

#include <algorithm>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "runtime/philox.h"

namespace autoprog::cpu {

namespace {

// Values [from, to) of one image become draws, whose first block is `first`.
void drawNormals(const RandomAddress& address, uint64_t first, int64_t from, int64_t to, float* image) {
  for (int64_t block = from / 4; 4 * block < to; block++) {
    float values[4];
    normals(draw(address, Purpose::erasing, first + static_cast<uint64_t>(block)), values);
    for (int64_t i = std::max(from, 4 * block); i < std::min(to, 4 * block + 4); i++) image[i] = values[i - 4 * block];
  }
}

Kernel eraseImages(const Operands& operands) {
  return [o = EraseOperands(operands)] {
    const auto* words = reinterpret_cast<const uint32_t*>(o.random.i32());
    const RandomAddress address{{words[0], words[1]}, {words[2], words[3]}};
    const int64_t line = o.width * o.channels;
    parallelFor(o.batch, 1, [&](int64_t i) {
      float* image = o.y.f32() + i * o.size;
      std::copy_n(o.images.f32() + i * o.size, o.size, image);
      const int32_t* box = o.boxes.i32() + 4 * i;
      const auto within = [](int64_t value, int64_t extent) { return std::clamp<int64_t>(value, 0, extent); };
      const int64_t bottom = within(int64_t{box[0]} + box[2], o.height);
      const int64_t left = within(box[1], o.width), right = within(int64_t{box[1]} + box[3], o.width);
      const uint64_t first = static_cast<uint64_t>(o.index.i32()[i]) * static_cast<uint64_t>(o.blocks);
      for (int64_t row = within(box[0], o.height); row < bottom; row++)
        drawNormals(address, first, row * line + left * o.channels, row * line + right * o.channels, image);
    });
  };
}

}  // namespace

std::vector<Implementation> erase() { return {{"eraseImages", {}, eraseImages}}; }

}  // namespace autoprog::cpu
