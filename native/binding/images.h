#pragma once

#include "binding/napi.h"

namespace autoprog::binding {

// transformImages(sources, channels, plans, height, width, target, offset): a promise of the seconds that all
// plans took, on one of libuv's threads. The plans are one Float64Array: for each source, which is its pixels, height,
// width, the count of the plan's numbers and these. Image i becomes the i-th (height, width, channels) from byte
// `offset` of the target, all at the end; sources and plans have been copied when the call returns.
Napi::Value transformImages(const Napi::CallbackInfo& info);

// transformJpeg(source, size, plan, options, target, offset): one image that is decoded on the way, from its bytes or
// from the file of that name; size is { height, width } and options { exact, verify, height, width } of the result. A
// promise of [seconds of decoding, seconds of the rest], or of undefined where anything about the file is unusual.
Napi::Value transformJpeg(const Napi::CallbackInfo& info);

// jpegDecoder(): its name and version, empty where the build has none.
Napi::Value jpegDecoder(const Napi::CallbackInfo& info);

}  // namespace autoprog::binding
