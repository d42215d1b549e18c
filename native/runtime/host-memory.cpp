#include "runtime/host-memory.h"

#ifdef __linux__

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace autoprog {

namespace {

using std::filesystem::path;
using Bytes = std::optional<uint64_t>;

// The number that a file begins with; none where it says "max".
Bytes numberIn(const path& file) {
  uint64_t number = 0;
  return std::ifstream(file) >> number ? Bytes(number) : std::nullopt;
}

// The number beside a key.
Bytes entryOf(const path& file, const std::string& wanted) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key;
    uint64_t number = 0;
    if (words >> key >> number && key == wanted) return number;
  }
  return std::nullopt;
}

void lower(Bytes& least, const Bytes& other) {
  if (other && (!least || *other < *least)) least = other;
}

uint64_t difference(uint64_t from, uint64_t taken) { return from - std::min(from, taken); }

// Swap counts: only where it is used up too is a process ended.
Bytes machineLeaves(const path& root) {
  const path file = root / "proc/meminfo";
  const Bytes available = entryOf(file, "MemAvailable:");
  if (!available) return std::nullopt;
  return (*available + entryOf(file, "SwapFree:").value_or(0)) << 10;
}

// What the names of a version of control groups are.
struct Names {
  const char *folder, *limit, *usage, *prefix;
};
constexpr Names kFirst{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"};
constexpr Names kSecond{"sys/fs/cgroup", "memory.max", "memory.current", ""};

Bytes groupLeaves(const path& folder, const Names& names) {
  const Bytes limit = numberIn(folder / names.limit), usage = numberIn(folder / names.usage);
  if (!limit || !usage) return std::nullopt;
  uint64_t files = 0;
  for (const char* list : {"inactive_file", "active_file"})
    files += entryOf(folder / "memory.stat", std::string(names.prefix) + list).value_or(0);
  return difference(*limit, difference(*usage, files));
}

// A group is bound by those that it lies in too. In a container the path may be the host's, of which only the last
// folder is there.
Bytes groupsLeave(const path& root) {
  Bytes least;
  std::ifstream lines(root / "proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool isFirst = controllers.find(",memory,") != std::string::npos;
    if (!isFirst && controllers != ",,") continue;
    const Names& names = isFirst ? kFirst : kSecond;
    path folder = root / names.folder;
    lower(least, groupLeaves(folder, names));
    for (const path& part : path(line.substr(second + 1)).relative_path()) {
      folder /= part;
      lower(least, groupLeaves(folder, names));
    }
  }
  return least;
}

Bytes addressesLeft(const path& root) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const Bytes pages = numberIn(root / "proc/self/statm");
  if (!pages) return std::nullopt;
  return difference(limit.rlim_cur, *pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

}  // namespace

std::optional<size_t> availableMemory(const path& root) {
  Bytes least = machineLeaves(root);
  lower(least, groupsLeave(root));
  lower(least, addressesLeft(root));
  return least;
}

}  // namespace autoprog

#else

namespace autoprog {

std::optional<size_t> availableMemory(const std::filesystem::path&) { return std::nullopt; }

}  // namespace autoprog

#endif
