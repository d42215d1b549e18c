#include "cuda/libraries.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "cuda/platform.h"
#include "runtime/error.h"

#ifndef AUTOPROG_EMULATOR
#include <dlfcn.h>
#include <glob.h>
#endif

namespace autoprog::cuda {

#ifdef AUTOPROG_EMULATOR

const CublasLtLibrary& openCublasLt() {
  static const CublasLtLibrary library{
      cublasLtCreate,
      cublasLtDestroy,
      cublasLtGetVersion,
      cublasLtGetStatusString,
      cublasLtMatmulDescCreate,
      cublasLtMatmulDescDestroy,
      cublasLtMatmulDescSetAttribute,
      cublasLtMatrixLayoutCreate,
      cublasLtMatrixLayoutDestroy,
      cublasLtMatmulPreferenceCreate,
      cublasLtMatmulPreferenceDestroy,
      cublasLtMatmulPreferenceSetAttribute,
      cublasLtMatmulAlgoGetHeuristic,
      cublasLtMatmul,
  };
  return library;
}

std::string cacheFile(const std::string&) { return {}; }

#else

namespace {

std::string fromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::vector<std::string> placesOf(const std::string& file) {
  std::vector<std::string> places;
  const auto add = [&](const std::string& folder) {
    if (!folder.empty()) places.push_back(folder + "/" + file);
  };
  add(fromEnvironment("AUTOPROG_CUDA_LIBRARIES"));
  places.push_back(file);  // wherever the system looks
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string home = fromEnvironment(variable); !home.empty()) add(home + "/lib64");
  add("/usr/local/cuda/lib64");
  for (const std::string& root :
       {fromEnvironment("VIRTUAL_ENV") + "/lib/python3*/site-packages",
        fromEnvironment("HOME") + "/.local/lib/python3*/site-packages",
        std::string("/usr/local/lib/python3*/site-packages"), std::string("/usr/local/lib/python3*/dist-packages"),
        std::string("/opt/conda/lib/python3*/site-packages"), std::string("/usr/lib/python3*/site-packages")})
    add(root + "/nvidia/*/lib");
  return places;
}

// dlopen of the first place where it succeeds; places may hold wildcards.
void* open(const std::string& file, std::string& searched) {
  for (const std::string& place : placesOf(file)) {
    searched += (searched.empty() ? "" : ", ") + place;
    if (place.find('*') == std::string::npos) {
      if (void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
      continue;
    }
    glob_t matches{};
    if (glob(place.c_str(), 0, nullptr, &matches) == 0)
      for (size_t i = 0; i < matches.gl_pathc; i++)
        if (void* library = dlopen(matches.gl_pathv[i], RTLD_NOW | RTLD_LOCAL)) {
          globfree(&matches);
          return library;
        }
    globfree(&matches);
  }
  return nullptr;
}

template <typename Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  require(function != nullptr, "DEVICE", std::string("cuBLASLt has no function ") + name);
}

CublasLtLibrary load() {
  const std::string file = "libcublasLt.so." + std::to_string(CUDART_VERSION / 1000);
  std::string searched;
  void* library = open(file, searched);
  require(library != nullptr, "DEVICE",
          "The library " + file + " is missing; searched: " + searched +
              ". Install the CUDA toolkit or pip's nvidia-cublas, or name its folder in AUTOPROG_CUDA_LIBRARIES");
  CublasLtLibrary result{};
  find(library, "cublasLtCreate", result.create);
  find(library, "cublasLtDestroy", result.destroy);
  find(library, "cublasLtGetVersion", result.getVersion);
  find(library, "cublasLtGetStatusString", result.getStatusString);
  find(library, "cublasLtMatmulDescCreate", result.descCreate);
  find(library, "cublasLtMatmulDescDestroy", result.descDestroy);
  find(library, "cublasLtMatmulDescSetAttribute", result.descSetAttribute);
  find(library, "cublasLtMatrixLayoutCreate", result.layoutCreate);
  find(library, "cublasLtMatrixLayoutDestroy", result.layoutDestroy);
  find(library, "cublasLtMatmulPreferenceCreate", result.preferenceCreate);
  find(library, "cublasLtMatmulPreferenceDestroy", result.preferenceDestroy);
  find(library, "cublasLtMatmulPreferenceSetAttribute", result.preferenceSetAttribute);
  find(library, "cublasLtMatmulAlgoGetHeuristic", result.getHeuristic);
  find(library, "cublasLtMatmul", result.matmul);
  return result;
}

}  // namespace

const CublasLtLibrary& openCublasLt() {
  static const CublasLtLibrary library = load();
  return library;
}

std::string cacheFile(const std::string& device) {
  std::string folder = fromEnvironment("XDG_CACHE_HOME");
  if (folder.empty() && !fromEnvironment("HOME").empty()) folder = fromEnvironment("HOME") + "/.cache";
  if (folder.empty()) return {};
  std::error_code failed;
  std::filesystem::create_directories(folder + "/autoprog", failed);
  if (failed) return {};
  std::string name = device;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  return folder + "/autoprog/products-" + name + ".txt";
}

#endif

}  // namespace autoprog::cuda
