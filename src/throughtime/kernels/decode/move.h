// What a row remembers, copied to another place: as much of it as is in use.
#pragma once

#include <algorithm>

#include "plan.h"

namespace throughtime::decode {

inline void move(const TransformerPlan& p, const Cache& from, long source, const Cache& to,
                 long target) {
    const long count = from.counts[source], used = std::min<long>(count, p.slots());
    const long heads = static_cast<long>(p.blocks.size()) * p.kv_heads;
    for (long head = 0; head < heads; ++head) {
        const long one = source * heads + head, other = target * heads + head;
        std::copy_n(from.keys + one * p.key_size(), panels(used) * p.head_size * panel,
                    to.keys + other * p.key_size());
        for (long q = 0; q < panels(p.head_size); ++q)
            std::copy_n(from.values + one * p.value_size() + q * p.slots() * panel, used * panel,
                        to.values + other * p.value_size() + q * p.slots() * panel);
    }
    to.counts[target] = count;
    to.memory[target] = from.memory[source];
}

inline void move(const RecurrentPlan& p, const Cache& from, long source, const Cache& to,
                 long target) {
    const long size = p.state_size();
    std::copy_n(from.states + source * size, size, to.states + target * size);
    to.memory[target] = from.memory[source];
}

}  // namespace throughtime::decode
