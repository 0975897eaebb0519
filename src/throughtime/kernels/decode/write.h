// Rows written in one way each: greedily, or drawn.
#pragma once

#include "../native/parallel.h"
#include "choose.h"
#include "network.h"

namespace throughtime::TT_ISA {

template <class Decoder>
class Writer {
    const decode::Call& c;
    const long tokens;
    Decoder decoder;
    const long per_step = decoder.rounds + 1;
    std::vector<long> row;  // those that have not ended
    Chooser chooser;

    void begin_step() {
        std::vector<Fed> fed;
        for (const long r : row) fed.push_back({c.places[r], c.tokens[r]});
        decoder.begin(fed);
    }

    // The step is over: each row goes on with the token that is chosen, or ends.
    void end_step(long step) {
        decoder.end();
        if (c.written == nullptr) return;
        std::vector<long> going;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const long r = row[i], at_step = r * c.steps + step;
            const float* logits = c.logits + static_cast<long>(i) * decode::whole(tokens);
            unsigned char* seen = c.sampling.seen;
            if (seen != nullptr) seen += r * tokens;
            const double* uniforms = c.sampling.uniforms;
            const long token = chooser.choose(logits, seen, uniforms ? uniforms[at_step] : 0);
            c.written[at_step] = c.tokens[r] = token;
            c.log_probs[at_step] = log_prob(logits, tokens, token);
            if (seen != nullptr) seen[token] = 1;
            if (!c.stops[token]) going.push_back(r);
        }
        row.swap(going);
        if (step + 1 < c.steps) begin_step();
    }

  public:
    template <class Plan>
    Writer(const Plan& plan, const decode::Call& call)
        : c(call), tokens(plan.head.rows), decoder(plan, call), row(call.rows),
          chooser(call.sampling, call.written ? tokens : 0) {
        std::iota(row.begin(), row.end(), 0);
    }

    void run() {
        begin_step();
        Rounds::run(c.threads, c.steps * per_step, [&](long round, int part) {
            const long within = round % per_step;
            if (within == decoder.rounds) {
                if (part == 0) end_step(round / per_step);
            } else if (!row.empty()) {
                decoder.run(within, part);
            }
        });
    }
};

}  // namespace throughtime::TT_ISA
