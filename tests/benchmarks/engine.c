/* A fake engine: answers OpenAI chat completions as fast as one core can, or at a pace, and never computes anything.
 *
 *   engine [--unix PATH]... [--tcp HOST:PORT]...
 *
 * What a request wants is read from members that every proxy hands on: `max_tokens` is the number of tokens, `seed`
 * the milliseconds between two of them (absent or 0: all at once, in one write), `stream` and
 * `stream_options.include_usage` as with OpenAI; `return_progress` adds llama-server's progress frame and
 * `continuous_usage_stats` vLLM's running usage. Frames are about 165 bytes, one HTTP chunk each.
 *
 * All streams of one interval share one timer. An interval longer than 20 ms is cut into phases of 20 ms, so that
 * thousands of slow streams do not speak in the same instant.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_BYTES (256 * 1024)
#define UNARY_TOKENS 16
#define PROMPTS 4096
#define GROUPS 8
#define PHASE_MS 20
#define CACHE 1024
#define MODEL "bench/pilot"
#define FRAME_HEAD "data: {\"id\":\"chatcmpl-bench0001\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"" MODEL "\",\"choices\":["

enum kind { LISTENER, CONNECTION, TIMER };
enum { WANTS_USAGE = 1, WANTS_PROGRESS = 2, WANTS_RUNNING = 4 };

struct source { enum kind kind; int fd; };

struct connection {
    struct source source;
    char *in;
    size_t in_length, in_room;
    char *out;
    size_t out_length, out_room;
    int is_tcp;
    /* The stream in progress; remaining < 0: none. */
    int remaining, sent, flags, prompt;
    struct connection *next, *previous;
    struct connection **list;
};

struct group {
    struct source source;
    int interval, phases, now, joined;
    struct connection **lists;
};

struct whole { int key_tokens, key_flags, key_prompt; char *bytes; size_t length; };

static int poll_fd;
static struct group groups[GROUPS];
static int group_count;
static struct whole bursts[CACHE];
static struct { char *bytes; size_t length; } answers[PROMPTS];

static void fail(const char *what) { perror(what); exit(1); }

static void watch(struct source *source, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0) fail("epoll_ctl");
}

static void rewatch(struct source *source, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

static void leave(struct connection *c) {
    c->remaining = -1;
    if (!c->list) return;
    if (c->previous) c->previous->next = c->next; else *c->list = c->next;
    if (c->next) c->next->previous = c->previous;
    c->next = c->previous = NULL;
    c->list = NULL;
}

static void hang_up(struct connection *c) {
    leave(c);
    close(c->source.fd);
    free(c->in);
    free(c->out);
    free(c);
}

/* Returns -1 when the connection is gone (and freed). */
static int put(struct connection *c, const char *bytes, size_t length) {
    if (!c->out_length) {
        ssize_t sent = send(c->source.fd, bytes, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length) return 0;
        if (sent < 0) {
            if (errno != EAGAIN) { hang_up(c); return -1; }
            sent = 0;
        }
        bytes += sent;
        length -= sent;
        rewatch(&c->source, EPOLLIN | EPOLLOUT);
    }
    if (c->out_length + length > c->out_room) {
        c->out_room = (c->out_length + length) * 2;
        c->out = realloc(c->out, c->out_room);
    }
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
    return 0;
}

static int flush(struct connection *c) {
    ssize_t sent = send(c->source.fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN) return 0;
        hang_up(c);
        return -1;
    }
    memmove(c->out, c->out + sent, c->out_length - sent);
    c->out_length -= sent;
    if (!c->out_length) {
        free(c->out);
        c->out = NULL;
        c->out_room = 0;
        rewatch(&c->source, EPOLLIN);
    }
    return 0;
}

/* -- what an answer looks like */

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nserver: engine\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    "transfer-encoding: chunked\r\n\r\n";

static size_t chunked(char *to, const char *frame, size_t length) {
    size_t head = sprintf(to, "%zx\r\n", length);
    memcpy(to + head, frame, length);
    memcpy(to + head + length, "\r\n", 2);
    return head + length + 2;
}

