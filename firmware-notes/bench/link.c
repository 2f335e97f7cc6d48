/*
 * A non-blocking TCP socket on which every wait ends at a deadline. The deadline is one point in time for a whole step: a
 * timeout for each read alone would let a peer that sends one byte a second hold the device for ever.
 */
#define _POSIX_C_SOURCE 200809L

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec now = {0};
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return INT64_MAX; /* no clock, no waiting: every deadline has passed */
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void link_deadline(struct link *link, unsigned seconds)
{
    link->deadline_ms = now_ms() + (int64_t)seconds * 1000;
}

/* 1 when the socket is ready, else LINK_TIMEOUT or LINK_BROKEN. */
static int wait_for(const struct link *link, short events)
{
    for (;;) {
        int64_t left = link->deadline_ms - now_ms();
        if (left <= 0) {
            return LINK_TIMEOUT;
        }
        struct pollfd poll_fd = {.fd = link->fd, .events = events};
        int ready = poll(&poll_fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (ready > 0) {
            return 1;
        }
        if (ready < 0 && errno != EINTR) {
            return LINK_BROKEN;
        }
    }
}

/* A record header is type, version (two bytes) and length (two bytes). */
static void measure(struct records *records, const unsigned char *bytes, size_t count)
{
    while (count > 0) {
        if (records->body_left > 0) {
            size_t step = count < records->body_left ? count : records->body_left;
            records->body_left -= step;
            bytes += step;
            count -= step;
            continue;
        }
        records->header[records->header_len++] = *bytes++;
        count--;
        if (records->header_len == sizeof records->header) {
            records->header_len = 0;
            records->body_left = (size_t)records->header[3] << 8 | records->header[4];
            if (records->body_left > records->largest) {
                records->largest = records->body_left;
            }
        }
    }
}

int link_receive(struct link *link, void *buffer, size_t size)
{
    for (;;) {
        ssize_t got = recv(link->fd, buffer, size, 0);
        if (got >= 0) {
            measure(&link->records, buffer, (size_t)got);
            return (int)got;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int ready = wait_for(link, POLLIN);
            if (ready != 1) {
                return ready;
            }
        } else if (errno != EINTR) {
            return LINK_BROKEN;
        }
    }
}

int link_send(struct link *link, const void *bytes, size_t count)
{
    for (;;) {
        ssize_t sent = send(link->fd, bytes, count, MSG_NOSIGNAL);
        if (sent >= 0) {
            return (int)sent;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int ready = wait_for(link, POLLOUT);
            if (ready != 1) {
                return ready;
            }
        } else if (errno != EINTR) {
            return LINK_BROKEN;
        }
    }
}

/* Connects within the deadline; leaves the reason in errno. */
static int connect_to(struct link *link, const struct addrinfo *address)
{
    int flags = fcntl(link->fd, F_GETFL);
    int one = 1;
    if (flags < 0 || fcntl(link->fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        return -1;
    }
    if (connect(link->fd, address->ai_addr, address->ai_addrlen) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS) {
        return -1;
    }
    int ready = wait_for(link, POLLOUT);
    if (ready != 1) {
        errno = ready == LINK_TIMEOUT ? ETIMEDOUT : errno;
        return -1;
    }
    int reason = 0;
    socklen_t length = sizeof reason;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &reason, &length) != 0) {
        return -1;
    }
    errno = reason;
    return reason == 0 ? 0 : -1;
}

int link_open(struct link *link, const struct wishes *wish)
{
    *link = (struct link){.fd = -1};
    link_deadline(link, wish->timeout_s);

    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(wish->host, wish->port, &hints, &found);
    if (error != 0) {
        complain("%s port %s: %s", wish->host, wish->port, gai_strerror(error));
        return -1;
    }
    int reason = 0;
    for (const struct addrinfo *address = found; address != NULL && link->fd < 0; address = address->ai_next) {
        link->fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
        if (link->fd < 0) {
            reason = errno;
        } else if (connect_to(link, address) != 0) {
            reason = errno;
            link_close(link);
        }
    }
    freeaddrinfo(found);
    if (link->fd < 0) {
        complain("cannot connect to %s port %s: %s", wish->host, wish->port, strerror(reason));
        return -1;
    }
    return 0;
}

void link_close(struct link *link)
{
    if (link->fd >= 0 && close(link->fd) != 0) {
        complain("close: %s", strerror(errno));
    }
    link->fd = -1;
}
