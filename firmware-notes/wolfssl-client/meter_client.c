/*
 * A meter that speaks to m0v over wolfSSL 5.5, as a program for the bench. The CC3220's network processor carries an old
 * relative of this stack: the error names are the same, and the CC3220 number is printed beside ours.
 *
 * To take over into a firmware: one context for every connection; verification is required and the name is checked, always;
 * TLS 1.2 is the lowest version unless somebody asks; each step has a deadline (../bench/link.c); the session is taken at
 * the END of a connection, because a TLS 1.3 ticket comes after the handshake, and offered to the next one.
 */
#define _POSIX_C_SOURCE 200809L

#include "../bench/bench.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfio.h>

enum { MAX_GROUPS = 16, MAX_SUITE_LIST = 2048 };

struct tls {
    WOLFSSL_CTX *context;
    WOLFSSL_SESSION *session; /* of the last connection, or NULL */
};

/* What the socket callbacks get: the link, and what it last answered (wolfSSL reports every failure of it alike). */
struct wire {
    struct link *link;
    int last;
};

/* ---- What went wrong, in words -------------------------------------------------------------------------------------- */

/* TI's errors.h keeps the names of these errors; of the numbers, −1xx became −6xx and −3xx became −7xx. 0: no such number. */
static int cc3220_number(int error)
{
    if (error <= -132 && error >= -191) {
        return error - 500;
    }
    if (error <= -304 && error >= -378) {
        return error - 400;
    }
    return 0;
}

static int fail(const char *what, int error)
{
    char text[WOLFSSL_MAX_ERROR_SZ] = "";
    wolfSSL_ERR_error_string_n((unsigned long)error, text, sizeof text);
    int elsewhere = cc3220_number(error);
    if (elsewhere != 0) {
        complain("%s: %s (%d; a CC3220 says %d)", what, text, error, elsewhere);
    } else {
        complain("%s: %s (%d)", what, text, error);
    }
    return -1;
}

/* Like fail(), for an error of a connection: names the server's alert, and the one we sent. */
static int fail_on(WOLFSSL *ssl, const char *what, int result)
{
    const struct wire *wire = wolfSSL_GetIOReadCtx(ssl);
    WOLFSSL_ALERT_HISTORY alerts = {{-1, -1}, {-1, -1}};
    int error = wolfSSL_get_error(ssl, result);
    bool history = wolfSSL_get_alert_history(ssl, &alerts) == WOLFSSL_SUCCESS;

    if (history && alerts.last_rx.level == alert_fatal) {
        complain("%s: the server sent alert %d", what, alerts.last_rx.code);
    } else if (wire->last == LINK_TIMEOUT) {
        complain("%s: nothing came in time", what);
    } else if (error == WOLFSSL_ERROR_ZERO_RETURN || wire->last == LINK_CLOSED) {
        complain("%s: the server closed the connection", what);
    } else {
        fail(what, error);
        if (history && alerts.last_tx.level == alert_fatal) {
            complain("%s: we sent alert %d", what, alerts.last_tx.code);
        }
    }
    return -1;
}

/* ---- Configuration --------------------------------------------------------------------------------------------------- */

/* NULL when this wolfSSL does not have the version. */
static WOLFSSL_METHOD *method_for(unsigned version)
{
    switch (version) {
    case 0:
        return wolfTLS_client_method();
    case 12:
        return wolfTLSv1_2_client_method();
    case 13:
        return wolfTLSv1_3_client_method();
    default:
        return NULL;
    }
}

static int choose_suites(struct tls *tls, const char *list)
{
    char colons[MAX_SUITE_LIST];
    size_t length = strlen(list);
    if (length >= sizeof colons) {
        complain("--cipher: too long");
        return -1;
    }
    for (size_t i = 0; i <= length; i++) {
        colons[i] = (char)(list[i] == ',' ? ':' : list[i]);
    }
    /* Knows the IANA names too. It skips a name it does not know and fails when it knew none. */
    if (wolfSSL_CTX_set_cipher_list(tls->context, colons) != WOLFSSL_SUCCESS) {
        complain("--cipher: not in this wolfSSL: %s", list);
        return -1;
    }
    return 0;
}

static int group_named(const char *name)
{
    const struct { const char *name; int group; } known[] = {
        {"secp256r1", WOLFSSL_ECC_SECP256R1}, {"secp384r1", WOLFSSL_ECC_SECP384R1}, {"secp521r1", WOLFSSL_ECC_SECP521R1},
        {"x25519", WOLFSSL_ECC_X25519},       {"x448", WOLFSSL_ECC_X448},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i].name) == 0) {
            return known[i].group;
        }
    }
    return -1;
}