static size_t running_usage(char *to, int flags, int prompt, int tokens) {
    if (!(flags & WANTS_RUNNING)) return 0;
    return sprintf(to, ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d,\"completion_tokens\":%d}", prompt,
                   prompt + tokens, tokens);
}

static size_t token_frame(char *to, int number, int flags, int prompt) {
    static char plain[512];
    static size_t plain_length, digits_at;
    if (!plain_length) {
        char frame[400];
        size_t length = sprintf(frame, FRAME_HEAD "{\"index\":0,\"delta\":{\"content\":\" w000000\"},\"finish_reason\":null}]}\n\n");
        plain_length = chunked(plain, frame, length);
        digits_at = strstr(plain, " w000000") - plain + 2;
    }
    if (!(flags & WANTS_RUNNING)) {
        memcpy(to, plain, plain_length);
        for (int place = 5, rest = number; place >= 0; place--, rest /= 10) to[digits_at + place] = '0' + rest % 10;
        return plain_length;
    }
    char frame[600];
    size_t length = sprintf(frame, FRAME_HEAD "{\"index\":0,\"delta\":{\"content\":\" w%06d\"},\"finish_reason\":null}]", number % 1000000);
    length += running_usage(frame + length, flags, prompt, number);
    length += sprintf(frame + length, "}\n\n");
    return chunked(to, frame, length);
}

static size_t first_frames(char *to, int flags, int prompt) {
    size_t at = sizeof STREAM_HEAD - 1;
    memcpy(to, STREAM_HEAD, at);
    if (flags & WANTS_PROGRESS) {
        char frame[600];
        size_t length = sprintf(frame, FRAME_HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":null}],"
            "\"prompt_progress\":{\"total\":%d,\"cache\":0,\"time_ms\":1,\"processed\":%d}}\n\n", prompt, prompt);
        at += chunked(to + at, frame, length);
    }
    return at;
}

static size_t last_frames(char *to, int tokens, int flags, int prompt) {
    char frame[800];
    size_t length = sprintf(frame, FRAME_HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]");
    length += running_usage(frame + length, flags, prompt, tokens);
    length += sprintf(frame + length, "}\n\n");
    size_t at = chunked(to, frame, length);
    if (flags & WANTS_USAGE) {
        length = sprintf(frame, FRAME_HEAD "],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
            "\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\n", prompt, tokens, prompt + tokens);
        at += chunked(to + at, frame, length);
    }
    at += chunked(to + at, "data: [DONE]\n\n", 14);
    memcpy(to + at, "0\r\n\r\n", 5);
    return at + 5;
}

static struct whole *burst(int tokens, int flags, int prompt) {
    struct whole *known = &bursts[(tokens * 131 + flags * 31 + prompt) % CACHE];
    if (known->bytes && known->key_tokens == tokens && known->key_flags == flags && known->key_prompt == prompt)
        return known;
    free(known->bytes);
    known->bytes = malloc(4096 + (size_t)tokens * 400);
    size_t at = first_frames(known->bytes, flags, prompt);
    for (int number = 1; number <= tokens; number++) at += token_frame(known->bytes + at, number, flags, prompt);
    known->length = at + last_frames(known->bytes + at, tokens, flags, prompt);
    known->key_tokens = tokens;
    known->key_flags = flags;
    known->key_prompt = prompt;
    return known;
}

static int whole_answer(struct connection *c, int prompt) {
    if (!answers[prompt].bytes) {
        char content[600], *bytes = malloc(1024);
        size_t length = sprintf(content, "{\"id\":\"chatcmpl-bench0001\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"" MODEL "\","
            "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"All moored.\"},\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}", prompt, UNARY_TOKENS, prompt + UNARY_TOKENS);
        answers[prompt].length = sprintf(bytes, "HTTP/1.1 200 OK\r\nserver: engine\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", length, content);
        answers[prompt].bytes = bytes;
    }
    return put(c, answers[prompt].bytes, answers[prompt].length);
}

/* -- streams at a pace */

