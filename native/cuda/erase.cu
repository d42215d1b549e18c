// Random erasing: a thread moves the four values that share a block of draws, and draws only where one of them is
// erased. Images whose size is no multiple of four are moved value by value.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/erase.h"
#include "runtime/philox.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

struct EraseSizes {
  int line, channels, size, blocks;  // values of a row, of a pixel, of an image; an image's blocks of draws
  int64_t count;                     // blocks of all images
  bool byFour;
};

// Columns and rows in values of an image's line, and in lines; 64 bits, because any box may be given.
struct ErasedBox {
  int64_t top, bottom, left, right;

  __device__ __forceinline__ bool holds(int64_t row, int64_t column) const {
    return row >= top && row < bottom && column >= left && column < right;
  }
};

template <typename X, typename Y>
__global__ void eraseKernel(const X* images, const int32_t* boxes, const uint32_t* random, const int32_t* index, Y* y,
                            EraseSizes s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const int64_t image = i / s.blocks;
  const int block = static_cast<int>(i % s.blocks), first = 4 * block, left = s.size - first;
  const int32_t* given = boxes + 4 * image;
  const ErasedBox box{given[0], int64_t{given[0]} + given[2], int64_t{given[1]} * s.channels,
                      (int64_t{given[1]} + given[3]) * s.channels};
  const int64_t at = image * s.size + first;
  float values[4] = {};
  if (s.byFour) {
    loadFour(images + at, values);
  } else {
    for (int k = 0; k < 4 && k < left; k++) values[k] = toFloat(images[at + k]);
  }
  int row = first / s.line, column = first % s.line;
  bool erased[4], any = false;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    erased[k] = box.holds(row, column);
    any |= erased[k];
    if (++column < s.line) continue;
    row++;
    column = 0;
  }
  if (any) {
    const RandomAddress address{{random[0], random[1]}, {random[2], random[3]}};
    float noise[4];
    normals(draw(address, Purpose::erasing,
                 static_cast<uint64_t>(index[image]) * static_cast<uint64_t>(s.blocks) + static_cast<uint64_t>(block)),
            noise);
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (erased[k]) values[k] = noise[k];
  }
  if (s.byFour) {
    storeFour(y + at, values);
  } else {
    for (int k = 0; k < 4 && k < left; k++) y[at + k] = fromFloat<Y>(values[k]);
  }
}

Kernel eraseImages(const Operands& operands) {
  const EraseOperands o(operands);
  const bool aligned = o.images.offset % 16 == 0 && o.y.offset % 16 == 0;
  const EraseSizes sizes{static_cast<int>(o.width * o.channels),
                         static_cast<int>(o.channels),
                         static_cast<int>(o.size),
                         static_cast<int>(o.blocks),
                         o.batch * o.blocks,
                         aligned && o.size % 4 == 0};
  return withType(o.images.type, [&](auto from) {
    return withType(o.y.type, [&](auto to) -> Kernel {
      using X = typename decltype(from)::type;
      using Y = typename decltype(to)::type;
      return [=, stream = streamOf(operands)] {
        launch("eraseImages", stream, {blocksFor(sizes.count, kThreads), kThreads}, eraseKernel<X, Y>,
               pointer<X>(o.images), o.boxes.i32(), reinterpret_cast<const uint32_t*>(o.random.i32()), o.index.i32(),
               pointer<Y>(o.y), sizes);
      };
    });
  });
}

}  // namespace

std::vector<Implementation> erase() { return {{"eraseImages", {}, eraseImages}}; }

}  // namespace autoprog::cuda
