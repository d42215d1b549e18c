#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/engine.h"

namespace autoprog::cuda {

// c (m, n) = op(a) op(b) + beta c, all row-major without gaps; op transposes where asked, after which a is (m, k) and b
// (k, n). a and b have one type, c that or f32; sums are f32.
struct Product {
  View a, b, c;
  bool transposeA = false, transposeB = false;
  int64_t m = 0, n = 0, k = 0;
  float beta = 0;
  View bias{};           // (n) of c's type, added to every row; none where it has no arena
  View columnSumsOfA{};  // f32 (m): sums over k of op(a) (=), what a bias's gradient is; none where it has no arena
};

// Products by cuBLASLt, which is opened at run time. Of the algorithms that it proposes for a product the fastest is
// taken, measured on the device once per shape, type and alignment, and remembered in a file from run to run; on a
// deterministic engine the first one that runs.
class Blas {
 public:
  virtual ~Blas() = default;
  // A kernel for the product, whose algorithm has run before. Where cuBLASLt has none, a kernel of our own and a
  // notice; a null one where the product is asked for with a bias or with sums. Throws DEVICE where nothing can make
  // it.
  virtual Kernel prepare(const Operands& operands, const Product& product) = 0;
  virtual std::string version() const = 0;
};

// Throws DEVICE, naming the places searched, where the library is missing.
std::unique_ptr<Blas> openBlas(CudaEngine& engine);

}  // namespace autoprog::cuda
