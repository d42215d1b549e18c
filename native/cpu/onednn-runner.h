#pragma once

#include <dnnl.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cpu/parallel.h"
#include "ops/ops.h"

namespace autoprog::cpu {

// A primitive at work on addresses that change. Memory objects hold an address, so every thread has its own.
class Runner {
 public:
  struct Argument {
    int name;
    dnnl::memory::desc description;
  };

  Runner(const Operands& operands, const dnnl::engine& engine, const dnnl::primitive& primitive,
         const std::vector<Argument>& arguments, const dnnl::memory::desc& scratchpad, std::string subject)
      : primitive_(primitive), subject_(std::move(subject)) {
    const auto threads = static_cast<size_t>(threadCount());
    scratchBytes_ = (static_cast<int64_t>(scratchpad.get_size()) + 63) / 64 * 64;
    scratch_ = operands.scratch->take(Type::u8, {threadCount(), scratchBytes_});
    for (size_t thread = 0; thread < threads; thread++) {
      Thread& made = threads_.emplace_back(Thread{dnnl::stream(engine), {}, {}});
      for (const Argument& argument : arguments) made.add(engine, argument);
      if (scratchBytes_ > 0) made.add(engine, {DNNL_ARG_SCRATCHPAD, scratchpad});
    }
  }

  // On the calling thread; one address for each argument, in order.
  void run(std::initializer_list<const float*> addresses) const {
    const Thread& mine = threads_[static_cast<size_t>(threadIndex())];
    size_t i = 0;
    for (const float* address : addresses) mine.place(i++, address);
    if (scratchBytes_ > 0) mine.place(i, scratch_.u8() + threadIndex() * scratchBytes_);
    const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), mine.stream.get(),
                                                        static_cast<int>(mine.arguments.size()), mine.arguments.data());
    if (status != dnnl_success)
      throw Error("DEVICE", "oneDNN failed at " + subject_ + " (status " + std::to_string(status) + ")");
  }

 private:
  struct Thread {
    dnnl::stream stream;
    std::vector<dnnl::memory> memories;
    std::vector<dnnl_exec_arg_t> arguments;

    void add(const dnnl::engine& engine, const Argument& argument) {
      memories.push_back(dnnl::memory(argument.description, engine, DNNL_MEMORY_NONE));
      arguments.push_back({argument.name, memories.back().get()});
    }
    void place(size_t i, const void* address) const {
      if (memories[i].get_data_handle() != address) memories[i].set_data_handle(const_cast<void*>(address));
    }
  };

  dnnl::primitive primitive_;
  std::string subject_;
  std::vector<Thread> threads_;
  int64_t scratchBytes_ = 0;
  View scratch_;
};

}  // namespace autoprog::cpu
