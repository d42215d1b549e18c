// Convolution by oneDNN's kernels. A primitive is made for some images, on one thread; our threads run it over the
// batch. Images are channels last on both sides, as they are; weights are brought into the order that the primitive
// asks for, and their gradients back.
#include "cpu/convolution.h"

#ifdef AUTOPROG_ONEDNN

#include <memory>
#include <tuple>

#include "cpu/lots.h"
#include "cpu/onednn-runner.h"

namespace autoprog::cpu::onednn {

namespace {

using dnnl::memory;

memory::desc descriptionOf(const memory::dims& dims, memory::format_tag order) {
  return {dims, memory::data_type::f32, order};
}

// The library's first choice for a primitive that `fits`, else its first; `forward` is that of the forward pass where a
// gradient's asks for it. The third version has dropped the step between arguments and choice.
template <typename Primitive, typename Fits, typename... Forward, typename... Arguments>
typename Primitive::primitive_desc choose(const dnnl::engine& engine, const dnnl::primitive_attr& attributes, Fits fits,
                                          const std::tuple<Forward...>& forward, const Arguments&... arguments) {
  using Choice = typename Primitive::primitive_desc;
#if DNNL_VERSION_MAJOR >= 3
  const auto make = [&](const auto&... hint) { return Choice(engine, arguments..., hint..., attributes); };
#else
  const typename Primitive::desc description(arguments...);
  const auto make = [&](const auto&... hint) { return Choice(description, attributes, engine, hint...); };
#endif
  Choice chosen = std::apply(make, forward);
  while (!fits(chosen))
    if (!chosen.next_impl()) return std::apply(make, forward);
  return chosen;
}

// The library's plain loops and its own products over patches are slower than ours.
bool isSlow(const char* implementation) {
  const std::string_view name(implementation);
  return name.starts_with("ref") || name.starts_with("gemm");
}

// What the three primitives of a convolution are told.
struct Description {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::primitive_attr attributes;
  memory::desc x, weight, bias, y;  // the weight in any order
  memory::dims stride, padding;
  int64_t weightSize;

  Description(const ConvolutionSizes& s, int64_t images, bool biased)
      : x(descriptionOf({images, s.in, s.height, s.width}, memory::format_tag::nhwc)),
        weight(descriptionOf({s.out, s.in, s.kernel, s.kernel}, memory::format_tag::any)),
        y(descriptionOf({images, s.out, s.rows, s.columns}, memory::format_tag::nhwc)),
        stride{s.stride, s.stride},
        padding{s.padding, s.padding},
        weightSize(s.out * s.depth()) {
    if (biased) bias = descriptionOf({s.out}, memory::format_tag::x);
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  }

  // Weights whose order does not fill its blocks are slow to bring there, since it cannot be done in slices.
  dnnl::convolution_forward::primitive_desc forward() const {
    const size_t bytes = sizeof(float) * static_cast<size_t>(weightSize);
    const auto isFull = [&](const dnnl::convolution_forward::primitive_desc& choice) {
      return choice.weights_desc().get_size() == bytes && !isSlow(choice.impl_info_str());
    };
    return choose<dnnl::convolution_forward>(engine, attributes, isFull, std::tuple(),
                                             dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, x,
                                             weight, bias, y, stride, padding, padding);
  }
  dnnl::convolution_backward_data::primitive_desc gradientInput() const {
    return choose<dnnl::convolution_backward_data>(engine, attributes, any, std::tuple(forward()),
                                                   dnnl::algorithm::convolution_direct, x, weight, y, stride, padding,
                                                   padding);
  }
  dnnl::convolution_backward_weights::primitive_desc gradientWeight() const {
    return choose<dnnl::convolution_backward_weights>(engine, attributes, any, std::tuple(forward()),
                                                      dnnl::algorithm::convolution_direct, x, weight, y, stride,
                                                      padding, padding);
  }

