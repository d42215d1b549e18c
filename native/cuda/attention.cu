// Softmax attention and its gradients: tensor-core kernels for 16-bit types and heads of 32 or 64 values, plain ones
// for all others.
#include <algorithm>

#include "cuda/attention-plain.h"
#include "cuda/attention-tiles.h"
#include "cuda/engine.h"
#include "cuda/operations.h"

namespace autoprog::cuda {

namespace {

enum class Pass { forward, queryGradient, keyGradient };

// Warps of a block such that the warps' groups of 16 rows leave few of them idle: 13 groups (197 tokens) go into two
// blocks of 7 warps.
unsigned warpsFor(int64_t rows) {
  const int64_t groups = (rows + kWarpRows - 1) / kWarpRows, blocks = (groups + kMostWarps - 1) / kMostWarps;
  return static_cast<unsigned>((groups + blocks - 1) / blocks);
}

template <typename T, int size>
void launchTiled(cudaStream_t stream, Pass pass, const AttentionArguments<T>& o, int64_t batch) {
  const int rows = pass == Pass::keyGradient ? o.keys : o.queries;
  const unsigned warps = warpsFor(rows);
  const Shape shape{
      dim3(blocksFor(rows, warps * kWarpRows), static_cast<unsigned>(o.heads), static_cast<unsigned>(batch)),
      warps * kWarp, Tiles<size>::kBytes};
  if (pass == Pass::forward)
    launch("attention", stream, shape, tiledAttentionKernel<T, size>, o);
  else if (pass == Pass::queryGradient)
    launch("attentionGradient of queries", stream, shape, tiledQueryGradientKernel<T, size>, o);
  else
    launch("attentionGradient of keys", stream, shape, tiledKeyGradientKernel<T, size>, o);
}

template <typename T, int perLane>
void launchPlain(cudaStream_t stream, Pass pass, const AttentionArguments<T>& o, int64_t batch, int size) {
  const int rows = pass == Pass::keyGradient ? o.keys : o.queries;
  const Shape shape{dim3(blocksFor(rows, kPlainBlock), static_cast<unsigned>(o.heads), static_cast<unsigned>(batch)),
                    kPlainWarps * kWarp, plainSharedBytes(size)};
  if (pass == Pass::forward)
    launch("plain attention", stream, shape, plainAttentionKernel<T, perLane>, o, size);
  else if (pass == Pass::queryGradient)
    launch("plain attentionGradient of queries", stream, shape, plainQueryGradientKernel<T, perLane>, o, size);
  else
    launch("plain attentionGradient of keys", stream, shape, plainKeyGradientKernel<T, perLane>, o, size);
}

template <typename T>
void launchFor(cudaStream_t stream, Pass pass, const AttentionArguments<T>& o, int64_t batch, int size) {
  if constexpr (sizeof(T) == 2) {
    if (size == 32) return launchTiled<T, 32>(stream, pass, o, batch);
    if (size == 64) return launchTiled<T, 64>(stream, pass, o, batch);
  }
  if (size <= kWarp) return launchPlain<T, 1>(stream, pass, o, batch, size);
  if (size <= 2 * kWarp) return launchPlain<T, 2>(stream, pass, o, batch, size);
  return launchPlain<T, 4>(stream, pass, o, batch, size);
}

template <bool packed, bool gradient>
Kernel prepare(const Operands& operands) {
  const AttentionOperands o(operands, packed, gradient);
  const auto size = static_cast<int>(o.size());
  require(
      size <= kPlainLargest, "SHAPE",
      "Expected heads of at most " + std::to_string(kPlainLargest) + " values but received " + std::to_string(size));
  for (const View* view : {&o.q, &o.kv, &o.y})
    require(view->type == o.q.type, "SHAPE", "Expected operands of one type but received " + view->describe());
  const View delta = gradient ? operands.scratch->take(Type::f32, o.logSumExp.shape) : View{};
  return withType(o.q.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, stream = streamOf(operands)] {
      AttentionArguments<T> arguments{};
      arguments.q = pointer<T>(o.q);
      arguments.k = pointer<T>(o.kv) + o.keyOffset();
      arguments.v = arguments.k + o.width;
      arguments.logSumExp = o.logSumExp.f32();
      arguments.queries = static_cast<int>(o.queries), arguments.keys = static_cast<int>(o.keys);
      arguments.heads = static_cast<int>(o.heads);
      arguments.queryStride = o.queryStride(), arguments.keyStride = o.keyStride(), arguments.width = o.width;
      arguments.scale = o.scale();
      if constexpr (!gradient) {
        arguments.out = pointer<T>(o.y);
        launchFor(stream, Pass::forward, arguments, o.batch, size);
      } else {
        arguments.y = pointer<T>(o.y), arguments.dy = pointer<T>(o.dy);
        arguments.dq = pointer<T>(o.dq);
        arguments.dk = pointer<T>(o.dkv) + o.keyOffset();
        arguments.dv = arguments.dk + o.width;
        arguments.delta = delta.f32();
        launchFor(stream, Pass::queryGradient, arguments, o.batch, size);
        launchFor(stream, Pass::keyGradient, arguments, o.batch, size);
      }
    };
  });
}

}  // namespace

std::vector<Implementation> attention() {
  return {{"attention", {"heads"}, prepare<true, false>},
          {"attentionGradient", {"heads"}, prepare<true, true>},
          {"classAttention", {"heads"}, prepare<false, false>},
          {"classAttentionGradient", {"heads"}, prepare<false, true>}};
}

}  // namespace autoprog::cuda
