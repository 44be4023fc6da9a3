/* A load generator: sends prepared requests over keep-alive connections, checks every answer, stamps every frame.
 *
 *   load --connect HOST:PORT|unix:PATH --requests FILE --connections N --seconds S [--warm S] [--mode loop|paced|hold]
 *        [--frames N] [--ramp S] [--count N] [--mixed 0|1] [--pid PID]... [--known PID]...
 *
 * FILE holds requests, each a little-endian u32 length and its bytes; they are sent in turn. `--frames` is the number of
 * `data:` lines that each stream must have (0: an answer in one piece). Modes:
 *   loop   each connection sends its next request when it has the whole answer (`--count`: so many in all)
 *   paced  each connection has one stream, begun along the ramp; the window is measured while all of them run
 *   hold   as paced, but streams are counted once they speak and are cut at the end
 * Processor time and memory of each `--pid` (the system under test) and `--known` (what belongs to the bench, itself
 * included) are read at both ends of the window. One JSON object comes out; the exit status is 1 when any answer was wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (512 * 1024)
#define HEAD_BYTES 8192
#define PATIENCE 15.0
#define PIDS 64
#define MARKS 256

typedef double seconds;
enum state { HEAD, LENGTH, SIZE, CHUNK, CHUNK_END, TRAILER, UNTIL_CLOSE };
enum mode { LOOP, PACED, HOLD };

struct histogram { uint64_t counts[64 * 64]; uint64_t total; double sum, max; };

struct connection {
    size_t index, asked;
    int fd, is_busy, is_done, status;
    enum state state;
    char *head;
    size_t head_length, left;
    int frames, is_error;
    char line[24];
    int line_length;
    seconds sent_at, frame_at;
    char kept[1200];
    size_t kept_length;
};

static struct { char *bytes; uint32_t length; } *requests;
static size_t request_count, request_next;
/* A client keeps its key: requests lie in the file in groups of this size, and a connection stays in its group. With
 * `--mixed` it does not, as behind a proxy that many clients share. */
enum { GROUP = 8 };
static int is_mixed;
static struct histogram latency, first, gap;
static uint64_t finished, in_window, frames_in_window, wrong, reconnects, started;
static char complaint[400];
static enum mode mode = LOOP;
static int frames_expected, poll_fd;
static uint64_t count_limit, speaking;
static seconds window_from, window_to;
static struct sockaddr_storage target;
static socklen_t target_size;
static int pids[PIDS], is_known[PIDS], pid_count;
static struct { uint64_t count; long rss; } marks[MARKS];
static int mark_count;

static seconds now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) { perror(what); exit(2); }

/* -- figures: buckets of a 64th of each power of two of nanoseconds */

static void record(struct histogram *h, seconds value) {
    uint64_t ns = value > 0 ? (uint64_t)(value * 1e9) : 0;
    int top = ns < 64 ? 0 : 63 - __builtin_clzll(ns) - 5;
    h->counts[top * 64 + (top ? (ns >> (top - 1)) & 63 : ns)]++;
    h->total++;
    h->sum += value;
    if (value > h->max) h->max = value;
}

static double quantile(struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * h->total), seen = 0;
    if (!h->total) return 0;
    for (int i = 0; i < 64 * 64; i++)
        if ((seen += h->counts[i]) > wanted) {
            int top = i / 64;
            return (top ? ((uint64_t)(64 + i % 64) << (top - 1)) + 0.5 * (1ull << (top - 1)) : i) / 1e3;
        }
    return h->max * 1e6;
}

static void print_histogram(const char *name, struct histogram *h) {
    printf(",\"%s\":{\"count\":%lu,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f,\"mean\":%.2f}", name,
           h->total, quantile(h, 0.5), quantile(h, 0.9), quantile(h, 0.99), quantile(h, 0.999), h->max * 1e6,
           h->total ? h->sum / h->total * 1e6 : 0);
}

/* -- what the processes used */

struct usage { double user, system; long rss; };

static struct usage usage_of(int pid) {
    char path[64], text[1024];
    struct usage u = {0, 0, 0};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (length <= 0) return u;
    text[length] = 0;
    unsigned long user, system;
    long rss;
    char *rest = strrchr(text, ')');
    if (rest && sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
                       &user, &system, &rss) == 3) {
        double tick = sysconf(_SC_CLK_TCK);
        u = (struct usage){user / tick, system / tick, rss * sysconf(_SC_PAGESIZE)};
    }
    return u;
}

static double busy_of_machine(void) {
    unsigned long user, nice, system, idle, wait, irq, soft, steal;
    FILE *file = fopen("/proc/stat", "r");
    int got = fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal);
    fclose(file);
    return got == 8 ? (user + nice + system + irq + soft + steal) / (double)sysconf(_SC_CLK_TCK) : 0;
}

