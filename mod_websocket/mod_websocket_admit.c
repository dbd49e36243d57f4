/* Whether there is room for one more WebSocket: seats, which all processes have
 * together, and descriptors, which each process has. */
#include "mod_websocket_internal.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <http_core.h>
#include <http_main.h>
#include <limits.h>
#include <sys/resource.h>

APLOG_USE_MODULE(websocket);

/* Descriptors that are left to httpd: a worker may have a connection, a file
 * and a backend. */
#define RESERVE_MIN 32
#define RESERVE_PER_THREAD 3

/* This process's. Each is told once. */
static struct {
    int descriptor_limit;            /* the first that is httpd's own */
    _Atomic bool is_full_told;
    _Atomic bool is_limit_told;
} process;

/* A WebSocket holds a descriptor and no worker, so httpd does not limit them.
 * It must keep enough for itself: a child that cannot accept ends, and when
 * they all do, so does the server. */
static int find_descriptor_limit(void)
{
    struct rlimit limit;
    int threads = 0;
    rlim_t reserve;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > INT_MAX) {
        return INT_MAX;
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    reserve = RESERVE_MIN +
              RESERVE_PER_THREAD * (rlim_t)(threads > 0 ? threads : 1);
    reserve = reserve < limit.rlim_cur / 2 ? reserve : limit.rlim_cur / 2;
    return (int)(limit.rlim_cur - reserve);
}

void mod_websocket_admit_child_init(void)
{
    ws_seats_sweep(mod_websocket_seats());  /* of a child that crashed */
    process.descriptor_limit = find_descriptor_limit();
}

ws_status_t mod_websocket_take_seat(uint32_t *pseat, request_rec *r)
{
    const apr_sockaddr_t *address = r->useragent_addr;
    const ws_seats_limits_t limits = {
        .all = (uint32_t)mod_websocket_global.max_connections,
        .per_client = (uint32_t)mod_websocket_global.max_per_client,
    };
    ws_seats_t *seats = mod_websocket_seats();
    ws_status_t status = ws_seats_take(
        seats,
        ws_seats_client(address->ipaddr_ptr, (size_t)address->ipaddr_len),
        &limits, pseat);

    if (status == WS_ETOOBIG &&
        !atomic_exchange(&process.is_limit_told, true)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "new WebSockets are refused while there are %u; see "
                     "WebSocketMaxConnections",
                     ws_seats_taken(seats));
    }
    return status;
}

bool mod_websocket_is_full_at(int fd)
{
    /* the kernel gives the lowest that is free: its number says how many are
     * in use */
    if (fd < process.descriptor_limit) {
        return false;
    }
    if (!atomic_exchange(&process.is_full_told, true)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "new WebSockets are refused while this child has %d "
                     "descriptors in use; see ulimit -n",
                     process.descriptor_limit);
    }
    return true;
}

bool mod_websocket_is_full(conn_rec *c)
{
    int fd;

    return apr_os_sock_get(&fd, ap_get_conn_socket(c)) == APR_SUCCESS &&
           mod_websocket_is_full_at(fd);
}
