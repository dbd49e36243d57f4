/* ws_io_tls: a session of OpenSSL's on a socket, with a failure at each of its
 * allocations and of its system calls in turn. libcrypto finds read() and
 * write() here, and takes its memory from here. */
#include <dirent.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "ws_io.h"
#include "ws_test.h"
#include "ws_test_socket.h"

#define SIZE 60000                   /* bytes that are echoed */
#define TURNS 2000

/* --- points --- */

enum { HARD, EAGAIN_ONCE, EINTR_ONCE, ONE_BYTE, KINDS };

static struct {
    bool counts;                     /* what happens is the server's */
    int kind;
    long fail_at;                    /* < 0: never */
    bool hit;
    long live;                       /* blocks of OpenSSL's, all sessions */
} points = {.fail_at = -1};

static bool is_point(int kind)
{
    if (!points.counts || points.kind != kind || points.fail_at < 0) {
        return false;
    }
    if (points.fail_at-- > 0) {
        return false;
    }
    points.hit = true;
    return true;
}

static void *take(size_t size, const char *file, int line)
{
    void *memory = is_point(HARD) ? NULL : malloc(size);

    (void)file;
    (void)line;
    points.live += memory != NULL;
    return memory;
}

static void *take_again(void *old, size_t size, const char *file, int line)
{
    void *memory;

    if (old == NULL) {
        return take(size, file, line);
    }
    if (size == 0) {
        points.live--;
        free(old);
        return NULL;
    }
    memory = is_point(HARD) ? NULL : realloc(old, size);
    return memory;
}

static void give(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    points.live -= memory != NULL;
    free(memory);
}

/* Is this call put off, or does it fail? Or *pcount is what it is to move. */
static bool is_refused(size_t *pcount, int error)
{
    errno = 0;
    if (is_point(HARD)) {
        errno = error;
    }
    else if (is_point(EAGAIN_ONCE)) {
        errno = EAGAIN;
    }
    else if (is_point(EINTR_ONCE)) {
        errno = EINTR;
    }
    else if (is_point(ONE_BYTE)) {
        *pcount = *pcount < 1 ? *pcount : 1;
    }
    return errno != 0;
}

ssize_t read(int fd, void *data, size_t count)
{
    if (points.counts && is_refused(&count, ECONNRESET)) {
        return -1;
    }
    return (ssize_t)syscall(SYS_read, fd, data, count);
}

ssize_t write(int fd, const void *data, size_t count)
{
    if (points.counts && is_refused(&count, EPIPE)) {
        return -1;
    }
    return (ssize_t)syscall(SYS_write, fd, data, count);
}

/* --- a session --- */

static struct {
    SSL_CTX *server_context, *client_context;
    SSL *client;
    ws_io_t io;
    bool is_taken;
    int client_fd;
    /* what the client has sent and got; what the server holds */
    uint8_t said[SIZE], heard[SIZE], held[SIZE + 1];
    size_t sent, got;
    size_t held_from, held_to;
    ws_status_t status;              /* the server's, once it is an end */
} test;

static EVP_PKEY *key;
static X509 *certificate;

static void make_certificate(void)
{
    X509_NAME *name;

    key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    certificate = X509_new();
    ck_assert_ptr_nonnull(key);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
}

