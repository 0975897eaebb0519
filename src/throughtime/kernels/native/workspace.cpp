#include "workspace.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace throughtime {
namespace {

constexpr std::size_t header = 64;                  // keeps the block aligned
constexpr std::size_t limit = std::size_t{1} << 29;  // 512 MiB are kept at most

struct Pool {
    std::mutex mutex;
    std::multimap<std::size_t, void*> blocks;  // by size
    std::size_t bytes = 0;
};

// Never destroyed: tensors may outlive the module.
Pool& pool() {
    static Pool* the = new Pool;
    return *the;
}

// A sanitizer sees what is read beyond a block's end, or after it was given back, only where blocks are
// as long as was asked for and are not kept.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

// Sizes on a grid of a quarter of their magnitude, so that similar requests share blocks.
std::size_t rounded(std::size_t bytes) {
    if (sanitized) return bytes;
    std::size_t grid = 4096;
    while (grid * 8 < bytes) grid *= 2;
    return (bytes + grid - 1) / grid * grid;
}

}  // namespace

void* take(std::size_t bytes) {
    const std::size_t size = rounded(bytes + header);
    {
        std::lock_guard lock(pool().mutex);
        auto found = pool().blocks.lower_bound(size);
        if (found != pool().blocks.end() && found->first <= 2 * size) {
            void* base = found->second;
            pool().bytes -= found->first;
            pool().blocks.erase(found);
            return static_cast<char*>(base) + header;
        }
    }
    void* base = nullptr;
    if (posix_memalign(&base, header, size) != 0) throw std::bad_alloc();
    *static_cast<std::size_t*>(base) = size;
    return static_cast<char*>(base) + header;
}

void give(void* block) {
    void* base = static_cast<char*>(block) - header;
    const std::size_t size = *static_cast<std::size_t*>(base);
    {
        std::lock_guard lock(pool().mutex);
        if (!sanitized && pool().bytes + size <= limit) {
            pool().blocks.emplace(size, base);
            pool().bytes += size;
            return;
        }
    }
    std::free(base);
}

std::size_t release() {
    std::lock_guard lock(pool().mutex);
    const std::size_t bytes = pool().bytes;
    for (auto& [size, base] : pool().blocks) std::free(base);
    pool().blocks.clear();
    pool().bytes = 0;
    return bytes;
}

std::size_t pooled() {
    std::lock_guard lock(pool().mutex);
    return pool().bytes;
}

}  // namespace throughtime
