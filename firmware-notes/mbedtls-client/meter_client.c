/*
 * A meter that speaks to m0v over mbedTLS 2.28: the TLS of an ESP32-class firmware, as a program for the bench.
 *
 * To take over into a firmware: configure once and keep it for every connection; verification is required and the name is
 * checked, always; TLS 1.2 is the lowest version unless somebody asks; each step has a deadline (../bench/link.c); the
 * session of the last connection is offered to the next one.
 */
#include "../bench/bench.h"

#include <stdio.h>
#include <string.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

enum { MAX_SUITES = 32, MAX_GROUPS = 16 };

/* Made once, used for every connection. mbedTLS keeps pointers into it, so it does not move. */
struct tls {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt roots, own_cert;
    mbedtls_pk_context own_key;
    mbedtls_ssl_config config;
    mbedtls_ssl_session session; /* of the last connection */
    bool has_session;
    int suites[MAX_SUITES + 1];                  /* ends with 0 */
    mbedtls_ecp_group_id groups[MAX_GROUPS + 1]; /* ends with MBEDTLS_ECP_DP_NONE, which is 0 */
};

/* ---- What went wrong, in words -------------------------------------------------------------------------------------- */

static int fail(const char *what, int error)
{
    char text[160] = "";
    mbedtls_strerror(error, text, sizeof text);
    complain("%s: %s (-0x%04x)", what, text, (unsigned)-error);
    return -1;
}

/* Like fail(), for an error of a connection: names the server's alert, or what is wrong with its certificate. */
static int fail_on(const mbedtls_ssl_context *ssl, const char *what, int error)
{
    if (error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && ssl->in_msg != NULL) {
        complain("%s: the server sent alert %u", what, (unsigned)ssl->in_msg[1]);
    } else if (error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        char text[512] = "";
        int length = mbedtls_x509_crt_verify_info(text, sizeof text, "  ", mbedtls_ssl_get_verify_result(ssl));
        complain("%s: we refuse the server's certificate:\n%s", what, length > 0 ? text : "  (no reason given)");
    } else if (error == MBEDTLS_ERR_SSL_TIMEOUT) {
        complain("%s: nothing came in time", what);
    } else if (error == MBEDTLS_ERR_SSL_CONN_EOF || error == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || error == 0) {
        complain("%s: the server closed the connection", what);
    } else {
        return fail(what, error);
    }
    return -1;
}

/* ---- Configuration --------------------------------------------------------------------------------------------------- */

static int choose_suites(struct tls *tls, const char *list)
{
    char name[96] = "";
    size_t count = 0;
    while (*list != '\0') {
        /* mbedTLS writes the IANA names with dashes. */
        int suite = next_name(&list, name, sizeof name, '_', '-') ? mbedtls_ssl_get_ciphersuite_id(name) : 0;
        if (suite == 0 || count == MAX_SUITES) {
            complain("--cipher: not in this mbedTLS, or too many: %s", name);
            return -1;
        }
        tls->suites[count++] = suite;
    }
    mbedtls_ssl_conf_ciphersuites(&tls->config, tls->suites);
    return 0;
}

static int choose_groups(struct tls *tls, const char *list)
{
    char name[32] = "";
    size_t count = 0;
    while (*list != '\0') {
        bool taken = next_name(&list, name, sizeof name, '\0', '\0');
        const mbedtls_ecp_curve_info *curve = taken ? mbedtls_ecp_curve_info_from_name(name) : NULL;
        if (curve == NULL || count == MAX_GROUPS) {
            complain("--groups: not in this mbedTLS, or too many: %s", name);
            return -1;
        }
        tls->groups[count++] = curve->grp_id;
    }
    mbedtls_ssl_conf_curves(&tls->config, tls->groups);
    return 0;
}

static int choose_fragment(struct tls *tls, unsigned bytes)
{
    const struct { unsigned bytes; unsigned char code; } codes[] = {
        {512, MBEDTLS_SSL_MAX_FRAG_LEN_512},   {1024, MBEDTLS_SSL_MAX_FRAG_LEN_1024},
        {2048, MBEDTLS_SSL_MAX_FRAG_LEN_2048}, {4096, MBEDTLS_SSL_MAX_FRAG_LEN_4096},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].bytes == bytes) {
            int error = mbedtls_ssl_conf_max_frag_len(&tls->config, codes[i].code);
            return error == 0 ? 0 : fail("--mfl", error);
        }
    }
    complain("--mfl is 512, 1024, 2048 or 4096");
    return -1;
}

