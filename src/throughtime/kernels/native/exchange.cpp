#include "exchange.h"

#include <algorithm>

namespace nb = nanobind;

namespace throughtime {

bool Exchange::meet(const nb::capsule& published, nb::handle tensor, nb::handle parameter) {
    auto* table = static_cast<const DLExchange*>(published.data("dlpack_exchange_api"));
    while (table != nullptr && table->major > 1) table = table->older;
    if (table == nullptr || table->major != 1 || table->view == nullptr) return false;
    table_ = table;
    tensor_ = reinterpret_cast<PyTypeObject*>(tensor.ptr());
    parameter_ = reinterpret_cast<PyTypeObject*>(parameter.ptr());
    return true;
}

bool Exchange::peek(nb::handle object, DLTensor& out) const {
    PyTypeObject* type = Py_TYPE(object.ptr());
    if (type != tensor_ && type != parameter_) return false;
    if (table_->view(object.ptr(), &out) != 0) {
        PyErr_Clear();
        return false;
    }
    return true;
}

bool Exchange::view(nb::handle object, std::initializer_list<std::int64_t> shape, int bits,
                    DLTensor& out) const {
    if (!peek(object, out)) return false;
    if (out.device_type != DLTensor::cpu || out.code != DLTensor::floating || out.bits != bits ||
        out.lanes != 1 || out.ndim != static_cast<std::int32_t>(shape.size()) ||
        !std::equal(shape.begin(), shape.end(), out.shape))
        return false;
    std::int64_t step = 1;
    for (int axis = out.ndim - 1; axis >= 0; step *= out.shape[axis--])
        if (out.strides != nullptr && out.shape[axis] != 1 && out.strides[axis] != step)
            return false;
    return true;
}

PyObject* Exchange::empty(const DLTensor& like, std::initializer_list<std::int64_t> shape,
                          void*& data) const {
    std::int64_t sizes[4];
    std::copy(shape.begin(), shape.end(), sizes);
    DLTensor prototype = like;
    prototype.ndim = static_cast<std::int32_t>(shape.size());
    prototype.shape = sizes;
    prototype.strides = nullptr;
    DLManagedTensor* made = nullptr;
    const auto fail = [](void*, const char*, const char* message) {
        PyErr_SetString(PyExc_MemoryError, message);
    };
    if (table_->allocate(&prototype, &made, nullptr, fail) != 0) return nullptr;
    data = made->tensor.at();
    void* object = nullptr;
    if (table_->give(made, &object) != 0) return nullptr;
    return static_cast<PyObject*>(object);
}

}  // namespace throughtime
