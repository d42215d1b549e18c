#pragma once

#include <napi.h>

#include "runtime/program.h"

// JavaScript values into native ones. Every function throws Error (SHAPE) on a value that it cannot take.
namespace autoprog::binding {

// An integer in [low, high].
int64_t toInteger(const Napi::Value& value, const char* name, int64_t low, int64_t high);

std::string toText(const Napi::Value& value, const char* name);

Type toType(const Napi::Value& value);

// A copy of a typed array's elements: Float32Array, Int32Array or Uint8Array.
Buffer toBuffer(const Napi::Value& value, const char* name);

// A new typed array that holds the buffer's elements.
Napi::Value fromBuffer(Napi::Env env, const Buffer& buffer);

// The object that lib/graph/compile.ts makes.
ProgramDescription toDescription(const Napi::Value& value);

}  // namespace autoprog::binding
