#include "cpu/backend.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include "cpu/gemm.h"

namespace autoprog::cpu {

const Backend& backend() {
  static const Backend instance{
      "cpu", []() -> const std::vector<Implementation>& {
        static const std::vector<Implementation> all = [] {
          std::vector<Implementation> list;
          for (const auto& group : {images(), patches(), tokens(), linear(), layerNorm(), attention(), keepScale(),
                                    crossEntropy(), optimizer(), add()})
            list.insert(list.end(), group.begin(), group.end());
          return list;
        }();
        return all;
      }};
  return instance;
}

std::vector<std::pair<std::string, std::string>> features() {
  const auto targets = hwy::SupportedAndGeneratedTargets();
  const auto best = targets.empty() ? std::string("none") : std::string(hwy::TargetName(targets.front()));
  return {{"simd", best}, {"gemm", gemmLibrary()}};
}

}  // namespace autoprog::cpu
