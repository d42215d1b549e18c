// What is available by the files below a folder, for test/native/memory.test.ts.
#include <cstdio>

#include "runtime/host-memory.h"

int main(int, char** arguments) {
  const auto bytes = autoprog::availableMemory(arguments[1]);
  if (bytes)
    std::printf("%zu\n", *bytes);
  else
    std::puts("unknown");
}
