// Threads: OpenMP's, where it is there. torch brings the same library, so both share one pool of
// threads instead of fighting over the cores.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace throughtime {

// A forked child has none of the threads that its parent had, and OpenMP would wait for them.
inline bool forked = false;

inline void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif
}

// Denormal numbers count as zero while this lives: they slow a loop tenfold and more, and gradients
// that vanish are full of them.
class FlushDenormals {
  public:
#if defined(__x86_64__)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | (std::uint64_t{1} << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

  private:
    std::uint64_t before_;
#endif
};

// f(0), ..., f(parts - 1), each on a thread of its own where there are so many.
template <class F>
void parallel(int parts, const F& f) {
#ifdef _OPENMP
    if (parts > 1 && !forked) {
#pragma omp parallel num_threads(parts)
        {
            const FlushDenormals guard;
            for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads())
                f(part);
        }
        return;
    }
#endif
    const FlushDenormals guard;
    for (int part = 0; part < parts; ++part) f(part);
}

// Rounds of work that threads share, each round waiting for the one before: the steps of a recurrence.
//
// One thread leads. It does its own part of a round, then what other threads have not begun: so a
// thread that has no core, because something else runs there, is not waited for. One that began and
// lost its core is; after the first time the leader goes on alone.
class Rounds {
  public:
    // f(round, part) for every part of every round from 0 on.
    template <class F>
    static void run(int parts, long rounds, const F& f) {
#ifdef _OPENMP
        if (parts > 1 && !forked && !omp_in_parallel()) {
            Rounds all(parts);
#pragma omp parallel num_threads(parts)
            {
                const FlushDenormals guard;
                if (omp_get_thread_num() == 0)
                    all.lead(rounds, f);
                else
                    all.follow(omp_get_thread_num(), rounds, f);
            }
            return;
        }
#endif
        const FlushDenormals guard;
        for (long round = 0; round < rounds; ++round)
            for (int part = 0; part < parts; ++part) f(round, part);
    }

  private:
    struct alignas(64) Part {
        std::atomic<long> begun{0}, done{0};  // rounds
    };

    explicit Rounds(int parts) : parts_(parts), state_(parts) {}

    template <class F>
    void lead(long rounds, const F& f) {
        bool alone = false;
        for (long round = 0; round < rounds; ++round) {
            if (!alone) open_.store(round + 1, std::memory_order_release);
            f(round, 0);
            for (int part = 1; part < parts_; ++part) {
                Part& its = state_[part];
                long before = round;
                if (its.begun.compare_exchange_strong(before, round + 1, std::memory_order_acq_rel)) {
                    f(round, part);
                } else {
                    alone |= !look([&] {
                        return its.done.load(std::memory_order_acquire) == round + 1;
                    });
                }
            }
        }
        open_.store(rounds + 1, std::memory_order_release);
    }

    template <class F>
    void follow(int part, long rounds, const F& f) {
        Part& mine = state_[part];
        for (long seen = 0;;) {
            look([&] { return open_.load(std::memory_order_acquire) > seen; });
            seen = open_.load(std::memory_order_acquire);
            if (seen > rounds) return;
            long before = seen - 1;
            if (mine.begun.compare_exchange_strong(before, seen, std::memory_order_acq_rel)) {
                f(seen - 1, part);
                mine.done.store(seen, std::memory_order_release);
            }
        }
    }

    // Waits for something; false if that took longer than anything does that runs.
    template <class Ready>
    static bool look(const Ready& ready) {
        for (int times = 0; times < 4000; ++times) {
            if (ready()) return true;
#if defined(__x86_64__)
            _mm_pause();
#elif defined(__aarch64__)
            asm volatile("yield");
#endif
        }
        while (!ready()) std::this_thread::yield();
        return false;
    }

    const int parts_;
    std::vector<Part> state_;
    alignas(64) std::atomic<long> open_{0};  // rounds that may begin
};

// f(first, last) on even ranges of 0 .. count.
template <class F>
void parallel_ranges(int parts, long count, const F& f) {
    parallel(parts, [&](int part) { f(count * part / parts, count * (part + 1) / parts); });
}

}  // namespace throughtime