static struct usage at_begin[PIDS], at_end[PIDS], before[PIDS];
static double busy_begin, busy_end;
static seconds begun_at, ended_at;

static void snapshot(struct usage *to) {
    for (int i = 0; i < pid_count; i++) to[i] = usage_of(pids[i]);
}

static void mark(void) {
    long rss = 0;
    for (int i = 0; i < pid_count; i++) rss += is_known[i] ? 0 : usage_of(pids[i]).rss;
    if (mark_count < MARKS) { marks[mark_count].count = finished; marks[mark_count++].rss = rss; }
}

/* -- connections */

static void complain(struct connection *c, const char *what) {
    if (!wrong++) {
        int used = snprintf(complaint, sizeof complaint - 220, "%s (status %d, %d frames): ", what, c->status, c->frames);
        for (size_t i = 0; i < c->kept_length && used < (int)sizeof complaint - 2; i++) {
            char byte = c->kept[i];
            complaint[used++] = byte < 32 || byte > 126 || byte == '"' || byte == '\\' ? '.' : byte;
        }
        complaint[used] = 0;
    }
}

static void dial(struct connection *c) {
    c->fd = socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&target, target_size) < 0) fail("connect");
    if (target.ss_family == AF_INET) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) fail("epoll_ctl");
}

static void ask(struct connection *c) {
    size_t groups = request_count / GROUP;
    size_t which = groups ? c->index % groups * GROUP + c->asked++ % GROUP : 0;
    if (is_mixed) which = (request_next += GROUP + 1) % request_count;
    c->is_busy = 1;
    c->state = HEAD;
    c->status = 0;
    c->head_length = c->left = c->kept_length = 0;
    c->frames = c->is_error = c->line_length = 0;
    c->frame_at = 0;
    c->sent_at = now();
    started++;
    ssize_t sent = send(c->fd, requests[which].bytes, requests[which].length, MSG_NOSIGNAL);
    if (sent != (ssize_t)requests[which].length) complain(c, "the request could not be sent whole");
}

static void finish(struct connection *c, seconds at) {
    c->is_busy = 0;
    finished++;
    if (c->status != 200) complain(c, "not answered with 200");
    else if (frames_expected && c->frames != frames_expected) complain(c, "frames are missing or too many");
    else if (c->is_error) complain(c, "an error in the stream");
    else if (!frames_expected && !(memmem(c->kept, c->kept_length, "finish_reason", 13) && memmem(c->kept, c->kept_length, "completion_tokens", 17)))
        complain(c, "no chat completion");
    if (at >= window_from && at < window_to) { in_window++; record(&latency, at - c->sent_at); }
    if (count_limit && finished % 100000 == 0) mark();
    if (mode != LOOP) { c->is_done = 1; return; }
    if (count_limit ? started < count_limit : at < window_to) ask(c);
}

static void count_frame(struct connection *c, seconds at) {
    if (!c->frames++) { if (at < window_to || mode != LOOP) record(&first, at - c->sent_at); speaking++; }
    else if (at >= window_from && at < window_to) record(&gap, at - c->frame_at);
    c->frame_at = at;
    if (at >= window_from && at < window_to) frames_in_window++;
}

/* Lines of the body: those that begin with `data:` are frames. */
static void see_lines(struct connection *c, const char *bytes, size_t length, seconds at) {
    const char *end = bytes + length;
    while (bytes < end) {
        const char *stop = memchr(bytes, '\n', end - bytes);
        size_t piece = (stop ? stop : end) - bytes;
        if (c->line_length < (int)sizeof c->line) {
            size_t taken = piece < sizeof c->line - c->line_length ? piece : sizeof c->line - c->line_length;
            memcpy(c->line + c->line_length, bytes, taken);
            c->line_length += taken;
        }
        if (!stop) return;
        if (c->line_length >= 5 && !memcmp(c->line, "data:", 5)) {
            if (c->line_length > 14 && !memcmp(c->line, "data: {\"error\"", 14)) c->is_error = 1;
            count_frame(c, at);
        }
        c->line_length = 0;
        bytes = stop + 1;
    }
}

static void see(struct connection *c, const char *bytes, size_t length, seconds at) {
    if (c->kept_length < sizeof c->kept) {
        size_t taken = length < sizeof c->kept - c->kept_length ? length : sizeof c->kept - c->kept_length;
        memcpy(c->kept + c->kept_length, bytes, taken);
        c->kept_length += taken;
    }
    if (frames_expected) see_lines(c, bytes, length, at);
}

