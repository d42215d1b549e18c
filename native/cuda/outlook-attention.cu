// Outlook attention: each output gathers what the windows over it give, so that nothing is added atomically and nothing
// is unfolded. The softmax is a kernel of its own, a matrix row a thread; its probabilities are written once and weigh
// the values forward and, by column instead of by row, the outputs' gradients backward: one kernel for both, where a
// thread keeps several neighbouring channels of one position. The scores' gradient takes a warp for each matrix row.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/outlook-attention.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
// On a multiprocessor: 64 registers a thread. Left to itself the compiler takes fewer and spills.
constexpr int kBlocks = 4;

struct Outlook {
  int64_t batch;
  int height, width, rows, columns;  // of the map, and of windows
  int heads, size, kernel, stride, padding;
  float scale;

  explicit Outlook(const OutlookAttentionOperands& o)
      : batch(o.batch),
        height(static_cast<int>(o.height)),
        width(static_cast<int>(o.width)),
        rows(static_cast<int>(o.rows)),
        columns(static_cast<int>(o.columns)),
        heads(static_cast<int>(o.heads)),
        size(static_cast<int>(o.size())),
        kernel(static_cast<int>(o.kernel)),
        stride(static_cast<int>(o.stride)),
        padding(static_cast<int>(o.padding)),
        scale(o.scale()) {}

  __host__ __device__ __forceinline__ int area() const { return kernel * kernel; }
  __host__ __device__ __forceinline__ int channels() const { return heads * size; }
  // Rows of all matrices.
  __host__ __device__ __forceinline__ int64_t matrixRows() const { return batch * rows * columns * heads * area(); }
  // The first window whose rows (or columns) reach position `at`, and the first after them.
  __device__ __forceinline__ int firstWindow(int at) const {
    const int beyond = at + padding - kernel;
    return beyond < 0 ? 0 : beyond / stride + 1;
  }
  __device__ __forceinline__ int endOfWindows(int at, int count) const {
    const int end = (at + padding) / stride + 1;
    return end < count ? end : count;
  }
};

template <typename T>
__global__ void probabilitiesKernel(const T* scores, T* probabilities, Outlook o) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= o.matrixRows()) return;
  const int area = o.area();
  const T* x = scores + row * area;
  float largest = -INFINITY, sum = 0;
  for (int j = 0; j < area; j++) largest = fmaxf(largest, toFloat(x[j]));
  for (int j = 0; j < area; j++) sum += expf((toFloat(x[j]) - largest) * o.scale);
  const float inverse = 1.0f / sum;
  for (int j = 0; j < area; j++)
    probabilities[row * area + j] = fromFloat<T>(expf((toFloat(x[j]) - largest) * o.scale) * inverse);
}

// `several` neighbours: 4, moved as one, or 1.
template <int several, typename T>
__device__ __forceinline__ void loadChannels(const T* from, float (&values)[several]) {
  if constexpr (several == 4)
    loadFour(from, values);
  else
    values[0] = toFloat(from[0]);
}

// target = sum over the windows that reach a position of the probabilities' row for that position times the source's
// values; or, transposed, their column, which gives the values' gradient from the outputs'.
template <typename T, int several, bool transposed>
__global__ void __launch_bounds__(kThreads, kBlocks)
    gatherKernel(const T* source, const T* probabilities, T* target, Outlook o) {
  const int parts = o.channels() / several, positions = o.height * o.width;
  // A block lies within one image: divisions of 64 bits are calls.
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const int64_t image = blockIdx.y;
  if (i >= positions * parts) return;
  const int channel = i % parts * several, head = channel / o.size, area = o.area();
  const int position = i / parts, y = position / o.width, x = position % o.width;
  const T* map = source + image * positions * o.channels() + channel;
  float sums[several] = {};
  const int endRow = o.endOfWindows(y, o.rows), endColumn = o.endOfWindows(x, o.columns);
  for (int row = o.firstWindow(y); row < endRow; row++)
    for (int column = o.firstWindow(x); column < endColumn; column++) {
      const int top = row * o.stride - o.padding, left = column * o.stride - o.padding;
      const int place = (y - top) * o.kernel + x - left;
      const int64_t matrix = ((image * o.rows + row) * o.columns + column) * o.heads + head;
      const T* weights = probabilities + matrix * area * area + (transposed ? place : place * area);
      for (int down = 0; down < o.kernel; down++) {
        const int fromY = top + down;
        if (fromY < 0 || fromY >= o.height) continue;
        for (int across = 0; across < o.kernel; across++) {
          const int fromX = left + across, j = down * o.kernel + across;
          if (fromX < 0 || fromX >= o.width) continue;
          float values[several];
          loadChannels(map + (static_cast<int64_t>(fromY) * o.width + fromX) * o.channels(), values);
          const float weight = toFloat(weights[transposed ? j * area : j]);
#pragma unroll
          for (int k = 0; k < several; k++) sums[k] = fmaf(weight, values[k], sums[k]);
        }
      }
    }
  T* to = target + (image * positions + position) * o.channels() + channel;
  if constexpr (several == 4)
    storeFour(to, sums);
  else
    to[0] = fromFloat<T>(sums[0]);
}

