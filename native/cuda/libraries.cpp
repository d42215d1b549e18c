#include "cuda/libraries.h"

#include <dlfcn.h>
#include <glob.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "cuda/platform.h"
#include "runtime/error.h"

namespace autoprog::cuda {

namespace {

#ifdef CUDART_VERSION
constexpr size_t kMajor = CUDART_VERSION / 1000;
#else
constexpr size_t kMajor = 13;
#endif

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

// The files that a place with wildcards stands for; any other place stands for itself.
std::vector<std::string> filesAt(const std::string& place) {
  if (place.find('*') == std::string::npos) return {place};
  std::vector<std::string> files;
  glob_t matches{};
  if (glob(place.c_str(), 0, nullptr, &matches) == 0)
    files.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  globfree(&matches);
  return files;
}

// Takes the functions from an open library. Returns what is wrong with it; nothing where it is good.
std::string take(void* handle, CublasLtLibrary& library) {
  std::string missing;
  const auto find = [&]<typename Function>(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(handle, name));
    if (function == nullptr && missing.empty()) missing = name;
  };
  find("cublasLtCreate", library.create);
  find("cublasLtDestroy", library.destroy);
  find("cublasLtGetVersion", library.getVersion);
  find("cublasLtGetStatusString", library.getStatusString);
  find("cublasLtMatmulDescCreate", library.descCreate);
  find("cublasLtMatmulDescDestroy", library.descDestroy);
  find("cublasLtMatmulDescSetAttribute", library.descSetAttribute);
  find("cublasLtMatrixLayoutCreate", library.layoutCreate);
  find("cublasLtMatrixLayoutDestroy", library.layoutDestroy);
  find("cublasLtMatmulPreferenceCreate", library.preferenceCreate);
  find("cublasLtMatmulPreferenceDestroy", library.preferenceDestroy);
  find("cublasLtMatmulPreferenceSetAttribute", library.preferenceSetAttribute);
  find("cublasLtMatmulAlgoGetHeuristic", library.getHeuristic);
  find("cublasLtMatmulAlgoCheck", library.checkAlgorithm);
  find("cublasLtMatmul", library.matmul);
  if (!missing.empty()) return "lacks the function " + missing;
  const size_t major = library.getVersion() / 10000;
  return major == kMajor ? "" : "is of version " + std::to_string(major) + " instead of " + std::to_string(kMajor);
}

// The first library that is good; what others lacked goes with it.
CublasLtLibrary load() {
  const std::string name = "libcublasLt.so." + std::to_string(kMajor);
  std::string searched, complaints;
  for (const std::string& place : placesOf(name)) {
    searched += (searched.empty() ? "" : ", ") + place;
    for (const std::string& file : filesAt(place)) {
      const auto complain = [&](const std::string& what) {
        complaints += (complaints.empty() ? "" : "; ") + file + " " + what;
      };
      void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle == nullptr) {
        const char* reason = dlerror();
        std::error_code ignored;
        if (std::filesystem::exists(file, ignored)) complain("cannot be opened: " + std::string(reason));
        continue;
      }
      CublasLtLibrary library{};
      const std::string wrong = take(handle, library);
      if (wrong.empty()) {
        library.passedOver = complaints.empty() ? "" : complaints + "; another is used instead, " + file;
        return library;
      }
      complain(wrong);
      dlclose(handle);
    }
  }
  throw Error("DEVICE", (complaints.empty() ? "The library " + name + " is missing"
                                            : "No library " + name + " is of use: " + complaints) +
                            "; searched: " + searched +
                            ". Install the CUDA toolkit or pip's nvidia-cublas, or name its folder in "
                            "AUTOPROG_CUDA_LIBRARIES");
}

}  // namespace

#ifdef AUTOPROG_EMULATOR

// The stand-in, unless a test names another.
const CublasLtLibrary& openCublasLt() {
  static const CublasLtLibrary library = fromEnvironment("AUTOPROG_CUDA_LIBRARIES").empty()
                                             ? CublasLtLibrary{
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
                                                   cublasLtMatmulAlgoCheck,
                                                   cublasLtMatmul,
                                                   {},
                                               }
                                             : load();
  return library;
}

#else

const CublasLtLibrary& openCublasLt() {
  static const CublasLtLibrary library = load();
  return library;
}

#endif

std::string cacheFile(const std::string& device) {
  std::string folder;
  if (const char* given = std::getenv("AUTOPROG_CACHE")) folder = given;
#ifndef AUTOPROG_EMULATOR  // whose figures nobody wants again
  else if (const std::string cache = fromEnvironment("XDG_CACHE_HOME"); !cache.empty())
    folder = cache + "/autoprog";
  else if (const std::string home = fromEnvironment("HOME"); !home.empty())
    folder = home + "/.cache/autoprog";
#endif
  if (folder.empty()) return {};
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return {};
  std::string name = device;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  return folder + "/products-" + name + ".txt";
}

}  // namespace autoprog::cuda
