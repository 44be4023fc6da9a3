/* What the machine itself takes, before any gateway: nanoseconds of a system call that does nothing, and microseconds
 * of waking a program on the other core and being woken by it (half a round trip over two pipes).
 *
 *   costs CORE CORE
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS 200000
#define WAKES 5000
#define TRIES 3

static void stay_on(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    int there[2], back[2];
    char ball = 0;
    if (pipe(there) || pipe(back)) return 1;
    pid_t other = fork();
    if (other < 0) return 1;
    if (!other) {
        stay_on(atoi(words[2]));
        close(there[1]);
        while (read(there[0], &ball, 1) == 1)
            if (write(back[1], &ball, 1) != 1) break;
        _exit(0);
    }
    close(there[0]);
    stay_on(atoi(words[1]));
    double call = 1e9, wake = 1e9;
    for (int try = 0; try < TRIES; try++) {
        double from = seconds();
        for (int i = 0; i < CALLS; i++) syscall(SYS_getppid);
        double each = (seconds() - from) / CALLS * 1e9;
        if (each < call) call = each;
        from = seconds();
        for (int i = 0; i < WAKES; i++)
            if (write(there[1], &ball, 1) != 1 || read(back[0], &ball, 1) != 1) return 1;
        each = (seconds() - from) / WAKES / 2 * 1e6;
        if (each < wake) wake = each;
    }
    close(there[1]);
    waitpid(other, NULL, 0);
    printf("%.0f %.1f\n", call, wake);
    return 0;
}
