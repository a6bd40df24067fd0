/* Keys and certificates of each kind, `rpd: keys` as a process, and handshakes with it: for tests
 * of the way to that process. */
#ifndef RPD_UNIT_KEYS_FIXTURE_H
#define RPD_UNIT_KEYS_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include "t/unit/unit.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/core/ipc.h"
#include "common/core/role.h"
#include "common/tls/keyring.h"
#include "common/tls/keys_message.h"
#include "worker/io/keys.h"

enum { KIND_RSA, KIND_EC, KIND_ED25519, KIND_OTHER, KINDS };
#define RING_ALL 7u /* bits of the keys in it: all but the other */
#define RING_OTHER 8u

static struct keyring_key keys_made[KINDS];
static X509 *certs[KINDS];

static inline X509 *certify(EVP_PKEY *key)
{
    bool is_ed25519 = EVP_PKEY_is_a(key, "ED25519");
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -10);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"a.test", -1, -1,
                               0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key);
    ck_assert_int_gt(X509_sign(x, key, is_ed25519 ? NULL : EVP_sha256()), 0);
    return x;
}

static inline void make_keys(void)
{
    keys_made[KIND_RSA].key = EVP_RSA_gen(2048);
    keys_made[KIND_EC].key = EVP_EC_gen("P-256");
    keys_made[KIND_ED25519].key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    keys_made[KIND_OTHER].key = EVP_EC_gen("P-384");
    for (int i = 0; i < KINDS; i++) {
        ck_assert_ptr_nonnull(keys_made[i].key);
        certs[i] = certify(keys_made[i].key);
        tls_key_id(certs[i], keys_made[i].id);
    }
}

static inline void free_keys(void)
{
    for (int i = 0; i < KINDS; i++) {
        EVP_PKEY_free(keys_made[i].key);
        X509_free(certs[i]);
    }
}

