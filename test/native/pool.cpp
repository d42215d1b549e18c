// The pool of threads at work, for test/native/pool.test.ts: each case prints `ok` or what went wrong.
#include "runtime/pool.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

using autoprog::Order;
using autoprog::Pool;

void expect(bool right, const std::string& what) {
  if (right) return;
  std::puts(what.c_str());
  std::exit(1);
}

template <typename Body>
void runLoop(Pool& pool, int64_t parts, Order order, const Body& body) {
  pool.run(
      parts, order, [](const void* context, int64_t part) { (*static_cast<const Body*>(context))(part); }, &body);
}

// Loops of every length follow each other closely; now and then helpers fall asleep in between.
void everyPartOnce(int threads) {
  Pool pool(threads);
  uint32_t random = 1;
  for (int loop = 0; loop < 5000; loop++) {
    random = random * 1664525u + 1013904223u;
    const int64_t parts = loop % 1000 == 0 ? 200000 : (random >> 16) % 50;
    std::vector<int> done(static_cast<size_t>(parts), 0);
    runLoop(pool, parts, loop % 2 == 0 ? Order::forwards : Order::backwards,
            [&](int64_t part) { done[static_cast<size_t>(part)]++; });
    for (int64_t part = 0; part < parts; part++)
      expect(done[static_cast<size_t>(part)] == 1, "part " + std::to_string(part) + " of " + std::to_string(parts) +
                                                       " was done " + std::to_string(done[static_cast<size_t>(part)]) +
                                                       " times by " + std::to_string(threads) + " threads");
    if (loop % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void failure() {
  Pool pool(3);
  for (int loop = 0; loop < 1000; loop++) {
    std::atomic<int> others{0};
    std::string caught;
    try {
      runLoop(pool, 20, Order::forwards, [&](int64_t part) {
        if (part == loop % 20) throw std::runtime_error("part " + std::to_string(part));
        others++;
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    expect(caught == "part " + std::to_string(loop % 20), "caught '" + caught + "' in loop " + std::to_string(loop));
    expect(others == 19, std::to_string(others) + " other parts were done");
  }
}

// Thread 1 of 2 begins in the middle, or at the end of its half; both parts wait for each other, so that none is taken
// over.
void stretches() {
  Pool pool(2);
  for (const Order order : {Order::forwards, Order::backwards}) {
    std::atomic<int> begun{0};
    int64_t first[2] = {-1, -1};
    runLoop(pool, 8, order, [&](int64_t part) {
      int64_t& mine = first[Pool::threadIndex()];
      if (mine >= 0) return;
      mine = part;
      begun++;
      while (begun < 2) std::this_thread::yield();
    });
    const bool forwards = order == Order::forwards;
    expect(first[0] == (forwards ? 0 : 3) && first[1] == (forwards ? 4 : 7),
           "threads began with parts " + std::to_string(first[0]) + " and " + std::to_string(first[1]));
  }
}

// A helper that is held up does not keep the others from its parts.
void takenOver() {
  Pool pool(2);
  std::atomic<int> done{0};
  runLoop(pool, 100, Order::forwards, [&](int64_t) {
    // The helper holds on to its first part until all the others are done.
    if (Pool::threadIndex() == 1)
      while (done < 99) std::this_thread::yield();
    done++;
  });
  expect(done == 100, std::to_string(done) + " parts were done");
}

}  // namespace

int main(int count, char** arguments) {
  const std::string name = count > 1 ? arguments[1] : "";
  if (name == "once") {
    for (int threads : {1, 2, 3, 8}) everyPartOnce(threads);
  } else if (name == "failure") {
    failure();
  } else if (name == "stretches") {
    stretches();
  } else if (name == "taken over") {
    takenOver();
  } else {
    expect(false, "no case of this name");
  }
  std::puts("ok");
}