static void make_contexts(int version)
{
    make_certificate();
    test.server_context = SSL_CTX_new(TLS_server_method());
    test.client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(test.server_context, certificate);
    SSL_CTX_use_PrivateKey(test.server_context, key);
    SSL_CTX_set_session_cache_mode(test.server_context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_min_proto_version(test.server_context, version);
    SSL_CTX_set_max_proto_version(test.server_context, version);
}

static void free_contexts(void)
{
    SSL_CTX_free(test.server_context);
    SSL_CTX_free(test.client_context);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static SSL *make_ssl(SSL_CTX *ssl_context, int fd)
{
    SSL *ssl = SSL_new(ssl_context);

    ck_assert_ptr_nonnull(ssl);
    ck_assert_int_eq(SSL_set_fd(ssl, fd), 1);
    return ssl;
}

/* Both ends are there and the handshake is done. Returns the server's. */
static SSL *shake_hands(int *pserver_fd)
{
    SSL *server;
    int client_done = 0;
    int server_done = 0;
    int i;

    test.client_fd = client_open(pserver_fd);
    server = make_ssl(test.server_context, *pserver_fd);
    test.client = make_ssl(test.client_context, test.client_fd);
    for (i = 0; i < 100 && (client_done != 1 || server_done != 1); i++) {
        client_done = SSL_connect(test.client);
        server_done = SSL_accept(server);
    }
    ck_assert_int_eq(client_done, 1);
    ck_assert_int_eq(server_done, 1);
    ERR_clear_error();
    return server;
}

/* --- both sides, a step a turn --- */

static void run_client(void)
{
    static const size_t pieces[] = {1, 7, 20000, 100, 16384, 3000};
    size_t piece = pieces[test.sent % 6];
    size_t done = 0;

    piece = piece < SIZE - test.sent ? piece : SIZE - test.sent;
    if (piece > 0 && SSL_write_ex(test.client, test.said + test.sent, piece,
                                  &done) == 1) {
        test.sent += done;
    }
    while (test.got < SIZE && SSL_read_ex(test.client, test.heard + test.got,
                                          SIZE - test.got, &done) == 1) {
        test.got += done;
    }
    if (test.got == SIZE) {
        SSL_shutdown(test.client);          /* close_notify */
    }
    ERR_clear_error();
}

static void serve_input(void)
{
    size_t count = 0;
    ws_status_t status;

    do {
        status = test.io.ops->read(&test.io, test.held + test.held_to,
                                   SIZE - test.held_to < 5000
                                       ? SIZE - test.held_to + 1
                                       : 5000,
                                   &count);
        if (status == WS_OK) {
            test.held_to += count;
        }
    } while (status == WS_OK && test.io.more && test.held_to < SIZE);
    if (status != WS_OK && status != WS_AGAIN) {
        test.status = status;
    }
}

static void serve_output(void)
{
    size_t length = test.held_to - test.held_from;
    struct iovec vector[2] = {
        {test.held + test.held_from, length / 3},
        {test.held + test.held_from + length / 3, length - length / 3}};
    size_t count = 0;
    ws_status_t status;

    if (length == 0 || test.status != WS_OK) {
        return;
    }
    status = test.io.ops->write(&test.io, vector, 2, &count);
    test.held_from += count;
    ck_assert(status != WS_OK || test.held_from == test.held_to);
    if (status != WS_OK && status != WS_AGAIN) {
        test.status = status;
    }
}

static void take_over(void)
{
    int fd = -1;
    SSL *ssl = shake_hands(&fd);

    points.counts = true;
    test.is_taken = ws_io_init_tls(&test.io, fd, ssl) == WS_OK;
    points.counts = false;
    if (!test.is_taken) {
        SSL_free(ssl);
        close(fd);
        test.status = WS_ENOMEM;
    }
}

/* Until the server's side has ended, in order or not. */
static void run(void)
{
    int turn;

    test.sent = test.got = test.held_from = test.held_to = 0;
    test.status = WS_OK;
    take_over();
    for (turn = 0; test.status == WS_OK && turn < TURNS; turn++) {
        run_client();
        points.counts = true;
        serve_input();
        serve_output();
        points.counts = false;
    }
    ck_assert_int_lt(turn, TURNS);
    if (test.is_taken) {
        points.counts = true;
        test.io.ops->shutdown(&test.io);
        test.io.ops->close(&test.io);
        points.counts = false;
    }
    SSL_free(test.client);
    close(test.client_fd);
    ERR_clear_error();
}

static void arm(int kind, long n)
{
    points.kind = kind;
    points.fail_at = n;
    points.hit = false;
}

static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

static void begin(int version)
{
    size_t i;

    for (i = 0; i < SIZE; i++) {
        test.said[i] = (uint8_t)(i * 2654435761u >> 11);
    }
    make_contexts(version);
    run();                                  /* what is made once is made */
    ck_assert_int_eq(test.status, WS_EOF);
}

/* --- tests --- */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* It goes on to the end, or is lost; and all of it is gone. */
START_TEST(a_failure_at_any_point_ends_the_session_at_most)
{
    const long step = ws_test_is_slow() ? 11 : 1;
    bool hit = true;
    int lost = 0;
    int descriptors;
    long live;
    long n;

    begin(versions[_i]);
    live = points.live;
    descriptors = count_descriptors();
    for (n = 0; hit; n += step) {
        arm(HARD, n);
        run();
        hit = points.hit;
        arm(HARD, -1);
        ck_assert_mem_eq(test.heard, test.said, test.got);
        ck_assert_msg(hit || test.status == WS_EOF, "status %d", test.status);
        lost += test.status != WS_EOF;
        ck_assert_msg(points.live <= live, "point %ld leaks %ld blocks", n,
                      points.live - live);
        ck_assert_int_eq(count_descriptors(), descriptors);
    }
    printf("io tls: %ld points, of which %d end the session\n", n, lost);
    ck_assert_int_gt(lost, 5);
    free_contexts();
}
END_TEST

START_TEST(what_is_put_off_at_any_point_is_done_later)
{
    const long step = ws_test_is_slow() ? 31 : 1;
    bool hit = true;
    int kind = 1 + _i % (KINDS - 1);
    long n;

    begin(versions[_i / (KINDS - 1)]);
    for (n = 0; hit; n += step) {
        arm(kind, n);
        run();
        hit = points.hit;
        ck_assert_int_eq(test.status, WS_EOF);
        ck_assert_uint_eq(test.got, SIZE);
        ck_assert_mem_eq(test.heard, test.said, SIZE);
    }
    ck_assert_int_gt(n, 20);
    free_contexts();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST_LOOP(a_failure_at_any_point_ends_the_session_at_most, 2),
        WS_TEST_LOOP(what_is_put_off_at_any_point_is_done_later,
                     2 * (KINDS - 1)),
    };

    /* before OpenSSL has taken any memory */
    if (CRYPTO_set_mem_functions(take, take_again, give) != 1) {
        return EXIT_FAILURE;
    }
    return ws_test_run("io tls", tests, WS_TEST_COUNT(tests));
}
