// Parts of JPEGs by libjpeg-turbo: what a random crop leaves out is neither transformed nor converted, and what it
// shrinks by half or more is transformed at that size.
#include "image/jpeg.h"

#ifdef AUTOPROG_JPEG

#include <csetjmp>
#include <cstdio>
// Needs the line above.
#include <jpeglib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace autoprog::image {

namespace {

struct Box {
  int left, top, width, height;
};

// libjpeg's way out of an error; what it would print is counted.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf back;
};

void leave(j_common_ptr common) { std::longjmp(reinterpret_cast<ErrorManager*>(common->err)->back, 1); }
void count(j_common_ptr common, int level) {
  if (level < 0) common->err->num_warnings++;
}

// Scans of a progressive JPEG at most, and of all of them together the pixels passed over, as lib/data/image/limits.ts
// has them. A file of a few hundred kilobytes may hold thousands of scans; encoders write ten or so.
constexpr int kScans = 500;
constexpr uint64_t kPixelsPassed = uint64_t{1} << 33;

void limitScans(j_common_ptr common) {
  const auto* info = reinterpret_cast<j_decompress_ptr>(common);
  const auto scans = static_cast<uint64_t>(info->input_scan_number);
  if (scans > kScans || scans * info->image_width * info->image_height > kPixelsPassed) leave(common);
}

// Pixels beside a box that its colours, interpolated from every second one, depend on; rows alike.
constexpr int kMargin = 16;

// The pixels of `box`, in an image of 1 / denominator of the size, as RGB. `line` has room for one whole row. Nothing
// here has a destructor, since errors jump out of it.
bool decode(const Jpeg& jpeg, int denominator, const Box& box, bool verify, uint8_t* line, uint8_t* out) {
  jpeg_decompress_struct info;
  ErrorManager errors;
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = leave;
  errors.base.emit_message = count;
  if (setjmp(errors.back)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_progress_mgr progress{};
  progress.progress_monitor = limitScans;
  info.progress = &progress;
  jpeg_mem_src(&info, jpeg.bytes, jpeg.size);
  jpeg_read_header(&info, TRUE);
  const bool known =
      info.jpeg_color_space == JCS_YCbCr || info.jpeg_color_space == JCS_GRAYSCALE || info.jpeg_color_space == JCS_RGB;
  if (!known || static_cast<int>(info.image_width) != jpeg.width ||
      static_cast<int>(info.image_height) != jpeg.height) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  // What is odd before the first scan does no harm to the pixels.
  info.err->num_warnings = 0;
  info.out_color_space = JCS_RGB;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(denominator);
  jpeg_start_decompress(&info);
  const int width = static_cast<int>(info.output_width), height = static_cast<int>(info.output_height);
  auto first = static_cast<JDIMENSION>(std::max(0, box.left - kMargin));
  auto across = static_cast<JDIMENSION>(std::min(width, box.left + box.width + kMargin)) - first;
  if (across < info.output_width) jpeg_crop_scanline(&info, &first, &across);
  if (box.top > kMargin) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.top - kMargin));
  const size_t bytes = static_cast<size_t>(box.width) * 3;
  const auto read = [&] {
    JSAMPROW row = line;
    jpeg_read_scanlines(&info, &row, 1);
  };
  while (static_cast<int>(info.output_scanline) < box.top + box.height) {
    const int y = static_cast<int>(info.output_scanline) - box.top;
    read();
    if (y >= 0)
      std::memcpy(out + static_cast<size_t>(y) * bytes,
                  line + static_cast<size_t>(box.left - static_cast<int>(first)) * 3, bytes);
  }
  if (verify) {
    // The last row has to be read: skipping to the end would not look at what is skipped.
    const int left = height - static_cast<int>(info.output_scanline);
    if (left > 1) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(left - 1));
    if (left > 0) read();
    jpeg_finish_decompress(&info);
  }
  const bool sound = info.err->num_warnings == 0;
  jpeg_destroy_decompress(&info);
  return sound;
}

// The part of the image that a plan begins with and the size that it scales it to at once, in its first `steps` steps.
struct Beginning {
  Region region;
  int width, height;
  size_t steps;
};

Region toRegion(const Step& resize) {
  const auto at = [&](size_t i) { return static_cast<float>(resize.values[i]); };
  return {at(3), at(4), at(5), at(6)};
}

