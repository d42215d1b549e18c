#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/platform.h"
#include "ops/ops.h"

namespace autoprog::cuda {

class Blas;

// One GPU. Kernels, copies and their order live on its compute stream; what the host sends travels on another
// meanwhile.
class CudaEngine : public Engine {
 public:
  virtual cudaStream_t stream() const = 0;
  virtual Blas& blas() = 0;
  virtual const cudaDeviceProp& properties() const = 0;
  // Whether f32 products may round their factors to TF32, 10 bits of mantissa, for the tensor cores.
  virtual bool tf32() const = 0;
  // Whether nothing may depend on how long something takes.
  virtual bool deterministic() const = 0;
  // Adds to what takeNotices gives.
  virtual void notify(const std::string& notice) = 0;
  // Milliseconds that the work takes on the compute stream, which it waits for.
  virtual double measure(const std::function<void()>& work) = 0;
};

// Held while a stream is captured, and while a library is asked for what it does not answer then: on CUDA 13.3 cuBLASLt
// proposes nothing as long as any stream of the process is captured.
std::mutex& captureMutex();

// Throws DEVICE where there is no such GPU, or what it needs is missing, naming the piece.
std::unique_ptr<Engine> createEngine(int index, bool tf32, bool deterministic);

inline CudaEngine& engineOf(const Operands& operands) { return static_cast<CudaEngine&>(*operands.engine); }
inline cudaStream_t streamOf(const Operands& operands) { return engineOf(operands).stream(); }

// A list that a kernel reads, put on the device once when the op is prepared.
template <typename T>
class Table {
 public:
  Table(const Operands& operands, const std::vector<T>& values)
      : arena_(std::make_shared<Arena>(*operands.engine, values.size() * sizeof(T))), count_(values.size()) {
    if (!values.empty()) operands.engine->upload(arena_->base(), values.data(), values.size() * sizeof(T));
  }
  const T* data() const { return reinterpret_cast<const T*>(arena_->base()); }
  size_t size() const { return count_; }

 private:
  std::shared_ptr<Arena> arena_;
  size_t count_;
};

}  // namespace autoprog::cuda
