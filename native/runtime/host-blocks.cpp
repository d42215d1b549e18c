#include "runtime/host-blocks.h"

#include <algorithm>

namespace autoprog {

namespace {

// Takes by others after which a block has served its time: some ten steps.
constexpr uint64_t kIdle = 32;

// Whole pages, and of large blocks whole mebibytes, so that batches of nearly one size share blocks.
size_t roundUp(size_t bytes) {
  const size_t unit = bytes < (size_t{1} << 20) ? 4096 : size_t{1} << 20;
  return (std::max<size_t>(bytes, 1) + unit - 1) / unit * unit;
}

}  // namespace

std::shared_ptr<std::byte> HostBlocks::take(size_t bytes) {
  const size_t size = roundUp(bytes);
  Block block = find(size);
  if (block.data == nullptr) {
    block.bytes = size;
    block.data = allocate_(size);
  }
  return {block.data, [self = shared_from_this(), block](std::byte*) { self->giveBack(block); }};
}

HostBlocks::Block HostBlocks::find(size_t bytes) {
  const std::lock_guard lock(mutex_);
  const uint64_t take = ++takes_;
  auto best = free_.end();
  for (auto block = free_.begin(); block != free_.end(); ++block)
    if (block->bytes >= bytes && block->bytes <= 2 * bytes && (best == free_.end() || block->bytes <= best->bytes))
      best = block;
  if (best == free_.end()) {
    free_.reserve(++count_);
    return {nullptr, 0, take};
  }
  const Block found{best->data, best->bytes, take};
  free_.erase(best);
  return found;
}

void HostBlocks::giveBack(const Block& block) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) return free_.push_back(block);
  }
  release_(block.data, block.bytes);
}

void HostBlocks::trim() {
  std::vector<Block> old;
  {
    const std::lock_guard lock(mutex_);
    for (const Block& block : free_)
      if (takes_ - block.taken > kIdle) old.push_back(block);
    if (old.empty()) return;
    std::erase_if(free_, [&](const Block& block) { return takes_ - block.taken > kIdle; });
    count_ -= old.size();
  }
  release(old);
}

void HostBlocks::close() {
  std::vector<Block> all;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    all.swap(free_);
  }
  release(all);
}

void HostBlocks::release(const std::vector<Block>& blocks) const {
  for (const Block& block : blocks) release_(block.data, block.bytes);
}

}  // namespace autoprog