 private:
  static constexpr auto any = [](const auto&) { return true; };
};

int64_t offsetOf(const memory::desc& part) {
#if DNNL_VERSION_MAJOR >= 3
  return part.get_submemory_offset() / static_cast<int64_t>(sizeof(float));
#else
  return part.data.offset0;
#endif
}

// The output channels of a slice of the weights that is one in a primitive's own order too: a multiple of those that
// the order keeps together, which are 16, 32, 48 or 64.
int64_t sliceOf(const memory::desc& own, const ConvolutionSizes& s) {
  for (const int64_t channels : {64, 96})
    if (s.out % channels == 0 && own.submemory_desc({channels, s.in, s.kernel, s.kernel}, {0, 0, 0, 0}, true))
      return channels;
  return s.out;
}

// Weights from the arena's order, (O, C, k, k), to a primitive's own; or back, added to what is there. All threads
// share it: slices of the output channels, which lie apart in both.
class Reordering {
 public:
  Reordering(const Operands& operands, const dnnl::engine& engine, const ConvolutionSizes& s, const memory::desc& own,
             bool back) {
    const memory::dims all{s.out, s.in, s.kernel, s.kernel}, none{0, 0, 0, 0};
    const memory::dims slice{sliceOf(own, s), s.in, s.kernel, s.kernel};
    slices_ = s.out / slice[0];
    if (slices_ > 1) ownStep_ = offsetOf(own.submemory_desc(slice, {slice[0], 0, 0, 0}));
    const memory::desc plain = descriptionOf(all, memory::format_tag::oihw);
    plainStep_ = slice[0] * s.depth();
    const memory::desc plainSlice = plain.submemory_desc(slice, none), ownSlice = own.submemory_desc(slice, none);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (back) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const memory::desc &from = back ? ownSlice : plainSlice, &to = back ? plainSlice : ownSlice;
    const dnnl::reorder::primitive_desc chosen(engine, from, engine, to, attributes);
    runner_ = std::make_shared<Runner>(operands, engine, dnnl::reorder(chosen),
                                       std::vector<Runner::Argument>{{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}},
                                       chosen.scratchpad_desc(), "a change of order of " + s.describe());
  }

  // own = the weights.
  void bring(const float* weights, float* own) const {
    parallelFor(slices_, 1, [&](int64_t i) { runner_->run({weights + i * plainStep_, own + i * ownStep_}); });
  }
  // weights += each of several sums in the primitive's order, one after another.
  void add(const float* own, int64_t count, int64_t step, float* weights) const {
    parallelFor(slices_, 1, [&](int64_t i) {
      for (int64_t part = 0; part < count; part++)
        runner_->run({own + part * step + i * ownStep_, weights + i * plainStep_});
    });
  }

