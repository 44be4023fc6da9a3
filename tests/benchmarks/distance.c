/* How far apart two cores are: nanoseconds that a cache line needs to another core and back, the best of several tries.
 *
 *   distance CORE CORE
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 20000
#define TRIES 5

static _Alignas(128) atomic_int ball;
static int other_core;

static void stay_on(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *answer(void *nothing) {
    stay_on(other_core);
    for (int i = 0; i < ROUNDS * TRIES; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 1) {}
        atomic_store_explicit(&ball, 0, memory_order_release);
    }
    return nothing;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    other_core = atoi(words[2]);
    pthread_t other;
    pthread_create(&other, NULL, answer, NULL);
    stay_on(atoi(words[1]));
    double best = 1e9;
    for (int try = 0; try < TRIES; try++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < ROUNDS; i++) {
            atomic_store_explicit(&ball, 1, memory_order_release);
            while (atomic_load_explicit(&ball, memory_order_acquire) != 0) {}
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        double each = ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / ROUNDS;
        if (each < best) best = each;
    }
    pthread_join(other, NULL);
    printf("%.0f\n", best);
    return 0;
}
