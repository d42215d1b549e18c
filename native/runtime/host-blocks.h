#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace autoprog {

// Memory of the host in which values wait for a device. Blocks are used again rather than asked of the system, whose
// fresh pages cost more than the copy into them, and whose page-locked ones far more. Any thread may take one and let
// it go.
class HostBlocks : public std::enable_shared_from_this<HostBlocks> {
 public:
  using Allocate = std::function<std::byte*(size_t bytes)>;  // throws MEMORY
  using Release = std::function<void(std::byte* block, size_t bytes)>;

  HostBlocks(Allocate allocate, Release release) : allocate_(std::move(allocate)), release_(std::move(release)) {}
  ~HostBlocks() { close(); }
  HostBlocks(const HostBlocks&) = delete;
  HostBlocks& operator=(const HostBlocks&) = delete;

  // At least `bytes` of undefined contents; they come back once nobody holds them.
  std::shared_ptr<std::byte> take(size_t bytes);
  // Releases what has lain here unused for a while, such as blocks of a size that no step has any more.
  void trim();
  // Releases all that lies here, and from now on what comes back.
  void close();

 private:
  struct Block {
    std::byte* data;
    size_t bytes;
    uint64_t taken;  // the number of the take that it last served
  };
  void giveBack(const Block& block) noexcept;
  // The smallest that lies here and is not much too large; data is null where there is none.
  Block find(size_t bytes);
  void release(const std::vector<Block>& blocks) const;

  const Allocate allocate_;
  const Release release_;
  std::mutex mutex_;
  std::vector<Block> free_;
  size_t count_ = 0;  // of all blocks: free_ has room for as many, so that none comes back in vain
  uint64_t takes_ = 0;
  bool closed_ = false;
};

}  // namespace autoprog