 private:
  int64_t slices_ = 1, plainStep_ = 0, ownStep_ = 0;
  std::shared_ptr<Runner> runner_;
};

View takeFloats(const Operands& operands, int64_t count, const memory::desc& description) {
  const auto floats = static_cast<int64_t>(description.get_size() / sizeof(float));
  return takeLots(*operands.scratch, count, floats);
}

// How many images a primitive takes: all parts are equal, each thread gets some, and those of a held-up one can be
// taken over, as long as a part has enough positions to be worth bringing the weights near.
int64_t imagesOfPart(const ConvolutionSizes& s) {
  constexpr int64_t kPartsPerThread = 4, kPositions = 2048;
  const int64_t share = std::max<int64_t>(1, s.batch / threadCount());
  const int64_t worth = divideUp(kPositions, s.rows * s.columns);
  int64_t images = std::min(share, std::max(worth, divideUp(share, kPartsPerThread)));
  while (s.batch % images != 0) images--;
  return images;
}

// Null where the library has nothing for a shape.
template <typename Make>
Kernel attempt(Make make) {
  try {
    return make();
  } catch (const dnnl::error&) {
    return nullptr;
  }
}

}  // namespace

Kernel convolve(const Operands& operands, const ConvolutionOperands& o) {
  return attempt([&]() -> Kernel {
    const ConvolutionSizes s = o.sizes;
    const int64_t images = imagesOfPart(s);
    const Description description(s, images, o.biased);
    const auto chosen = description.forward();
    if (isSlow(chosen.impl_info_str())) return nullptr;
    const View own = takeFloats(operands, 1, chosen.weights_desc());
    const Reordering order(operands, description.engine, s, chosen.weights_desc(), false);
    std::vector<Runner::Argument> arguments{{DNNL_ARG_SRC, chosen.src_desc()},
                                            {DNNL_ARG_WEIGHTS, chosen.weights_desc()},
                                            {DNNL_ARG_DST, chosen.dst_desc()}};
    if (o.biased) arguments.push_back({DNNL_ARG_BIAS, chosen.bias_desc()});
    const auto runner = std::make_shared<Runner>(operands, description.engine, dnnl::convolution_forward(chosen),
                                                 arguments, chosen.scratchpad_desc(), s.describe());
    const int64_t from = images * s.height * s.width * s.in, to = images * s.rows * s.columns * s.out;
    return [=] {
      order.bring(o.weight.f32(), own.f32());
      parallelFor(s.batch / images, 1, [&](int64_t i) {
        const float *x = o.x.f32() + i * from, *y = o.y.f32() + i * to;
        if (o.biased)
          runner->run({x, own.f32(), y, o.bias.f32()});
        else
          runner->run({x, own.f32(), y});
      });
    };
  });
}

Kernel gradientInput(const Operands& operands, const ConvolutionGradientInputOperands& o) {
  return attempt([&]() -> Kernel {
    const ConvolutionSizes s = o.sizes;
    const int64_t images = imagesOfPart(s);
    const Description description(s, images, false);
    const auto chosen = description.gradientInput();
    if (isSlow(chosen.impl_info_str())) return nullptr;
    const View own = takeFloats(operands, 1, chosen.weights_desc());
    const Reordering order(operands, description.engine, s, chosen.weights_desc(), false);
    const std::vector<Runner::Argument> arguments{{DNNL_ARG_DIFF_DST, chosen.diff_dst_desc()},
                                                  {DNNL_ARG_WEIGHTS, chosen.weights_desc()},
                                                  {DNNL_ARG_DIFF_SRC, chosen.diff_src_desc()}};
    const auto runner = std::make_shared<Runner>(operands, description.engine, dnnl::convolution_backward_data(chosen),
                                                 arguments, chosen.scratchpad_desc(), s.describe());
    const int64_t from = images * s.rows * s.columns * s.out, to = images * s.height * s.width * s.in;
    return [=] {
      order.bring(o.weight.f32(), own.f32());
      parallelFor(s.batch / images, 1, [&](int64_t i) {
        runner->run({o.dy.f32() + i * from, own.f32(), o.dx.f32() + i * to});
      });
    };
  });
}

// Each part of the batch has sums of its own, which are added in order.
Kernel gradientWeight(const Operands& operands, const ConvolutionGradientWeightOperands& o) {
  return attempt([&]() -> Kernel {
    const ConvolutionSizes s = o.sizes;
    const int64_t images = imagesOfPart(s), parts = s.batch / images;
    const Description description(s, images, false);
    const auto chosen = description.gradientWeight();
    if (isSlow(chosen.impl_info_str())) return nullptr;
    const View sums = takeFloats(operands, parts, chosen.diff_weights_desc());
    const Reordering order(operands, description.engine, s, chosen.diff_weights_desc(), true);
    const std::vector<Runner::Argument> arguments{{DNNL_ARG_SRC, chosen.src_desc()},
                                                  {DNNL_ARG_DIFF_DST, chosen.diff_dst_desc()},
                                                  {DNNL_ARG_DIFF_WEIGHTS, chosen.diff_weights_desc()}};
    const auto runner =
        std::make_shared<Runner>(operands, description.engine, dnnl::convolution_backward_weights(chosen), arguments,
                                 chosen.scratchpad_desc(), s.describe());
    const int64_t x = images * s.height * s.width * s.in, dy = images * s.rows * s.columns * s.out;
    return [=] {
      parallelFor(parts, 1, [&](int64_t i) {
        runner->run({o.x.f32() + i * x, o.dy.f32() + i * dy, sums.f32() + i * sums.last()});
      });
      order.add(sums.f32(), parts, sums.last(), o.dweight.f32());
    };
  });
}

}  // namespace autoprog::cpu::onednn

#else

namespace autoprog::cpu::onednn {

Kernel convolve(const Operands&, const ConvolutionOperands&) { return nullptr; }
Kernel gradientInput(const Operands&, const ConvolutionGradientInputOperands&) { return nullptr; }
Kernel gradientWeight(const Operands&, const ConvolutionGradientWeightOperands&) { return nullptr; }

}  // namespace autoprog::cpu::onednn

#endif
