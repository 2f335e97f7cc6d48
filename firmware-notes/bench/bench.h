/*
 * What both bench clients share and what no firmware needs from them: arguments, a POSIX socket with deadlines, and the
 * exchange of lines. The TLS, which is what a firmware does take over, is in mbedtls-client/ and wolfssl-client/.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_LINES = 64, MAX_LINE = 8192, MAX_REPLY = 256 };

/* 0 means that every line was thanked. */
enum { EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_LINK = 3 };

/* ---- wishes.c: what the user asked for ------------------------------------------------------------------------------ */

struct wishes {
    const char *host, *port, *ca, *name, *cert, *key, *cipher, *groups, *expect;
    const char *lines[MAX_LINES];
    unsigned line_count, count, id, mfl, timeout_s;
    unsigned version; /* 10, 11, 12, 13; 0 leaves it to the stack */
    bool resume;
};

/* 0, or -1 after having said what is wrong. */
int wishes_read(int argc, char **argv, struct wishes *wish);

/* Takes the next name off a comma-separated list, replacing `from` by `to`; false when none is left or it does not fit. */
bool next_name(const char **list, char *name, size_t size, char from, char to);

/* One line to stderr. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void complain(const char *format, ...);

/* ---- link.c: a socket on which every wait ends ---------------------------------------------------------------------- */

enum { LINK_CLOSED = 0, LINK_TIMEOUT = -1, LINK_BROKEN = -2 };

/* Follows the record headers through the received stream, to know the largest record. */
struct records {
    unsigned char header[5];
    size_t header_len, body_left, largest;
};

struct link {
    int fd;
    int64_t deadline_ms; /* monotonic; holds for everything until it is started anew */
    struct records records;
};

int link_open(struct link *link, const struct wishes *wish);
void link_close(struct link *link);
void link_deadline(struct link *link, unsigned seconds);
/* Bytes moved, or LINK_CLOSED, LINK_TIMEOUT, LINK_BROKEN. */
int link_receive(struct link *link, void *buffer, size_t size);
int link_send(struct link *link, const void *bytes, size_t count);

/* ---- lines.c: lines out, replies in ---------------------------------------------------------------------------------- */

/* A TLS stream. Both return the bytes moved (more than 0), or -1 after having said what happened. */
struct stream {
    void *context;
    int (*write)(void *context, const void *bytes, size_t count);
    int (*read)(void *context, void *buffer, size_t size);
};

/* Sends every line and waits for its reply. 0 when all were thanked, EXIT_REFUSED, or EXIT_LINK. */
int deliver(const struct stream *stream, struct link *link, const struct wishes *wish, unsigned *seq);

#endif
