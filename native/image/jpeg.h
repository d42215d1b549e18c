#pragma once

#include <string>

#include "image/plan.h"

namespace autoprog::image {

// A JPEG in memory, and what its header says of its size.
struct Jpeg {
  const uint8_t* bytes;
  size_t size;
  int width, height;
};

struct JpegOptions {
  // Decode every pixel as it is; otherwise at a half, a quarter or an eighth of the size where the plan shrinks by
  // more.
  bool exact;
  // Read the whole file, to see whether it is sound; otherwise only as far as the plan needs.
  bool verify;
};

// Carries out a plan for an image of three channels of which only what the plan needs is decoded. False where anything
// about its scans is unusual, down to a warning, or where there are hundreds of them: then another decoder has to
// judge. `decodeSeconds` is the decoder's part.
bool carryOut(const Plan& plan, const Jpeg& jpeg, const JpegOptions& options, uint8_t* out, double& decodeSeconds);

// The decoder's name and version; empty in a build without one.
std::string jpegDecoder();

}  // namespace autoprog::image
