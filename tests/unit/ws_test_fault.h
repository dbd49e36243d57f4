/* ws_test_fault: calls that can fail, on top of ws_test_alloc. The program is
 * linked with --wrap for each of them. Every such call, and every allocation,
 * is a point; ws_test_alloc_fail(n) has the n-th fail hard: no memory, no
 * descriptor, a lost connection. ws_test_soft_at(n) has the n-th call that
 * may be put off be put off: EAGAIN, EINTR, half of the bytes.
 *
 * A thread that is created is not run, but kept for the test to run, so that a
 * whole worker is one thread and each point comes at the same place each time.
 * Threads:  one.
 * Include it in one file of a program. */
#ifndef WS_TEST_FAULT_H
#define WS_TEST_FAULT_H

#include <apr_poll.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <zlib.h>

#include "ws_test_alloc.h"

#define WS_TEST_SOFT_KINDS 3         /* EAGAIN, EINTR, half */

static struct {
    long soft_at;                    /* as ws_test_alloc.fail_at */
    int soft_kind;
    bool soft_hit;
    void *(*thread)(void *);         /* what pthread_create() was given */
    void *baton;
} ws_test_fault = {.soft_at = -1};

/* Is this the point that fails hard? */
static bool ws_test_fails(int error)
{
    if (!ws_test_alloc_fails(0)) {
        return false;
    }
    errno = error;
    return true;
}

/* Is this the point that is put off? */
static bool ws_test_is_soft(void)
{
    if (!ws_test_alloc.counts || ws_test_fault.soft_at < 0) {
        return false;
    }
    if (ws_test_fault.soft_at-- > 0) {
        return false;
    }
    ws_test_fault.soft_hit = true;
    return true;
}

WS_TEST_UNUSED static void ws_test_soft_at(long n, int kind)
{
    ws_test_fault.soft_at = n;
    ws_test_fault.soft_kind = kind;
    ws_test_fault.soft_hit = false;
}

/* What of length bytes this call is to move; -1 with errno: nothing. */
static ssize_t ws_test_share(size_t length)
{
    if (!ws_test_is_soft()) {
        return (ssize_t)length;
    }
    if (ws_test_fault.soft_kind == 2 && length > 1) {
        return (ssize_t)(length / 2);
    }
    errno = ws_test_fault.soft_kind == 1 ? EINTR : EAGAIN;
    return -1;
}

/* --- sockets --- */

ssize_t __real_recv(int fd, void *data, size_t length, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t length, int flags);
ssize_t __real_send(int fd, const void *data, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t length, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how);

ssize_t __wrap_recv(int fd, void *data, size_t length, int flags)
{
    ssize_t share = ws_test_fails(ECONNRESET) ? -1 : ws_test_share(length);

    /* half of the room would be no half of what is there */
    return share < 0 ? -1
                     : __real_recv(fd, data,
                                   (size_t)share < length ? 3 : length, flags);
}

