#pragma once

#include <string>

#ifdef AUTOPROG_EMULATOR
#include "emulator/cublasLt.h"
#else
#include <cublasLt.h>
#endif

namespace autoprog::cuda {

// The functions of cuBLASLt that are used.
struct CublasLtLibrary {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) getVersion;
  decltype(&cublasLtGetStatusString) getStatusString;
  decltype(&cublasLtMatmulDescCreate) descCreate;
  decltype(&cublasLtMatmulDescDestroy) descDestroy;
  decltype(&cublasLtMatmulDescSetAttribute) descSetAttribute;
  decltype(&cublasLtMatrixLayoutCreate) layoutCreate;
  decltype(&cublasLtMatrixLayoutDestroy) layoutDestroy;
  decltype(&cublasLtMatmulPreferenceCreate) preferenceCreate;
  decltype(&cublasLtMatmulPreferenceDestroy) preferenceDestroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preferenceSetAttribute;
  decltype(&cublasLtMatmulAlgoGetHeuristic) getHeuristic;
  decltype(&cublasLtMatmulAlgoCheck) checkAlgorithm;
  decltype(&cublasLtMatmul) matmul;
  std::string passedOver{};  // other files of that name, what each of them lacks, and which file this is
};

// Opens the library once per process: from AUTOPROG_CUDA_LIBRARIES, the system, the toolkit, or pip's nvidia folders.
// One that lacks a function or is of another major version is passed over. Throws DEVICE, naming the places searched
// and what was wrong there.
const CublasLtLibrary& openCublasLt();

// Where to keep what was measured on a device, of a name for humans: in AUTOPROG_CACHE, or the user's folder for such
// things; empty where there is no place for it.
std::string cacheFile(const std::string& device);

}  // namespace autoprog::cuda