Beginning beginningOf(const Plan& plan, const Jpeg& jpeg) {
  const auto wide = static_cast<float>(jpeg.width), high = static_cast<float>(jpeg.height);
  const auto& steps = plan.steps;
  const auto size = [](const Step& step, size_t i) { return static_cast<int>(step.values[i]); };
  if (!steps.empty() && steps[0].kind == Kind::resize)
    return {toRegion(steps[0]), size(steps[0], 0), size(steps[0], 1), 1};
  if (steps.size() >= 2 && steps[0].kind == Kind::crop && steps[1].kind == Kind::resize) {
    const float left = static_cast<float>(steps[0].values[0]), top = static_cast<float>(steps[0].values[1]);
    const float width = static_cast<float>(steps[0].values[2]), height = static_cast<float>(steps[0].values[3]);
    const Region inner = toRegion(steps[1]);
    const bool whole = inner.left == 0 && inner.top == 0 && inner.right == width && inner.bottom == height;
    if (whole && left >= 0 && top >= 0 && left + width <= wide && top + height <= high)
      return {{left, top, left + width, top + height}, size(steps[1], 0), size(steps[1], 1), 2};
  }
  return {{0, 0, wide, high}, jpeg.width, jpeg.height, 0};
}

}  // namespace

bool carryOut(const Plan& plan, const Jpeg& jpeg, const JpegOptions& options, uint8_t* out, double& decodeSeconds) {
  const auto [region, width, height, steps] = beginningOf(plan, jpeg);
  int denominator = 1;
  const float across = region.right - region.left, down = region.bottom - region.top;
  while (!options.exact && denominator < 8 && across >= static_cast<float>(2 * denominator * width) &&
         down >= static_cast<float>(2 * denominator * height))
    denominator *= 2;
  const auto scaled = [&](int extent) { return (extent + denominator - 1) / denominator; };
  const auto share = static_cast<float>(denominator);
  // A cut picture ends at its edges; one that is only scaled is interpolated from beyond the region's.
  const float reach =
      steps == 1 ? 4 * std::max(1.0f, std::max(across / static_cast<float>(width), down / static_cast<float>(height)))
                 : 0;
  Box box;
  box.left = std::max(0, static_cast<int>(std::floor((region.left - reach) / share)));
  box.top = std::max(0, static_cast<int>(std::floor((region.top - reach) / share)));
  box.width = std::min(scaled(jpeg.width), static_cast<int>(std::ceil((region.right + reach) / share))) - box.left;
  box.height = std::min(scaled(jpeg.height), static_cast<int>(std::ceil((region.bottom + reach) / share))) - box.top;

  const auto started = std::chrono::steady_clock::now();
  std::vector<uint8_t> line(static_cast<size_t>(scaled(jpeg.width) + 64) * 3);
  Image image(box.width, box.height, 3);
  const bool sound = decode(jpeg, denominator, box, options.verify, line.data(), image.data());
  decodeSeconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (!sound) return false;

  Plan rest{{}, plan.width, plan.height};
  if (steps > 0) {
    const auto limited = [&](float value, int extent) { return std::clamp(value, 0.0f, static_cast<float>(extent)); };
    const double left = limited(region.left / share - static_cast<float>(box.left), box.width);
    const double top = limited(region.top / share - static_cast<float>(box.top), box.height);
    const double right = limited(region.right / share - static_cast<float>(box.left), box.width);
    const double bottom = limited(region.bottom / share - static_cast<float>(box.top), box.height);
    Step resize = plan.steps[steps - 1];
    resize.values[3] = left;
    resize.values[4] = top;
    resize.values[5] = right;
    resize.values[6] = bottom;
    rest.steps.push_back(resize);
  }
  rest.steps.insert(rest.steps.end(), plan.steps.begin() + static_cast<ptrdiff_t>(steps), plan.steps.end());
  carryOut(rest, image.view(), out);
  return true;
}

#define AUTOPROG_TEXT_(value) #value
#define AUTOPROG_TEXT(value) AUTOPROG_TEXT_(value)
std::string jpegDecoder() { return "libjpeg-turbo " AUTOPROG_TEXT(LIBJPEG_TURBO_VERSION); }

}  // namespace autoprog::image

#else

namespace autoprog::image {

bool carryOut(const Plan&, const Jpeg&, const JpegOptions&, uint8_t*, double&) { return false; }
std::string jpegDecoder() { return {}; }

}  // namespace autoprog::image

#endif
