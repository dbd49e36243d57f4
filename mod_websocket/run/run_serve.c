/* A port, and threads that each take a connection from it, do its handshake,
 * and take the next: as many may be slow with their requests at once. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"

#define THREADS 32
#define BACKLOG 511
#define SHORTAGE_TIME 1000           /* ms to wait for descriptors */
#define ACCEPT_LIMIT 5               /* s for the handler's accept to return */

typedef struct {
    run_host_t *host;
    int listener;
    pthread_t threads[THREADS];
    unsigned count;
    atomic_bool is_short;            /* of descriptors, and that was told */
} server_t;

/* --- the port --- */

static int listen_at(const struct addrinfo *at)
{
    const int on = 1;
    int fd = socket(at->ai_family,
                    at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0) {
        return fd;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_port(const run_options_t *options)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *at;
    int error = getaddrinfo(options->address, options->port, &hints, &at);
    int fd;

    if (error != 0) {
        run_error("address %s: %s", options->address, gai_strerror(error));
        return -1;
    }
    fd = listen_at(at);
    if (fd < 0) {
        run_error("cannot listen on %s, port %s: %s", options->address,
                  options->port, strerror(errno));
    }
    freeaddrinfo(at);
    return fd;
}

/* As it is now: the port may have been 0. */
static void say_where(const server_t *server)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    const run_options_t *options = server->host->options;
    const char *host = options->address;
    bool is_v6 = strchr(host, ':') != NULL;
    char port[NI_MAXSERV] = "";

    getsockname(server->listener, (struct sockaddr *)&address, &length);
    getnameinfo((struct sockaddr *)&address, length, NULL, 0, port,
                sizeof(port), NI_NUMERICSERV);
    printf("%s is at ws://%s%s%s:%s%s/; to try it open http://%s%s%s:%s%s/\n",
           server->host->context->handler.name, is_v6 ? "[" : "", host,
           is_v6 ? "]" : "", port, options->location, is_v6 ? "[" : "", host,
           is_v6 ? "]" : "", port, options->location);
}

/* --- connections --- */

/* An address of IPv4 in one of IPv6 is that of IPv4, as httpd writes it. */
static void name_client(char name[NI_MAXHOST],
                        const struct sockaddr_storage *address,
                        socklen_t length)
{
    static const char mapped[] = "::ffff:";
    const size_t skip = sizeof(mapped) - 1;

    if (getnameinfo((const struct sockaddr *)address, length, name, NI_MAXHOST,
                    NULL, 0, NI_NUMERICHOST) != 0) {
        strcpy(name, "unknown");
    }
    if (strncmp(name, mapped, skip) == 0 && strchr(name, '.') != NULL) {
        memmove(name, name + skip, strlen(name + skip) + 1);
    }
}

/* False: the program ends. */
static bool await_connection(const server_t *server)
{
    struct pollfd fds[] = {
        {.fd = server->listener, .events = POLLIN},
        {.fd = server->host->stop.read_fd, .events = POLLIN},
    };

    return poll(fds, 2, -1) >= 0 && fds[1].revents == 0;
}

/* Others may give some back. */
static void await_descriptors(server_t *server, int error)
{
    struct pollfd fd = {.fd = server->host->stop.read_fd, .events = POLLIN};

    if (!atomic_exchange(&server->is_short, true)) {
        ws_logger_printf(&server->host->logger, WS_LOG_WARNING,
                         "no connection can be accepted: %s", strerror(error));
    }
    poll(&fd, 1, SHORTAGE_TIME);
}

static void accept_connection(server_t *server)
{
    const int on = 1;
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char client[NI_MAXHOST];
    int fd = accept4(server->listener, (struct sockaddr *)&address, &length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        atomic_store(&server->is_short, false);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        name_client(client, &address, length);
        run_handshake(server->host, fd, client,
                      &server->host->options->identity);
    }
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
             errno == ENOMEM) {
        await_descriptors(server, errno);
    }
}

static void *take_connections(void *baton)
{
    server_t *server = baton;

    while (await_connection(server)) {
        accept_connection(server);
    }
    return NULL;
}

/* --- the whole --- */

static bool start(server_t *server)
{
    for (; server->count < THREADS; server->count++) {
        int error = pthread_create(&server->threads[server->count], NULL,
                                   take_connections, server);

        if (error != 0) {
            run_error("threads for handshakes: %s", strerror(error));
            return false;
        }
    }
    return true;
}

/* All but a handler's accept ends at once. */
static void join(server_t *server)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ACCEPT_LIMIT;
    while (server->count > 0) {
        if (pthread_timedjoin_np(server->threads[server->count - 1], NULL,
                                 &end) != 0) {
            run_host_give_up("accept");
        }
        server->count--;
    }
}

/* A second signal ends the program at once. */
static void wait_for_signal(const sigset_t *signals)
{
    int number;

    sigwait(signals, &number);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

void run_serve_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

int run_serve(run_host_t *host, const sigset_t *signals)
{
    server_t server = {.host = host, .listener = open_port(host->options)};
    bool is_good = server.listener >= 0 && start(&server);

    if (is_good) {
        say_where(&server);
        wait_for_signal(signals);
    }
    run_host_stop(host);
    join(&server);
    if (server.listener >= 0) {
        close(server.listener);
    }
    return is_good ? RUN_GOOD : RUN_FAILED;
}
