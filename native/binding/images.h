#pragma once

#include <napi.h>

namespace autoprog::binding {

// transformImages(sources, channels, plans, height, width, target, offset): a promise of the seconds that all
// plans took, on one of libuv's threads. Image i of the plans becomes the i-th (height, width, channels) from byte
// `offset` of the target.
Napi::Value transformImages(const Napi::CallbackInfo& info);

}  // namespace autoprog::binding
