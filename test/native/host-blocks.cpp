// Blocks of host memory, for test/native/host-blocks.test.ts: each case prints `ok` or what went wrong.
#include "runtime/host-blocks.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using autoprog::HostBlocks;

void expect(bool right, const std::string& what) {
  if (right) return;
  std::puts(what.c_str());
  std::exit(1);
}

// The system's memory, which knows what is out.
struct System {
  std::mutex mutex;
  std::map<std::byte*, size_t> out;
  bool empty = false;  // of memory

  std::shared_ptr<HostBlocks> blocks() {
    return std::make_shared<HostBlocks>(
        [this](size_t bytes) {
          if (empty) throw std::runtime_error("no memory");
          auto* block = static_cast<std::byte*>(std::malloc(bytes));
          const std::lock_guard lock(mutex);
          out[block] = bytes;
          return block;
        },
        [this](std::byte* block, size_t bytes) {
          const std::lock_guard lock(mutex);
          expect(out.count(block) == 1 && out[block] == bytes, "a block was released that is not out");
          out.erase(block);
          std::free(block);
        });
  }
  size_t count() {
    const std::lock_guard lock(mutex);
    return out.size();
  }
};

void reuse() {
  System system;
  const auto blocks = system.blocks();
  const std::byte* first = blocks->take(100'000).get();  // let go at once
  expect(blocks->take(90'000).get() == first, "a block that lay there was not used again");
  expect(blocks->take(10'000).get() != first, "a block ten times as large was used");
  const auto held = blocks->take(100'000);
  expect(held.get() == first, "the fitting one of two was not used");
  expect(blocks->take(100'000).get() != first, "a block that is held was used again");
  expect(blocks->take(0) != nullptr, "no block for no bytes");
}

// Each thread finds what it wrote for as long as it holds a block.
void threads() {
  System system;
  const auto blocks = system.blocks();
  std::atomic<bool> mixed{false};
  std::vector<std::thread> all;
  for (int index = 0; index < 4; index++)
    all.emplace_back([&, index] {
      for (int round = 0; round < 500; round++) {
        const size_t bytes = 5000 + 1000 * static_cast<size_t>(round % 7);
        const auto block = blocks->take(bytes);
        std::memset(block.get(), index, bytes);
        if (round % 50 == 0) blocks->trim();
        for (size_t i = 0; i < bytes; i += 97)
          if (block.get()[i] != static_cast<std::byte>(index)) mixed = true;
      }
    });
  for (auto& thread : all) thread.join();
  expect(!mixed, "two threads held one block");
  expect(system.count() <= 12, std::to_string(system.count()) + " blocks for four threads");
}

void trim() {
  System system;
  const auto blocks = system.blocks();
  const auto held = blocks->take(10'000);
  { const auto large = blocks->take(1 << 20); }
  expect(system.count() == 2, "expected two blocks");
  blocks->trim();
  expect(system.count() == 2, "what was used just now was released");
  for (int step = 0; step < 100; step++) blocks->take(50'000);
  expect(system.count() == 3, "expected three blocks");
  blocks->trim();
  expect(system.count() == 2, "what lay there unused was not released");
  blocks->trim();
  expect(system.out.count(held.get()) == 1, "what is held was released");
}

void close() {
  System system;
  auto blocks = system.blocks();
  auto held = blocks->take(10'000), longer = blocks->take(20'000);
  { const auto free = blocks->take(30'000); }
  blocks->close();
  expect(system.count() == 2, "what lay there was not released");
  held = nullptr;
  expect(system.count() == 1, "what came back afterwards was not released");
  blocks = nullptr;
  std::memset(longer.get(), 1, 20'000);
  longer = nullptr;
  expect(system.count() == 0, "what outlived all others was not released");
}

void exhausted() {
  System system;
  const auto blocks = system.blocks();
  { const auto block = blocks->take(10'000); }
  system.empty = true;
  bool thrown = false;
  try {
    blocks->take(100'000);
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  expect(thrown, "no error where there is no memory");
  expect(blocks->take(10'000) != nullptr && system.count() == 1, "the block that lay there is lost");
}

}  // namespace

int main(int, char** arguments) {
  const std::string name = arguments[1];
  if (name == "reuse") reuse();
  if (name == "threads") threads();
  if (name == "trim") trim();
  if (name == "close") close();
  if (name == "exhausted") exhausted();
  std::puts("ok");
}