/* A keyring with the keys whose bits are set. */
static inline int make_ring(unsigned which)
{
    struct keyring_key some[KINDS];
    size_t n = 0;
    int fd;

    for (int i = 0; i < KINDS; i++)
        if (which & 1u << i)
            some[n++] = keys_made[i];
    fd = keyring_write(some, n);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* ---- the process, its master's end ---- */

struct process {
    pid_t pid;
    int channel;
};

static inline void process_start(struct process *p)
{
    struct keys_args args = { .user = NULL };
    int pair[2], status;

    ck_assert_int_eq(ipc_pair(pair), 0);
    p->pid = fork();
    ck_assert_int_ge(p->pid, 0);
    if (p->pid == 0) {
        args.channel = pair[1];
        fd_close_from(3, &args.channel, 1);
        status = keys_main(&args);
        mem_check_leaks();
        _exit(status);
    }
    fd_close(&pair[1]);
    p->channel = pair[0];
}

/* The next thing it says: type and number. */
static inline void process_says(const struct process *p, enum ipc_type type, uint64_t number)
{
    struct ipc_msg msg;
    int r;

    while ((r = ipc_recv(p->channel, &msg)) < 0 && errno == EAGAIN)
        (void)usleep(1000);
    ck_assert_int_eq(r, 1);
    ck_assert_msg(msg.type == type, "%u: %.*s", msg.type, (int)msg.size, msg.data);
    ck_assert_uint_eq(msg.number, number);
}

static inline void process_tell(const struct process *p, enum ipc_type type, uint64_t number,
                                int fd, int ring)
{
    struct ipc_msg msg = { .type = type, .number = number };

    if (fd >= 0)
        msg.fds[msg.nfds++] = fd;
    if (ring >= 0)
        msg.fds[msg.nfds++] = ring;
    ck_assert_int_eq(ipc_send(p->channel, &msg), 0);
}

/* A channel to it, a worker's end, with keys that may be used. */
static inline int process_connect(const struct process *p, uint64_t number, unsigned which)
{
    int ring = make_ring(which), pair[2];

    ck_assert_int_eq(ipc_pair(pair), 0);
    process_tell(p, IPC_KEYS, number, pair[1], ring);
    fd_close(&pair[1]);
    fd_close(&ring);
    process_says(p, IPC_READY, number);
    return pair[0];
}

/* Its exit status. */
static inline int process_end(struct process *p)
{
    int status;

    ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
    fd_close(&p->channel);
    ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static inline void process_stop(struct process *p)
{
    process_tell(p, IPC_STOP, 0, -1, -1);
    ck_assert_int_eq(process_end(p), 0);
}

/* Until SIGCONT. */
static inline void process_halt(const struct process *p)
{
    int status;

    (void)kill(p->pid, SIGSTOP);
    ck_assert_int_eq(waitpid(p->pid, &status, WUNTRACED), p->pid);
    ck_assert(WIFSTOPPED(status));
}

static inline void process_kill(struct process *p)
{
    int status;

    (void)kill(p->pid, SIGKILL);
    ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
    fd_close(&p->channel);
}

/* ---- a worker ---- */

static struct loop loop;
static struct stats_worker stats;
static struct keys *keys;

static inline void worker_start(void)
{
    memset(&stats, 0, sizeof stats);
    ck_assert_int_eq(loop_init(&loop), 0);
    keys = keys_new(&loop, &stats);
    ck_assert_ptr_nonnull(keys);
}

static inline void worker_end(void)
{
    keys_free(&keys);
    loop_fini(&loop);
}

/* A handshake of a client, which is not ours, with a server whose key is elsewhere. */
struct shake {
    struct key_wait wait;
    SSL *server, *client;
    int server_r, client_r; /* 1: done */
    bool has_failed;
    unsigned waits, wakes;
    unsigned place; /* among those that were woken */
};

static unsigned all_wakes;

static inline void on_wake(struct key_wait *w)
{
    struct shake *s = CONTAINER(w, struct shake, wait);

    s->wakes++;
    s->place = ++all_wakes;
}

static inline SSL_CTX *server_context(int kind, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char why[128];
    EVP_PKEY *key = keys_key(keys, certs[kind], keys_made[kind].id, why, sizeof why);

    ck_assert_ptr_nonnull(key);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    ck_assert_int_eq(SSL_CTX_use_certificate(ctx, certs[kind]), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
    ck_assert_int_eq(SSL_CTX_check_private_key(ctx), 1);
    EVP_PKEY_free(key);
    return ctx;
}

static inline void shake_init(struct shake *s, int kind, int version)
{
    SSL_CTX *server = server_context(kind, version), *client = SSL_CTX_new(TLS_client_method());
    BIO *a, *b;

    *s = (struct shake){ .wait = { .wake = on_wake } };
    s->server = SSL_new(server);
    s->client = SSL_new(client);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    ck_assert_int_eq(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
    SSL_set_bio(s->server, a, a);
    SSL_set_bio(s->client, b, b);
    SSL_set_accept_state(s->server);
    SSL_set_connect_state(s->client);
}

/* As far as it goes without an answer. */
static inline void shake_go(struct shake *s)
{
    for (int i = 0; i < 10 && !s->has_failed; i++) {
        ERR_clear_error();
        if (s->client_r != 1)
            s->client_r = SSL_do_handshake(s->client);
        if (s->server_r == 1)
            continue;
        ERR_clear_error();
        s->server_r = keys_handshake(keys, &s->wait, s->server);
        if (s->server_r == KEYS_WAITS) {
            s->waits++;
            return;
        }
        if (s->server_r <= 0 && s->server_r != KEYS_CROWDED
            && SSL_get_error(s->server, s->server_r) == SSL_ERROR_SSL)
            s->has_failed = true;
    }
}

static inline bool shake_is_done(const struct shake *s)
{
    return s->server_r == 1 && s->client_r == 1;
}

/* Until it is woken so often, for the next time. */
static inline void shake_wait(const struct shake *s, unsigned wakes)
{
    while (s->wakes < wakes)
        ck_assert_int_eq(loop_once(&loop, 5000), 0);
}

static inline void shake_fini(struct shake *s)
{
    if (s->wait.job) {
        if (s->wait.op)
            s->wait.cancel(&s->wait);
        ERR_clear_error();
        ck_assert_int_le(keys_handshake(keys, &s->wait, s->server), 0);
    }
    ck_assert_ptr_null(s->wait.job);
    SSL_free(s->server);
    SSL_free(s->client);
}

#endif