// dscores = scale p (slope - sum_j p_j slope_j), where slope_j is the product of the row's output gradient and the
// values of place j. Rows of places beyond the map give nothing.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    scoresGradientKernel(const T* dy, const T* values, const T* probabilities, T* dscores, Outlook o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int area = o.area();
  float* slopes = sharedMemory<float>() + warp * area;
  const int64_t matrixRow = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  if (matrixRow >= o.matrixRows()) return;  // a whole warp
  const int place = static_cast<int>(matrixRow % area), head = static_cast<int>(matrixRow / area % o.heads);
  const int64_t window = matrixRow / area / o.heads, image = window / (o.rows * o.columns);
  const int top = static_cast<int>(window / o.columns % o.rows) * o.stride - o.padding;
  const int left = static_cast<int>(window % o.columns) * o.stride - o.padding;
  // The offset of a place's first value within the maps, or -1 beyond them.
  const auto placeAt = [&](int at) -> int64_t {
    const int y = top + at / o.kernel, x = left + at % o.kernel;
    if (y < 0 || y >= o.height || x < 0 || x >= o.width) return -1;
    return ((image * o.height + y) * o.width + x) * o.channels() + head * o.size;
  };
  const int64_t from = placeAt(place);
  for (int j = 0; j < area; j++) {
    const int64_t to = placeAt(j);
    float slope = 0;
    if (from >= 0 && to >= 0)
      for (int e = lane; e < o.size; e += kWarp) slope = fmaf(toFloat(dy[from + e]), toFloat(values[to + e]), slope);
    slope = warpSum(slope);
    if (lane == 0) slopes[j] = slope;
  }
  __syncwarp();
  const T* p = probabilities + matrixRow * area;
  float mean = 0;
  for (int j = lane; j < area; j += kWarp) mean = fmaf(toFloat(p[j]), slopes[j], mean);
  mean = warpSum(mean);
  for (int j = lane; j < area; j += kWarp)
    dscores[matrixRow * area + j] = fromFloat<T>(toFloat(p[j]) * (slopes[j] - mean) * o.scale);
}

template <bool transposed, typename T>
void gather(const char* name, cudaStream_t stream, const Outlook& o, const T* source, const T* probabilities,
            T* target) {
  const int64_t count = static_cast<int64_t>(o.height) * o.width * o.channels();
  const auto images = static_cast<unsigned>(o.batch);
  const auto aligned = [](const T* at) { return reinterpret_cast<uintptr_t>(at) % (4 * sizeof(T)) == 0; };
  if (o.size % 4 == 0 && aligned(source) && aligned(target))
    launch(name, stream, {dim3(blocksFor(count / 4, kThreads), images), kThreads}, gatherKernel<T, 4, transposed>,
           source, probabilities, target, o);
  else
    launch(name, stream, {dim3(blocksFor(count, kThreads), images), kThreads}, gatherKernel<T, 1, transposed>, source,
           probabilities, target, o);
}

template <bool gradient>
Kernel prepare(const Operands& operands) {
  const OutlookAttentionOperands o(operands, gradient);
  for (const View* view : {&o.values, &o.scores, &o.probabilities, &o.y})
    require(view->type == o.values.type, "SHAPE", "Expected operands of one type but received " + view->describe());
  const Outlook outlook(o);
  return withType(o.values.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, stream = streamOf(operands)] {
      if constexpr (!gradient) {
        launch("outlookAttention probabilities", stream, {blocksFor(outlook.matrixRows(), kThreads), kThreads},
               probabilitiesKernel<T>, pointer<T>(o.scores), pointer<T>(o.probabilities), outlook);
        gather<false, T>("outlookAttention", stream, outlook, pointer<T>(o.values), pointer<T>(o.probabilities),
                         pointer<T>(o.y));
      } else {
        gather<true, T>("outlookAttentionGradient of values", stream, outlook, pointer<T>(o.y),
                        pointer<T>(o.probabilities), pointer<T>(o.dvalues));
        launch("outlookAttentionGradient of scores", stream,
               {blocksFor(outlook.matrixRows(), kWarps), kThreads, kWarps * outlook.area() * sizeof(float)},
               scoresGradientKernel<T>, pointer<T>(o.y), pointer<T>(o.values), pointer<T>(o.probabilities),
               pointer<T>(o.scores), outlook);
      }
    };
  });
}

}  // namespace

std::vector<Implementation> outlookAttention() {
  return {{"outlookAttention", {"heads", "kernel", "stride", "padding"}, prepare<false>},
          {"outlookAttentionGradient", {"heads", "kernel", "stride", "padding"}, prepare<true>}};
}

}  // namespace autoprog::cuda