/* Two doors: set_groups also chooses the TLS 1.3 key share but refuses a TLS 1.2 context, which wants them one by one. */
static int choose_groups(struct tls *tls, const struct wishes *wish)
{
    const char *list = wish->groups;
    char name[32] = "";
    int groups[MAX_GROUPS];
    int count = 0;
    bool accepted = true;
    while (*list != '\0' && accepted) {
        int group = next_name(&list, name, sizeof name, '\0', '\0') ? group_named(name) : -1;
        if (group < 0 || count == MAX_GROUPS) {
            complain("--groups: not known here, or too many: %s", name);
            return -1;
        }
        groups[count++] = group;
        if (wish->version == 12) {
            accepted = wolfSSL_CTX_UseSupportedCurve(tls->context, (word16)group) == WOLFSSL_SUCCESS;
        }
    }
    if (wish->version != 12) {
        accepted = wolfSSL_CTX_set_groups(tls->context, groups, count) == WOLFSSL_SUCCESS;
    }
    if (!accepted) {
        complain("--groups: not in this wolfSSL");
    }
    return accepted ? 0 : -1;
}

static int choose_fragment(struct tls *tls, unsigned bytes)
{
    const struct { unsigned bytes; unsigned char code; } codes[] = {
        {512, WOLFSSL_MFL_2_9}, {1024, WOLFSSL_MFL_2_10}, {2048, WOLFSSL_MFL_2_11}, {4096, WOLFSSL_MFL_2_12},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].bytes == bytes) {
            int result = wolfSSL_CTX_UseMaxFragment(tls->context, codes[i].code);
            return result == WOLFSSL_SUCCESS ? 0 : fail("--mfl", result);
        }
    }
    complain("--mfl is 512, 1024, 2048 or 4096");
    return -1;
}

static int load_identity(struct tls *tls, const struct wishes *wish)
{
    int result = wolfSSL_CTX_use_certificate_chain_file(tls->context, wish->cert);
    if (result != WOLFSSL_SUCCESS) {
        return fail(wish->cert, result);
    }
    result = wolfSSL_CTX_use_PrivateKey_file(tls->context, wish->key, WOLFSSL_FILETYPE_PEM);
    return result == WOLFSSL_SUCCESS ? 0 : fail(wish->key, result);
}

static int receive(WOLFSSL *ssl, char *buffer, int size, void *context)
{
    struct wire *wire = context;
    (void)ssl;
    wire->last = link_receive(wire->link, buffer, (size_t)size);
    if (wire->last > 0) {
        return wire->last;
    }
    return wire->last == LINK_CLOSED ? WOLFSSL_CBIO_ERR_CONN_CLOSE : WOLFSSL_CBIO_ERR_GENERAL;
}

static int transmit(WOLFSSL *ssl, char *bytes, int count, void *context)
{
    struct wire *wire = context;
    (void)ssl;
    wire->last = link_send(wire->link, bytes, (size_t)count);
    return wire->last > 0 ? wire->last : WOLFSSL_CBIO_ERR_GENERAL;
}

static int configure(struct tls *tls, const struct wishes *wish)
{
    WOLFSSL_METHOD *method = method_for(wish->version);
    if (method == NULL) {
        complain("this wolfSSL speaks TLS 1.2 and 1.3");
        return -1;
    }
    tls->context = wolfSSL_CTX_new(method);
    if (tls->context == NULL) {
        complain("no memory for the TLS context");
        return -1;
    }
    wolfSSL_CTX_set_verify(tls->context, WOLFSSL_VERIFY_PEER, NULL);
    wolfSSL_SetIORecv(tls->context, receive);
    wolfSSL_SetIOSend(tls->context, transmit);
    int result = wolfSSL_CTX_load_verify_locations(tls->context, wish->ca, NULL);
    if (result != WOLFSSL_SUCCESS) {
        return fail(wish->ca, result);
    }
    if ((result = wolfSSL_CTX_SetMinVersion(tls->context, WOLFSSL_TLSV1_2)) != WOLFSSL_SUCCESS) {
        return fail("lowest version", result);
    }
    if ((result = wolfSSL_CTX_UseSessionTicket(tls->context)) != WOLFSSL_SUCCESS) {
        return fail("session tickets", result);
    }
    if ((wish->cipher != NULL && choose_suites(tls, wish->cipher) != 0) ||
        (wish->groups != NULL && choose_groups(tls, wish) != 0) ||
        (wish->mfl != 0 && choose_fragment(tls, wish->mfl) != 0) ||
        (wish->cert != NULL && load_identity(tls, wish) != 0)) {
        return -1;
    }
    return 0;
}

