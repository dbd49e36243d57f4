/* websocket-run: see run.h, and websocket-run(1). */
#include <apr_general.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "run.h"

static int run_host(run_options_t *options, apr_pool_t *pool)
{
    run_host_t host = {.logger = run_logger(&options->log_level)};
    int status = RUN_FAILED;
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);               /* as httpd does */
    if (options->script == NULL) {
        run_serve_signals(&signals);
    }
    if (run_host_begin(&host, options, pool)) {
        status = options->script == NULL ? run_serve(&host, &signals)
                                         : run_script(&host);
    }
    run_host_end(&host);
    return status;
}

/* What was printed is worth nothing if it went nowhere. */
static int end_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return status;
    }
    run_error("standard output: %s", strerror(errno));
    return status == RUN_GOOD ? RUN_FAILED : status;
}

int main(int argc, char **argv)
{
    run_options_t options;
    apr_pool_t *pool;
    int status;

    setvbuf(stdout, NULL, _IOLBF, 0);       /* log lines come in between */
    if (apr_initialize() != APR_SUCCESS ||
        apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        run_error("%s", strerror(ENOMEM));
        return RUN_FAILED;
    }
    if (run_options_parse(&options, &status, argc, argv, pool)) {
        status = run_host(&options, pool);
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return end_output(status);
}
