// Tensors straight from Python's hands and back, by the table of functions that DLPack's standard lets
// a library publish (`__dlpack_c_exchange_api__`): some ten nanoseconds a tensor, where asking for its
// attributes one by one takes a microsecond. The layouts below are the standard's, version 1.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <initializer_list>

namespace throughtime {

struct DLTensor {
    void* data;
    std::int32_t device_type, device_id;
    std::int32_t ndim;
    std::uint8_t code, bits;
    std::uint16_t lanes;
    std::int64_t* shape;
    std::int64_t* strides;
    std::uint64_t byte_offset;

    static constexpr std::int32_t cpu = 1;
    static constexpr std::uint8_t floating = 2;

    void* at() const { return static_cast<char*>(data) + byte_offset; }
};

struct DLManagedTensor {
    std::uint32_t major, minor;
    void* context;
    void (*deleter)(DLManagedTensor*);
    std::uint64_t flags;
    DLTensor tensor;
};

struct DLExchange {
    std::uint32_t major, minor;
    DLExchange* older;
    int (*allocate)(DLTensor* prototype, DLManagedTensor** out, void* context,
                    void (*set_error)(void* context, const char* kind, const char* message));
    int (*take)(void* object, DLManagedTensor** out);
    int (*give)(DLManagedTensor* tensor, void** object);
    int (*view)(void* object, DLTensor* out);  // may be null
    int (*stream)(std::int32_t device_type, std::int32_t device_id, void** out);
};

// What torch publishes, and the types whose objects are known to be just numbers.
class Exchange {
  public:
    // False if this torch publishes nothing that can be used.
    bool meet(const nanobind::capsule& published, nanobind::handle tensor,
              nanobind::handle parameter);

    bool known() const { return table_ != nullptr; }

    // Fills `out` if the object is a plain tensor; leaves no error behind if not.
    bool peek(nanobind::handle object, DLTensor& out) const;

    // Likewise if it is one in the processor's memory, contiguous, of this shape and so many bits.
    bool view(nanobind::handle object, std::initializer_list<std::int64_t> shape, int bits,
              DLTensor& out) const;

    // A new tensor like another, with a shape of its own; null with an error set.
    PyObject* empty(const DLTensor& like, std::initializer_list<std::int64_t> shape,
                    void*& data) const;

  private:
    const DLExchange* table_ = nullptr;
    PyTypeObject *tensor_ = nullptr, *parameter_ = nullptr;
};

}  // namespace throughtime
