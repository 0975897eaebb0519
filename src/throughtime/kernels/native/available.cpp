#include "isa.h"

namespace throughtime {

#define TT_DECLARE(isa)           \
    namespace isa {               \
    extern const Table table;     \
    }

#if defined(__x86_64__)
TT_DECLARE(baseline)
TT_DECLARE(avx2)
TT_DECLARE(avx512)
#if defined(THROUGHTIME_WIDE)
TT_DECLARE(wide)
#endif

std::vector<const Table*> available() {
    std::vector<const Table*> found;
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        found.push_back(&avx512::table);
    if (avx2) found.push_back(&avx2::table);
    found.push_back(&baseline::table);
#if defined(THROUGHTIME_WIDE)
    if (avx2) found.push_back(&wide::table);
#endif
    return found;
}
#else
TT_DECLARE(baseline)

std::vector<const Table*> available() { return {&baseline::table}; }
#endif

}  // namespace throughtime
