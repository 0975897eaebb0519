// Reused memory. Fresh pages are dear (about a microsecond per 4 KiB, several on virtual machines),
// and allocators hand large blocks back to the system; a pool keeps them.
#pragma once

#include <cstddef>

namespace throughtime {

// A block of at least `bytes`, aligned to 64; from the pool where one fits.
void* take(std::size_t bytes);
// Gives a block back to the pool; the pool lets go of what exceeds its limit.
void give(void* block);
// Lets go of all blocks not in use; returns their bytes.
std::size_t release();
// Bytes in the pool that are not in use.
std::size_t pooled();

// Scratch memory for one call.
template <class T>
class Scratch {
  public:
    explicit Scratch(std::size_t count)
        : data_(count == 0 ? nullptr : static_cast<T*>(take(count * sizeof(T)))) {}
    ~Scratch() {
        if (data_ != nullptr) give(data_);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* get() const { return data_; }
    operator T*() const { return data_; }

  private:
    T* data_;
};

}  // namespace throughtime