static int choose_version(struct tls *tls, unsigned version)
{
    if (version == 13) {
        complain("--tls13: mbedTLS 2.28 speaks TLS 1.2 at most");
        return -1;
    }
    int minor = MBEDTLS_SSL_MINOR_VERSION_3; /* TLS 1.2 */
    if (version == 11) {
        minor = MBEDTLS_SSL_MINOR_VERSION_2;
    } else if (version == 10) {
        minor = MBEDTLS_SSL_MINOR_VERSION_1;
    }
    mbedtls_ssl_conf_min_version(&tls->config, MBEDTLS_SSL_MAJOR_VERSION_3, minor);
    mbedtls_ssl_conf_max_version(&tls->config, MBEDTLS_SSL_MAJOR_VERSION_3, minor);
    return 0;
}

static int load_roots(struct tls *tls, const char *file)
{
    int error = mbedtls_x509_crt_parse_file(&tls->roots, file);
    if (error > 0) { /* so many could not be read: a trust store with holes is an error too */
        complain("%s: %d of its certificates cannot be read", file, error);
        return -1;
    }
    return error == 0 ? 0 : fail(file, error);
}

static int load_identity(struct tls *tls, const struct wishes *wish)
{
    int error = mbedtls_x509_crt_parse_file(&tls->own_cert, wish->cert);
    if (error != 0) {
        return fail(wish->cert, error);
    }
    error = mbedtls_pk_parse_keyfile(&tls->own_key, wish->key, NULL);
    if (error != 0) {
        return fail(wish->key, error);
    }
    error = mbedtls_ssl_conf_own_cert(&tls->config, &tls->own_cert, &tls->own_key);
    return error == 0 ? 0 : fail("client certificate", error);
}

static int seed_random(struct tls *tls)
{
    static const unsigned char personal[] = "m0v meter client";
    int error = mbedtls_ctr_drbg_seed(&tls->random, mbedtls_entropy_func, &tls->entropy, personal, sizeof personal - 1);
    return error == 0 ? 0 : fail("random numbers", error);
}

static int configure(struct tls *tls, const struct wishes *wish)
{
    int error = mbedtls_ssl_config_defaults(&tls->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                            MBEDTLS_SSL_PRESET_DEFAULT);
    if (error != 0) {
        return fail("defaults", error);
    }
    mbedtls_ssl_conf_rng(&tls->config, mbedtls_ctr_drbg_random, &tls->random);
    mbedtls_ssl_conf_authmode(&tls->config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&tls->config, &tls->roots, NULL);
    if (seed_random(tls) != 0 || load_roots(tls, wish->ca) != 0 || choose_version(tls, wish->version) != 0 ||
        (wish->cipher != NULL && choose_suites(tls, wish->cipher) != 0) ||
        (wish->groups != NULL && choose_groups(tls, wish->groups) != 0) ||
        (wish->mfl != 0 && choose_fragment(tls, wish->mfl) != 0) ||
        (wish->cert != NULL && load_identity(tls, wish) != 0)) {
        return -1;
    }
    return 0;
}

static void tls_init(struct tls *tls)
{
    memset(tls, 0, sizeof *tls);
    mbedtls_entropy_init(&tls->entropy);
    mbedtls_ctr_drbg_init(&tls->random);
    mbedtls_x509_crt_init(&tls->roots);
    mbedtls_x509_crt_init(&tls->own_cert);
    mbedtls_pk_init(&tls->own_key);
    mbedtls_ssl_config_init(&tls->config);
    mbedtls_ssl_session_init(&tls->session);
}

static void tls_free(struct tls *tls)
{
    mbedtls_ssl_session_free(&tls->session);
    mbedtls_ssl_config_free(&tls->config);
    mbedtls_pk_free(&tls->own_key);
    mbedtls_x509_crt_free(&tls->own_cert);
    mbedtls_x509_crt_free(&tls->roots);
    mbedtls_ctr_drbg_free(&tls->random);
    mbedtls_entropy_free(&tls->entropy);
}

/* ---- One connection --------------------------------------------------------------------------------------------------- */

static int tls_error_of(int link_result)
{
    return link_result == LINK_TIMEOUT ? MBEDTLS_ERR_SSL_TIMEOUT : MBEDTLS_ERR_NET_CONN_RESET;
}

static int receive(void *context, unsigned char *buffer, size_t size)
{
    int got = link_receive(context, buffer, size);
    return got >= 0 ? got : tls_error_of(got); /* 0: the peer closed */
}

static int transmit(void *context, const unsigned char *bytes, size_t count)
{
    int sent = link_send(context, bytes, count);
    return sent >= 0 ? sent : tls_error_of(sent);
}

