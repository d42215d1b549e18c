#pragma once

#include <napi.h>

#include "runtime/program.h"

// JavaScript values into native ones. Every function throws Error (SHAPE) on a value that it cannot take.
namespace autoprog::binding {

// An integer in [low, high].
int64_t toInteger(const Napi::Value& value, const char* name, int64_t low, int64_t high);

std::string toText(const Napi::Value& value, const char* name);

Type toType(const Napi::Value& value);

// The bytes of a typed array where JavaScript has them. They stay there until its code runs again, which reading a
// property or an entry may bring about: whoever needs several values reads them all before this.
struct Memory {
  napi_typedarray_type type;
  std::byte* data;
  size_t size;
};
Memory toMemory(const Napi::Value& value, const std::string& name);
// The same of a certain type, which `wanted` says in words.
Memory toMemory(const Napi::Value& value, napi_typedarray_type type, const std::string& wanted,
                const std::string& name);

// A copy of a typed array's elements: Float32Array, Int32Array or Uint8Array.
Buffer toBuffer(const Napi::Value& value, const char* name);

// A new typed array that takes over the buffer's memory. None is asked of V8, which ends the process where it finds
// none.
Napi::Value fromBuffer(Napi::Env env, Buffer&& buffer);

// The object that lib/graph/compile.ts makes.
ProgramDescription toDescription(const Napi::Value& value);

}  // namespace autoprog::binding