static struct group *group_of(int interval) {
    for (int i = 0; i < group_count; i++)
        if (groups[i].interval == interval) return &groups[i];
    if (group_count == GROUPS) return &groups[0];
    struct group *g = &groups[group_count++];
    g->interval = interval;
    g->phases = interval / PHASE_MS > 1 ? interval / PHASE_MS : 1;
    g->lists = calloc(g->phases, sizeof *g->lists);
    g->source.kind = TIMER;
    g->source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    long nanoseconds = (long)interval * 1000000 / g->phases;
    struct itimerspec when = {{nanoseconds / 1000000000, nanoseconds % 1000000000}, {nanoseconds / 1000000000, nanoseconds % 1000000000}};
    timerfd_settime(g->source.fd, 0, &when, NULL);
    watch(&g->source, EPOLLIN);
    return g;
}

static void consume(struct connection *c);

static int step(struct connection *c) {
    char frames[2048];
    size_t length = 0;
    if (c->remaining > 0) {
        c->remaining--;
        length = token_frame(frames, ++c->sent, c->flags, c->prompt);
    }
    int is_over = c->remaining == 0;
    if (is_over) {
        length += last_frames(frames + length, c->sent, c->flags, c->prompt);
        leave(c);
    }
    if (put(c, frames, length) < 0) return -1;
    if (is_over && c->in_length) consume(c);
    return 0;
}

static void tick(struct group *g) {
    uint64_t times;
    if (read(g->source.fd, &times, sizeof times) != sizeof times) return;
    while (times--) {
        g->now = (g->now + 1) % g->phases;
        for (struct connection *c = g->lists[g->now], *next; c; c = next) {
            next = c->next;
            step(c);
        }
    }
}

static int begin_stream(struct connection *c, int tokens, int interval, int flags, int prompt) {
    if (!interval) {
        struct whole *all = burst(tokens, flags, prompt);
        return put(c, all->bytes, all->length);
    }
    char frames[2048];
    size_t length = first_frames(frames, flags, prompt);
    length += token_frame(frames + length, 1, flags, prompt);
    c->remaining = tokens - 1;
    c->sent = 1;
    c->flags = flags;
    c->prompt = prompt;
    struct group *g = group_of(interval);
    /* The last phase of a full turn: a full interval passes, or at most one phase less. */
    struct connection **list = &g->lists[g->phases == 1 ? 0 : g->now];
    c->list = list;
    c->previous = NULL;
    c->next = *list;
    if (*list) (*list)->previous = c;
    *list = c;
    return put(c, frames, length);
}

/* -- requests */

static int number_of(const char *body, size_t length, const char *name, int absent) {
    const char *at = memmem(body, length, name, strlen(name));
    if (!at) return absent;
    at += strlen(name);
    while (at < body + length && (*at == ' ' || *at == ':')) at++;
    return atoi(at);
}

static int is_true(const char *body, size_t length, const char *name) {
    const char *at = memmem(body, length, name, strlen(name));
    if (!at) return 0;
    at += strlen(name);
    while (at < body + length && (*at == ' ' || *at == ':')) at++;
    return *at == 't';
}

