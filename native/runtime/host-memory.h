#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

namespace autoprog {

// Bytes of the host's memory that this process could still fill: the least of what the machine, each of the process's
// control groups and its limit on address space leave. Copies of files that the system would drop count as free, in a
// group too, whose own figure of its usage holds them. Nothing where nothing is known. `root` is for tests.
std::optional<size_t> availableMemory(const std::filesystem::path& root = "/");

}  // namespace autoprog
