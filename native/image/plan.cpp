#include "image/plan.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "runtime/error.h"

namespace autoprog::image {

namespace {

constexpr int kLargestSide = 1 << 16;
constexpr double kLargestNumber = 1e6;

struct Shape {
  const char* name;
  size_t values;
};
// In the order of Kind.
constexpr Shape kShapes[] = {
    {"crop", 4},     {"resize", 7},   {"flip", 0},       {"affine", 10},   {"autoContrast", 0},
    {"equalize", 0}, {"invert", 0},   {"posterize", 1},  {"solarize", 1},  {"solarizeAdd", 1},
    {"color", 1},    {"contrast", 1}, {"brightness", 1}, {"sharpness", 1},
};

Filter toFilter(double value) {
  require(value == 0 || value == 1, "SHAPE",
          [&] { return "Expected 0 or 1 for a filter but received " + std::to_string(value); });
  return value == 0 ? Filter::bilinear : Filter::bicubic;
}

void check(const Step& step, Plan& plan) {
  const auto& v = step.values;
  const auto within = [&](double value, double low, double high) {
    require(value >= low && value <= high && value == std::floor(value), "SHAPE", [&] {
      return "Expected an integer from " + std::to_string(static_cast<int>(low)) + " to " +
             std::to_string(static_cast<int>(high)) + " for " + kShapes[static_cast<size_t>(step.kind)].name +
             " but received " + std::to_string(value);
    });
  };
  switch (step.kind) {
    case Kind::crop:
      within(v[0], -kLargestSide, kLargestSide);
      within(v[1], -kLargestSide, kLargestSide);
      plan.width = toSide(v[2], "crop");
      plan.height = toSide(v[3], "crop");
      break;
    case Kind::resize: {
      const auto left = static_cast<float>(v[3]), top = static_cast<float>(v[4]), right = static_cast<float>(v[5]),
                 bottom = static_cast<float>(v[6]);
      require(left >= 0 && top >= 0 && left < right && top < bottom && right <= static_cast<float>(plan.width) &&
                  bottom <= static_cast<float>(plan.height),
              "SHAPE", [&] {
                return "The region to resize lies outside of the image of " + std::to_string(plan.width) + " x " +
                       std::to_string(plan.height) + " pixels";
              });
      plan.width = toSide(v[0], "resize");
      plan.height = toSide(v[1], "resize");
      toFilter(v[2]);
      break;
    }
    case Kind::affine:
      toFilter(v[6]);
      for (size_t i = 7; i < 10; i++) within(v[i], 0, 255);
      break;
    case Kind::posterize:
      within(v[0], 0, 8);
      break;
    case Kind::solarize:
    case Kind::solarizeAdd:
      within(v[0], 0, 256);
      break;
    default:
      break;
  }
  require(static_cast<int64_t>(plan.width) * plan.height <= int64_t{1} << 28, "SHAPE", [&] {
    return "An image of " + std::to_string(plan.width) + " x " + std::to_string(plan.height) + " pixels is too large";
  });
}

Image copy(const Picture& picture) { return crop(picture, 0, 0, picture.width, picture.height); }

uint8_t toByte(double value) { return static_cast<uint8_t>(value); }

void apply(const Step& step, const Picture& picture, std::optional<Image>& image) {
  const auto& v = step.values;
  const Picture now = image ? image->view() : picture;
  const auto integer = [&](size_t i) { return static_cast<int>(v[i]); };
  switch (step.kind) {
    case Kind::crop:
      image = crop(now, integer(0), integer(1), integer(2), integer(3));
      return;
    case Kind::resize:
      image = resize(
          now, integer(0), integer(1), toFilter(v[2]),
          {static_cast<float>(v[3]), static_cast<float>(v[4]), static_cast<float>(v[5]), static_cast<float>(v[6])});
      return;
    case Kind::affine:
      image =
          affine(now, {v[0], v[1], v[2], v[3], v[4], v[5]}, toFilter(v[6]), {toByte(v[7]), toByte(v[8]), toByte(v[9])});
      return;
    default:
      break;
  }
  if (!image) image = copy(picture);
  switch (step.kind) {
    case Kind::flip:
      return flip(*image);
    case Kind::autoContrast:
      return autoContrast(*image);
    case Kind::equalize:
      return equalize(*image);
    case Kind::invert:
      return map(*image, inverted());
    case Kind::posterize:
      return map(*image, posterized(integer(0)));
    case Kind::solarize:
      return map(*image, solarized(integer(0)));
    case Kind::solarizeAdd:
      return map(*image, brightenedBelowMiddle(integer(0)));
    case Kind::color:
      return enhanceColor(*image, v[0]);
    case Kind::contrast:
      return enhanceContrast(*image, v[0]);
    case Kind::brightness:
      return enhanceBrightness(*image, v[0]);
    case Kind::sharpness:
      return enhanceSharpness(*image, v[0]);
    default:
      return;
  }
}

}  // namespace

int toSide(double value, const char* name) {
  require(value >= 1 && value <= kLargestSide && value == std::floor(value), "SHAPE", [&] {
    return std::string("Expected a whole number of pixels from 1 to 65536 for ") + name + " but received " +
           std::to_string(value);
  });
  return static_cast<int>(value);
}

Plan toPlan(const double* numbers, size_t count, int width, int height) {
  Plan plan{{}, width, height};
  for (size_t i = 0; i < count;) {
    const double kind = numbers[i++];
    require(kind >= 0 && kind < static_cast<double>(std::size(kShapes)) && kind == std::floor(kind), "SHAPE",
            [&] { return "There is no operation on images of number " + std::to_string(kind); });
    Step step{static_cast<Kind>(static_cast<int>(kind)), {}};
    const Shape& shape = kShapes[static_cast<size_t>(kind)];
    require(i + shape.values <= count, "SHAPE",
            [&] { return std::string("Expected ") + std::to_string(shape.values) + " numbers for " + shape.name; });
    for (size_t j = 0; j < shape.values; j++) {
      step.values[j] = numbers[i++];
      require(std::abs(step.values[j]) <= kLargestNumber, "SHAPE", [&] {
        return std::string("Expected numbers within a million for ") + shape.name + " but received " +
               std::to_string(step.values[j]);
      });
    }
    check(step, plan);
    plan.steps.push_back(step);
  }
  return plan;
}

void carryOut(const Plan& plan, const Picture& picture, uint8_t* out) {
  std::optional<Image> image;
  for (const Step& step : plan.steps) apply(step, picture, image);
  const Picture result = image ? image->view() : picture;
  std::memcpy(out, result.pixels, result.bytes());
}

}  // namespace autoprog::image