/* ---- One connection --------------------------------------------------------------------------------------------------- */

static int stream_write(void *context, const void *bytes, size_t count)
{
    WOLFSSL *ssl = context;
    int sent = wolfSSL_write(ssl, bytes, (int)count); /* count is at most MAX_LINE + 1 */
    return sent > 0 ? sent : fail_on(ssl, "sending", sent);
}

static int stream_read(void *context, void *buffer, size_t size)
{
    WOLFSSL *ssl = context;
    int got = wolfSSL_read(ssl, buffer, (int)size); /* size is at most MAX_REPLY */
    return got > 0 ? got : fail_on(ssl, "waiting for the reply", got);
}

/* SNI carries names only (RFC 6066, section 3). */
static bool is_address(const char *name)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int prepare(struct tls *tls, WOLFSSL *ssl, struct wire *wire, const struct wishes *wish)
{
    wolfSSL_SetIOReadCtx(ssl, wire);
    wolfSSL_SetIOWriteCtx(ssl, wire);
    int result = wolfSSL_check_domain_name(ssl, wish->name);
    if (result != WOLFSSL_SUCCESS) {
        return fail("name", result);
    }
    if (!is_address(wish->name)) {
        result = wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, wish->name, (unsigned short)strlen(wish->name));
        if (result != WOLFSSL_SUCCESS) {
            return fail("SNI", result);
        }
    }
    if (tls->session != NULL && wolfSSL_set_session(ssl, tls->session) != WOLFSSL_SUCCESS) {
        complain("the session can no longer be offered: full handshake");
    }
    return 0;
}

static int shake_hands(WOLFSSL *ssl)
{
    int result = wolfSSL_connect(ssl);
    if (result != WOLFSSL_SUCCESS) {
        return fail_on(ssl, "handshake", result);
    }
    int suite = wolfSSL_get_current_cipher_suite(ssl);
    const char *name = wolfSSL_get_cipher_name_iana_from_suite((unsigned char)(suite >> 8), (unsigned char)(suite & 0xff));
    printf("version: %s\nsuite: %s\nresumed: %s\n", wolfSSL_get_version(ssl), name,
           wolfSSL_session_reused(ssl) ? "yes" : "no");
    return 0;
}

static void keep_session(struct tls *tls, WOLFSSL *ssl)
{
    WOLFSSL_SESSION *fresh = wolfSSL_get1_session(ssl);
    if (fresh != NULL) {
        wolfSSL_SESSION_free(tls->session);
        tls->session = fresh;
    }
}

static int converse(struct tls *tls, const struct wishes *wish, unsigned *seq)
{
    struct link link;
    if (link_open(&link, wish) != 0) {
        return EXIT_LINK;
    }
    struct wire wire = {.link = &link, .last = 1};
    WOLFSSL *ssl = wolfSSL_new(tls->context);
    if (ssl == NULL) {
        complain("no memory for the connection");
        link_close(&link);
        return EXIT_LINK;
    }
    const struct stream stream = {.context = ssl, .write = stream_write, .read = stream_read};
    int outcome = EXIT_LINK;
    if (prepare(tls, ssl, &wire, wish) == 0 && shake_hands(ssl) == 0) {
        outcome = deliver(&stream, &link, wish, seq);
    }
    printf("largest record received: %zu\n", link.records.largest);
    if (outcome != EXIT_LINK) {
        keep_session(tls, ssl);
        /* One way is enough: every reply is here already, so its result changes nothing. */
        (void)wolfSSL_shutdown(ssl);
    }
    wolfSSL_free(ssl);
    link_close(&link);
    return outcome;
}

int main(int argc, char **argv)
{
    struct tls tls = {NULL, NULL};
    struct wishes wish;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* in order with stderr, also through a pipe */
    if (wishes_read(argc, argv, &wish) != 0) {
        return EXIT_USAGE;
    }
    if (wolfSSL_Init() != WOLFSSL_SUCCESS) {
        complain("wolfSSL does not start");
        return EXIT_USAGE;
    }
    unsigned seq = 0;
    int outcome = configure(&tls, &wish) == 0 ? 0 : EXIT_USAGE;
    for (int round = 0; outcome == 0 && round < (wish.resume ? 2 : 1); round++) {
        outcome = converse(&tls, &wish, &seq);
    }
    wolfSSL_SESSION_free(tls.session);
    wolfSSL_CTX_free(tls.context);
    if (wolfSSL_Cleanup() != WOLFSSL_SUCCESS) {
        complain("wolfSSL does not stop cleanly");
    }
    return outcome;
}