static void read_head(struct connection *c, const char *head, size_t length) {
    const char *end = head + length;
    c->status = length > 12 ? atoi(head + 9) : 0;
    c->state = UNTIL_CLOSE;
    for (const char *line = memchr(head, '\n', length); line && ++line < end; line = memchr(line, '\n', end - line)) {
        if (!strncasecmp(line, "content-length:", 15)) { c->left = atol(line + 15); c->state = LENGTH; }
        else if (!strncasecmp(line, "transfer-encoding:", 18)) c->state = SIZE;
    }
}

/* Returns 1 when the answer is complete. */
static int understand(struct connection *c, const char *bytes, size_t length, seconds at) {
    const char *end = bytes + length, *stop;
    while (bytes < end || (c->state == LENGTH && !c->left)) switch (c->state) {
        case HEAD: {
            if (!c->head_length && (stop = memmem(bytes, end - bytes, "\r\n\r\n", 4))) {
                read_head(c, bytes, stop + 4 - bytes);
                bytes = stop + 4;
                break;
            }
            if (!c->head) c->head = malloc(HEAD_BYTES);
            size_t taken = end - bytes < HEAD_BYTES - (long)c->head_length ? end - bytes : HEAD_BYTES - c->head_length;
            memcpy(c->head + c->head_length, bytes, taken);
            stop = memmem(c->head, c->head_length + taken, "\r\n\r\n", 4);
            if (!stop) { c->head_length += taken; return 0; }
            size_t head = stop + 4 - c->head;
            bytes += head - c->head_length;
            read_head(c, c->head, head);
            break;
        }
        case LENGTH: {
            size_t piece = (size_t)(end - bytes) < c->left ? (size_t)(end - bytes) : c->left;
            if (piece) see(c, bytes, piece, at);
            c->left -= piece;
            if (!c->left) return 1;
            bytes += piece;
            break;
        }
        case SIZE:
            for (; bytes < end && *bytes != '\n'; bytes++) {
                char digit = *bytes | 32;
                if (digit >= '0' && digit <= '9') c->left = c->left * 16 + digit - '0';
                else if (digit >= 'a' && digit <= 'f') c->left = c->left * 16 + digit - 'a' + 10;
            }
            if (bytes < end) { bytes++; c->state = c->left ? CHUNK : TRAILER; c->head_length = 0; }
            break;
        case CHUNK: {
            size_t piece = (size_t)(end - bytes) < c->left ? (size_t)(end - bytes) : c->left;
            see(c, bytes, piece, at);
            bytes += piece;
            if (!(c->left -= piece)) { c->state = CHUNK_END; c->left = 2; }
            break;
        }
        case CHUNK_END: {
            size_t piece = (size_t)(end - bytes) < c->left ? (size_t)(end - bytes) : c->left;
            bytes += piece;
            if (!(c->left -= piece)) c->state = SIZE;
            break;
        }
        case TRAILER:
            if (*bytes++ == '\n') return 1;
            break;
        case UNTIL_CLOSE:
            see(c, bytes, end - bytes, at);
            bytes = end;
            break;
    }
    return 0;
}

static void receive(struct connection *c) {
    static char block[BLOCK];
    ssize_t got = recv(c->fd, block, sizeof block, 0);
    seconds at = now();
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        epoll_ctl(poll_fd, EPOLL_CTL_DEL, c->fd, NULL);
        close(c->fd);
        c->fd = -1;
        if (c->is_busy) {
            if (c->state != UNTIL_CLOSE) complain(c, "the connection broke");
            c->is_busy = 0;
            finished++;
        }
        if (mode == LOOP && wrong < 1000 && (count_limit ? started < count_limit : at < window_to)) { reconnects++; dial(c); ask(c); }
        else c->is_done = 1;
        return;
    }
    if (!c->is_busy) { complain(c, "bytes that nobody asked for"); return; }
    if (understand(c, block, got, at)) finish(c, at);
}

static void load_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t length;
    if (!file) fail(path);
    while (fread(&length, 4, 1, file) == 1) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        requests[request_count].bytes = malloc(length);
        requests[request_count].length = length;
        if (fread(requests[request_count++].bytes, 1, length, file) != length) fail(path);
    }
    fclose(file);
    if (!request_count) { fprintf(stderr, "%s: no requests\n", path); exit(2); }
}

static void aim(char *where) {
    if (!strncmp(where, "unix:", 5)) {
        struct sockaddr_un *address = (struct sockaddr_un *)&target;
        address->sun_family = AF_UNIX;
        strncpy(address->sun_path, where + 5, sizeof address->sun_path - 1);
        target_size = sizeof *address;
        return;
    }
    struct sockaddr_in *address = (struct sockaddr_in *)&target;
    char *colon = strrchr(where, ':');
    address->sin_family = AF_INET;
    address->sin_port = htons(atoi(colon + 1));
    *colon = 0;
    inet_pton(AF_INET, where, &address->sin_addr);
    target_size = sizeof *address;
}