ssize_t __wrap_send(int fd, const void *data, size_t length, int flags)
{
    ssize_t share = ws_test_fails(EPIPE) ? -1 : ws_test_share(length);

    return share < 0 ? -1 : __real_send(fd, data, (size_t)share, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t share = ws_test_fails(EPIPE)
                        ? -1
                        : ws_test_share(message->msg_iov[0].iov_len);

    if (share < 0) {
        return -1;
    }
    return (size_t)share < message->msg_iov[0].iov_len
               ? __real_send(fd, message->msg_iov[0].iov_base, (size_t)share,
                             flags)
               : __real_sendmsg(fd, message, flags);
}

int __wrap_shutdown(int fd, int how)
{
    return ws_test_fails(ENOTCONN) ? -1 : __real_shutdown(fd, how);
}

/* --- polling --- */

apr_status_t __real_apr_pollset_create(apr_pollset_t **pollset,
                                       apr_uint32_t size, apr_pool_t *pool,
                                       apr_uint32_t flags);
apr_status_t __wrap_apr_pollset_create(apr_pollset_t **pollset,
                                       apr_uint32_t size, apr_pool_t *pool,
                                       apr_uint32_t flags);
apr_status_t __real_apr_pollset_add(apr_pollset_t *pollset,
                                    const apr_pollfd_t *pollfd);
apr_status_t __wrap_apr_pollset_add(apr_pollset_t *pollset,
                                    const apr_pollfd_t *pollfd);
apr_status_t __real_apr_pollset_poll(apr_pollset_t *pollset,
                                     apr_interval_time_t wait,
                                     apr_int32_t *pcount,
                                     const apr_pollfd_t **pevents);
apr_status_t __wrap_apr_pollset_poll(apr_pollset_t *pollset,
                                     apr_interval_time_t wait,
                                     apr_int32_t *pcount,
                                     const apr_pollfd_t **pevents);
apr_status_t __real_apr_pool_create_ex(apr_pool_t **pool, apr_pool_t *parent,
                                       apr_abortfunc_t abort_function,
                                       apr_allocator_t *allocator);
apr_status_t __wrap_apr_pool_create_ex(apr_pool_t **pool, apr_pool_t *parent,
                                       apr_abortfunc_t abort_function,
                                       apr_allocator_t *allocator);

apr_status_t __wrap_apr_pollset_create(apr_pollset_t **pollset,
                                       apr_uint32_t size, apr_pool_t *pool,
                                       apr_uint32_t flags)
{
    return ws_test_fails(EMFILE)
               ? APR_FROM_OS_ERROR(EMFILE)
               : __real_apr_pollset_create(pollset, size, pool, flags);
}

apr_status_t __wrap_apr_pollset_add(apr_pollset_t *pollset,
                                    const apr_pollfd_t *pollfd)
{
    return ws_test_fails(ENOMEM) ? APR_ENOMEM
                                 : __real_apr_pollset_add(pollset, pollfd);
}

apr_status_t __wrap_apr_pollset_poll(apr_pollset_t *pollset,
                                     apr_interval_time_t wait,
                                     apr_int32_t *pcount,
                                     const apr_pollfd_t **pevents)
{
    return ws_test_is_soft()
               ? APR_FROM_OS_ERROR(EINTR)
               : __real_apr_pollset_poll(pollset, wait, pcount, pevents);
}

apr_status_t __wrap_apr_pool_create_ex(apr_pool_t **pool, apr_pool_t *parent,
                                       apr_abortfunc_t abort_function,
                                       apr_allocator_t *allocator)
{
    return ws_test_fails(ENOMEM) ? APR_ENOMEM
                                 : __real_apr_pool_create_ex(
                                       pool, parent, abort_function, allocator);
}

/* --- what a process is made of --- */

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __real_pipe(int fds[2]);
int __wrap_pipe(int fds[2]);
void *__real_mmap(void *address, size_t length, int protection, int flags,
                  int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags,
                  int fd, off_t offset);
int __real_RAND_bytes(unsigned char *bytes, int count);
int __wrap_RAND_bytes(unsigned char *bytes, int count);
int __real_pthread_mutexattr_init(pthread_mutexattr_t *attributes);
int __wrap_pthread_mutexattr_init(pthread_mutexattr_t *attributes);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *baton);
int __wrap_pthread_join(pthread_t thread, void **presult);

int __wrap_eventfd(unsigned value, int flags)
{
    return ws_test_fails(EMFILE) ? -1 : __real_eventfd(value, flags);
}

int __wrap_pipe(int fds[2])
{
    return ws_test_fails(EMFILE) ? -1 : __real_pipe(fds);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags,
                  int fd, off_t offset)
{
    return ws_test_fails(ENOMEM)
               ? MAP_FAILED
               : __real_mmap(address, length, protection, flags, fd, offset);
}

int __wrap_RAND_bytes(unsigned char *bytes, int count)
{
    return ws_test_fails(EIO) ? 0 : __real_RAND_bytes(bytes, count);
}

int __wrap_pthread_mutexattr_init(pthread_mutexattr_t *attributes)
{
    return ws_test_fails(ENOMEM) ? ENOMEM
                                 : __real_pthread_mutexattr_init(attributes);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *baton)
{
    (void)attributes;
    if (ws_test_fails(EAGAIN)) {
        return EAGAIN;
    }
    *thread = pthread_self();
    ws_test_fault.thread = run;
    ws_test_fault.baton = baton;
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **presult)
{
    (void)thread;
    (void)presult;
    return 0;
}

/* --- zlib: its own allocations --- */

int __real_inflateInit2_(z_streamp stream, int bits, const char *version,
                         int size);
int __wrap_inflateInit2_(z_streamp stream, int bits, const char *version,
                         int size);
int __real_deflateInit2_(z_streamp stream, int level, int method, int bits,
                         int memory, int strategy, const char *version,
                         int size);
int __wrap_deflateInit2_(z_streamp stream, int level, int method, int bits,
                         int memory, int strategy, const char *version,
                         int size);

int __wrap_inflateInit2_(z_streamp stream, int bits, const char *version,
                         int size)
{
    return ws_test_fails(ENOMEM)
               ? Z_MEM_ERROR
               : __real_inflateInit2_(stream, bits, version, size);
}

int __wrap_deflateInit2_(z_streamp stream, int level, int method, int bits,
                         int memory, int strategy, const char *version,
                         int size)
{
    return ws_test_fails(ENOMEM)
               ? Z_MEM_ERROR
               : __real_deflateInit2_(stream, level, method, bits, memory,
                                      strategy, version, size);
}

#endif
