/* The exchange m0v expects: a line of JSON and LF out, a line back. A reading is delivered when its reply says so. */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What was read and not yet used: replies are cut at LF, wherever the records happen to end. */
struct replies {
    char bytes[MAX_REPLY];
    size_t filled;
};

static int send_line(const struct stream *stream, const char *line)
{
    char buffer[MAX_LINE + 1];
    size_t length = strlen(line);
    if (length >= sizeof buffer) {
        return -1;
    }
    memcpy(buffer, line, length);
    buffer[length++] = '\n'; /* line and LF in one write, so in one record: the server need not wait for more */
    for (size_t sent = 0; sent < length;) {
        int step = stream->write(stream->context, buffer + sent, length - sent);
        if (step <= 0) {
            return -1;
        }
        sent += (size_t)step;
    }
    return 0;
}

/* One reply, without its line end. */
static int read_reply(const struct stream *stream, struct replies *replies, char *reply)
{
    for (;;) {
        const char *end = memchr(replies->bytes, '\n', replies->filled);
        if (end != NULL) {
            size_t length = (size_t)(end - replies->bytes);
            memcpy(reply, replies->bytes, length);
            reply[length] = '\0';
            if (length > 0 && reply[length - 1] == '\r') {
                reply[length - 1] = '\0';
            }
            replies->filled -= length + 1;
            memmove(replies->bytes, end + 1, replies->filled);
            return 0;
        }
        if (replies->filled == sizeof replies->bytes) {
            complain("a reply longer than %d bytes", MAX_REPLY);
            return -1;
        }
        int got = stream->read(stream->context, replies->bytes + replies->filled, sizeof replies->bytes - replies->filled);
        if (got <= 0) {
            return -1;
        }
        replies->filled += (size_t)got;
    }
}

/* The reading a meter would send. `seq` makes sending it again harmless: the server stores it once. */
static int make_reading(char *line, size_t size, unsigned id, unsigned seq)
{
    const char format[] = "{\"id\":%u,\"timestamp\":%lld,\"status\":true,\"voltage\":%.1f,\"freq\":%.2f,\"seq\":%u}";
    int length = snprintf(line, size, format, id, (long long)time(NULL), 229.0 + seq % 30 / 10.0, 49.95 + seq % 10 / 100.0, seq);
    return length > 0 && (size_t)length < size ? 0 : -1;
}

int deliver(const struct stream *stream, struct link *link, const struct wishes *wish, unsigned *seq)
{
    struct replies replies = {.filled = 0};
    unsigned total = wish->line_count > 0 ? wish->line_count : wish->count;
    int outcome = 0;
    for (unsigned i = 0; i < total; i++) {
        char made[160];
        char reply[MAX_REPLY];
        const char *line = wish->line_count > 0 ? wish->lines[i] : made;
        if (line == made && make_reading(made, sizeof made, wish->id, ++*seq) != 0) {
            return EXIT_LINK;
        }
        printf("> %s\n", line);
        link_deadline(link, wish->timeout_s);
        if (send_line(stream, line) != 0 || read_reply(stream, &replies, reply) != 0) {
            return EXIT_LINK;
        }
        printf("< %s\n", reply);
        if (strcmp(reply, wish->expect) != 0) {
            outcome = EXIT_REFUSED;
        }
    }
    return outcome;
}