static bool try_again(int error)
{
    return error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE;
}

static int stream_write(void *context, const void *bytes, size_t count)
{
    mbedtls_ssl_context *ssl = context;
    int sent;
    do {
        sent = mbedtls_ssl_write(ssl, bytes, count);
    } while (try_again(sent));
    return sent > 0 ? sent : fail_on(ssl, "sending", sent);
}

static int stream_read(void *context, void *buffer, size_t size)
{
    mbedtls_ssl_context *ssl = context;
    int got;
    do {
        got = mbedtls_ssl_read(ssl, buffer, size);
    } while (try_again(got));
    return got > 0 ? got : fail_on(ssl, "waiting for the reply", got);
}

/*
 * Keeps the session for the next connection and tells whether this one was resumed. mbedTLS 2.28 does not say so itself, but
 * up to TLS 1.2 a resumed connection has the master secret of the first one, and a full handshake makes a new one.
 */
static int keep_session(struct tls *tls, const mbedtls_ssl_context *ssl, bool *resumed)
{
    mbedtls_ssl_session fresh;
    mbedtls_ssl_session_init(&fresh);
    int error = mbedtls_ssl_get_session(ssl, &fresh);
    if (error != 0) {
        mbedtls_ssl_session_free(&fresh);
        return fail("session", error);
    }
    *resumed = tls->has_session && memcmp(fresh.master, tls->session.master, sizeof fresh.master) == 0;
    mbedtls_ssl_session_free(&tls->session);
    tls->session = fresh;
    tls->has_session = true;
    return 0;
}

static int shake_hands(struct tls *tls, mbedtls_ssl_context *ssl)
{
    int error;
    do {
        error = mbedtls_ssl_handshake(ssl);
    } while (try_again(error));
    if (error != 0) {
        return fail_on(ssl, "handshake", error);
    }
    bool resumed = false;
    if (keep_session(tls, ssl, &resumed) != 0) {
        return -1;
    }
    char suite[96] = "";
    const char *dashed = mbedtls_ssl_get_ciphersuite(ssl);
    if (!next_name(&dashed, suite, sizeof suite, '-', '_')) {
        complain("the suite has no name");
    }
    printf("version: %s\nsuite: %s\nresumed: %s\n", mbedtls_ssl_get_version(ssl), suite, resumed ? "yes" : "no");
    return 0;
}

static int prepare(struct tls *tls, mbedtls_ssl_context *ssl, struct link *link, const struct wishes *wish)
{
    int error = mbedtls_ssl_setup(ssl, &tls->config);
    if (error == 0) {
        error = mbedtls_ssl_set_hostname(ssl, wish->name); /* compared with the certificate, and sent as SNI */
    }
    if (error == 0 && tls->has_session) {
        error = mbedtls_ssl_set_session(ssl, &tls->session);
    }
    if (error != 0) {
        return fail("setup", error);
    }
    mbedtls_ssl_set_bio(ssl, link, transmit, receive, NULL);
    return 0;
}

static int converse(struct tls *tls, const struct wishes *wish, unsigned *seq)
{
    struct link link;
    if (link_open(&link, wish) != 0) {
        return EXIT_LINK;
    }
    mbedtls_ssl_context ssl;
    mbedtls_ssl_init(&ssl);
    const struct stream stream = {.context = &ssl, .write = stream_write, .read = stream_read};
    int outcome = EXIT_LINK;
    if (prepare(tls, &ssl, &link, wish) == 0 && shake_hands(tls, &ssl) == 0) {
        outcome = deliver(&stream, &link, wish, seq);
    }
    printf("largest record received: %zu\n", link.records.largest);
    if (outcome != EXIT_LINK) {
        int error = mbedtls_ssl_close_notify(&ssl);
        if (error != 0) {
            fail_on(&ssl, "closing", error); /* every reply is here already: said, but no failure */
        }
    }
    mbedtls_ssl_free(&ssl);
    link_close(&link);
    return outcome;
}

int main(int argc, char **argv)
{
    static struct tls tls;
    struct wishes wish;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* in order with stderr, also through a pipe */
    if (wishes_read(argc, argv, &wish) != 0) {
        return EXIT_USAGE;
    }
    tls_init(&tls);
    unsigned seq = 0;
    int outcome = configure(&tls, &wish) == 0 ? 0 : EXIT_USAGE;
    for (int round = 0; outcome == 0 && round < (wish.resume ? 2 : 1); round++) {
        outcome = converse(&tls, &wish, &seq);
    }
    tls_free(&tls);
    return outcome;
}