static void report(uint64_t opened) {
    double passed = ended_at - begun_at;
    printf("{\"requests\":%lu,\"finished\":%lu,\"frames\":%lu,\"seconds\":%.4f,\"wrong\":%lu,\"reconnects\":%lu,\"opened\":%lu,\"speaking\":%lu,\"complaint\":\"%s\"",
           in_window, finished, frames_in_window, passed, wrong, reconnects, opened, speaking, complaint);
    print_histogram("latency_us", &latency);
    print_histogram("first_us", &first);
    print_histogram("gap_us", &gap);
    printf(",\"machine_busy\":%.3f", busy_end - busy_begin);
    for (int known = 0; known < 2; known++) {
        printf(known ? "],\"others\":[" : ",\"processes\":[");
        for (int i = 0, is_next = 0; i < pid_count; i++) {
            if (is_known[i] != known) continue;
            printf("%s{\"pid\":%d,\"user\":%.3f,\"system\":%.3f,\"rss_before\":%ld,\"rss\":%ld}", is_next ? "," : "", pids[i],
                   at_end[i].user - at_begin[i].user, at_end[i].system - at_begin[i].system, before[i].rss, at_end[i].rss);
            is_next = 1;
        }
    }
    printf("],\"marks\":[");
    for (int i = 0; i < mark_count; i++) printf("%s[%lu,%ld]", i ? "," : "", marks[i].count, marks[i].rss);
    puts("]}");
}

int main(int argc, char **argv) {
    int connections = 1;
    seconds length = 5, warm = 0.5, ramp = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--connect")) aim(value);
        else if (!strcmp(name, "--requests")) load_requests(value);
        else if (!strcmp(name, "--connections")) connections = atoi(value);
        else if (!strcmp(name, "--seconds")) length = atof(value);
        else if (!strcmp(name, "--warm")) warm = atof(value);
        else if (!strcmp(name, "--ramp")) ramp = atof(value);
        else if (!strcmp(name, "--frames")) frames_expected = atoi(value);
        else if (!strcmp(name, "--mixed")) is_mixed = atoi(value);
        else if (!strcmp(name, "--count")) count_limit = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--mode")) mode = !strcmp(value, "paced") ? PACED : !strcmp(value, "hold") ? HOLD : LOOP;
        else if (!strcmp(name, "--pid") && pid_count < PIDS) pids[pid_count++] = atoi(value);
        else if (!strcmp(name, "--known") && pid_count < PIDS) { is_known[pid_count] = 1; pids[pid_count++] = atoi(value); }
        else { fprintf(stderr, "unknown option %s\n", name); return 2; }
    }
    signal(SIGPIPE, SIG_IGN);
    if (pid_count < PIDS) { is_known[pid_count] = 1; pids[pid_count++] = getpid(); }
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc(connections, sizeof *all);
    seconds start = now();
    if (mode == LOOP) ramp = 0;
    window_from = start + ramp + warm;
    window_to = count_limit ? start + 86400 : window_from + length;
    seconds give_up = count_limit ? window_to : window_to + (mode == PACED ? length + PATIENCE : PATIENCE);
    int opened = 0, is_begun = 0, is_ended = 0;
    snapshot(before);
    struct epoll_event events[1024];
    for (;;) {
        seconds at = now();
        int due = ramp > 0 ? (int)((at - start) / ramp * connections) + 1 : connections;
        for (; opened < connections && opened < due; opened++) { all[opened].index = (size_t)opened; dial(&all[opened]); ask(&all[opened]); }
        if (!is_begun && at >= window_from) { is_begun = 1; busy_begin = busy_of_machine(); snapshot(at_begin); begun_at = now(); }
        if (is_begun && !is_ended && at >= window_to) { is_ended = 1; ended_at = now(); snapshot(at_end); busy_end = busy_of_machine(); }
        int is_over = is_ended && mode == HOLD;
        if (is_ended || (count_limit && finished >= count_limit)) {
            int busy = 0;
            if (!is_over) for (int i = 0; i < opened; i++) busy += all[i].is_busy;
            if (!busy) is_over = 1;
        }
        if (is_over || at > give_up) break;
        seconds next = !is_begun ? window_from : window_to;
        double wait = opened < connections ? 0.001 : next > at ? next - at : 0.05;
        int ready = epoll_wait(poll_fd, events, 1024, wait > 0.05 ? 50 : (int)(wait * 1000) + 1);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
    }
    if (!is_ended) { ended_at = now(); snapshot(at_end); busy_end = busy_of_machine(); }
    for (int i = 0; i < opened; i++)
        if (mode == HOLD ? !all[i].is_busy || !all[i].frames : all[i].is_busy) complain(&all[i], mode == HOLD ? "a held stream ended" : "no end came");
    report(opened);
    return wrong ? 1 : 0;
}
