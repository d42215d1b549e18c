#pragma once

#include "binding/napi.h"
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
  const void* buffer;  // where the memory begins that it is a part of
};
Memory toMemory(const Napi::Value& value, const std::string& name);
// The same of a certain type, which `wanted` says in words.
Memory toMemory(const Napi::Value& value, napi_typedarray_type type, const std::string& wanted,
                const std::string& name);

// Of a Float32Array, Int32Array or Uint8Array.
Type typeOf(const Memory& memory, const std::string& name);

// A Float32Array, Int32Array or Uint8Array over a block that a device is sent without a copy, of undefined contents.
// The block outlives the array as long as anything reads or writes it, whatever becomes of the array. V8 counts it as
// memory of JavaScript's.
Napi::Value newHostArray(Napi::Env env, HostBlocks& blocks, Type type, size_t count);

// Takes such an array's memory away, before it is garbage: its length is 0 from then on. Nothing happens to others.
void takeAway(const Napi::Value& value);

// The memory of such an array, or of a part of one; null for any other.
std::shared_ptr<std::byte> heldBlock(Napi::Env env, const Memory& memory);

// Values for a device, which JavaScript may change, lose or transfer from now on: those of host arrays as they are, all
// others copied, into one block.
std::vector<HostValues> hold(Napi::Env env, HostBlocks& blocks, const std::vector<Memory>& values);

// A new typed array that takes over the buffer's memory. None is asked of V8, which ends the process where it finds
// none.
Napi::Value fromBuffer(Napi::Env env, Buffer&& buffer);

// The object that lib/graph/compile.ts makes.
ProgramDescription toDescription(const Napi::Value& value);

}  // namespace autoprog::binding