static int answer(struct connection *c, const char *request, size_t head, const char *body, size_t length) {
    if (!strncmp(request, "GET ", 4)) {
        static const char found[] = "{\"status\":\"ok\",\"object\":\"list\",\"data\":[{\"id\":\"" MODEL "\",\"object\":\"model\",\"created\":1,\"owned_by\":\"bench\"}]}";
        char all[512];
        return put(c, all, sprintf(all, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", sizeof found - 1, found));
    }
    if (!memmem(request, head, "/completions", 12)) {
        static const char none[] = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        return put(c, none, sizeof none - 1);
    }
    int prompt = length / 4 < PROMPTS ? length / 4 : PROMPTS - 1;
    if (!is_true(body, length, "\"stream\"")) return whole_answer(c, prompt);
    int flags = (is_true(body, length, "\"include_usage\"") ? WANTS_USAGE : 0) |
                (is_true(body, length, "\"return_progress\"") ? WANTS_PROGRESS : 0) |
                (is_true(body, length, "\"continuous_usage_stats\"") ? WANTS_RUNNING : 0);
    int tokens = number_of(body, length, "\"max_tokens\"", 0);
    if (!tokens) tokens = number_of(body, length, "\"max_completion_tokens\"", 64);
    return begin_stream(c, tokens > 0 ? tokens : 1, number_of(body, length, "\"seed\"", 0), flags, prompt);
}

static long content_length(const char *head, size_t length) {
    const char *end = head + length;
    for (const char *line = memchr(head, '\n', length); line && ++line < end; line = memchr(line, '\n', end - line)) {
        if ((*line | 32) == 'c' && !strncasecmp(line, "content-length:", 15)) return atol(line + 15);
        if ((*line | 32) == 't' && !strncasecmp(line, "transfer-encoding:", 18)) return -1;
    }
    return 0;
}

/* Answers every whole request that lies in the buffer, as long as no stream is in progress. */
static void consume(struct connection *c) {
    size_t used = 0;
    while (c->remaining < 0 && used < c->in_length) {
        char *request = c->in + used;
        size_t left = c->in_length - used;
        char *blank = memmem(request, left, "\r\n\r\n", 4);
        if (!blank) break;
        size_t head = blank + 4 - request;
        long length = content_length(request, head);
        if (length < 0) {
            static const char refused[] = "HTTP/1.1 411 Length Required\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            if (put(c, refused, sizeof refused - 1) == 0) hang_up(c);
            return;
        }
        if (left < head + length) break;
        used += head + length;
        if (answer(c, request, head, request + head, length) < 0) return;
    }
    memmove(c->in, c->in + used, c->in_length - used);
    c->in_length -= used;
    if (!c->in_length && c->remaining >= 0) {
        free(c->in);
        c->in = NULL;
        c->in_room = 0;
    }
}

static void receive(struct connection *c) {
    static char block[IN_BYTES];
    ssize_t got = recv(c->source.fd, block, sizeof block, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        hang_up(c);
        return;
    }
    if (c->in_length + got + 1 > c->in_room) {
        c->in_room = c->in_length + got + 1024;
        c->in = realloc(c->in, c->in_room);
    }
    memcpy(c->in + c->in_length, block, got);
    c->in_length += got;
    c->in[c->in_length] = 0;
    consume(c);
}

static void take(struct source *listener) {
    for (;;) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        int fd = accept4(listener->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct connection *c = calloc(1, sizeof *c);
        c->source.kind = CONNECTION;
        c->source.fd = fd;
        c->remaining = -1;
        c->is_tcp = from.ss_family == AF_INET;
        if (c->is_tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        watch(&c->source, EPOLLIN);
    }
}

static void listen_at(int fd, struct sockaddr *address, socklen_t size, const char *shown) {
    if (fd < 0 || bind(fd, address, size) < 0 || listen(fd, 4096) < 0) fail(shown);
    struct source *source = calloc(1, sizeof *source);
    source->kind = LISTENER;
    source->fd = fd;
    watch(source, EPOLLIN);
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 1; i + 1 < count; i += 2) {
        char *where = words[i + 1];
        if (!strcmp(words[i], "--unix")) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            strncpy(address.sun_path, where, sizeof address.sun_path - 1);
            unlink(where);
            listen_at(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), (struct sockaddr *)&address, sizeof address, where);
        } else if (!strcmp(words[i], "--tcp")) {
            char *colon = strrchr(where, ':');
            struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
            *colon = 0;
            inet_pton(AF_INET, where, &address.sin_addr);
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
            listen_at(fd, (struct sockaddr *)&address, sizeof address, where);
        }
    }
    puts("ready");
    fflush(stdout);
    struct epoll_event events[1024];
    for (;;) {
        int ready = epoll_wait(poll_fd, events, 1024, -1), due = 0;
        struct group *ticking[GROUPS];
        for (int i = 0; i < ready; i++) {
            struct source *source = events[i].data.ptr;
            if (source->kind == LISTENER) take(source);
            else if (source->kind == TIMER) ticking[due++] = (struct group *)source;
            else if (source->kind == CONNECTION && events[i].events & EPOLLOUT) {
                struct connection *c = (struct connection *)source;
                if (flush(c) == 0 && events[i].events & EPOLLIN) receive(c);
            } else receive((struct connection *)source);
        }
        /* Timers last: a tick may free a connection that has an event in the same batch. */
        for (int i = 0; i < due; i++) tick(ticking[i]);
    }
}
