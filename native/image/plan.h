#pragma once

#include <string>
#include <vector>

#include "image/image.h"

namespace autoprog::image {

// One operation of a plan, in the order of lib/data/image/operations.ts.
enum class Kind {
  crop,
  resize,
  flip,
  affine,
  autoContrast,
  equalize,
  invert,
  posterize,
  solarize,
  solarizeAdd,
  color,
  contrast,
  brightness,
  sharpness,
};

struct Step {
  Kind kind;
  std::array<double, 10> values;
};

// What becomes of one picture, and the size at its end.
struct Plan {
  std::vector<Step> steps;
  int width, height;
};

// A side of a picture in pixels. Throws SHAPE on what is none.
int toSide(double value, const char* name);

// Reads [kind, value, …, kind, value, …] for a picture of width x height. Throws SHAPE on what is no plan, so that a
// plan that has been read can be carried out.
Plan toPlan(const double* numbers, size_t count, int width, int height);

// Writes the transformed picture to `out`, plan.height x plan.width x channels.
void carryOut(const Plan& plan, const Picture& picture, uint8_t* out);

}  // namespace autoprog::image
