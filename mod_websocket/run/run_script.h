/* run_script: a script, line by line: run_script.c reads it, run_play.c does
 * what clients do, run_expect.c compares that to what the handler is to do.
 *
 * Threads:  one. */
#ifndef RUN_SCRIPT_H
#define RUN_SCRIPT_H

#include "run_stage.h"

typedef struct {
    run_host_t *host;
    run_stage_t stage;
    const char *name;                /* of the file */
    unsigned line;
    const char *headers;             /* of the next request, as lines */
    const run_identity_t *identity;  /* of the next client */
    apr_pool_t *pool;
} script_t;

/* What a line says. */
typedef struct {
    script_t *script;
    const char *name;                /* of the client; "": it has none */
    run_client_t *client;            /* NULL: there is none (yet) */
    char *rest;                      /* of the line */
    apr_pool_t *pool;                /* the line's */
} command_t;

/* The script is wrong, or the handler did not do what it says: prints it, with
 * the line. Return the exit status. */
int run_script_wrong(const command_t *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int run_script_failed(const command_t *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Cuts the next word off; "" where there is none. One blank behind it goes with
 * it: a text may begin with the next. */
char *run_script_word(command_t *command);

/* Cuts "NAME: VALUE" in two, and returns VALUE. NULL: it is none. */
const char *run_script_cut_header(char *text);

/* Is there a client, and its connection open? RUN_GOOD, or the exit status. */
int run_script_check_open(const command_t *command);

/* What lines do; each returns RUN_GOOD, or the exit status. */
int run_play_close(command_t *command);
int run_play_drop(command_t *command);
int run_play_env(command_t *command);
int run_play_fragment(command_t *command);
int run_play_header(command_t *command);
int run_play_open(command_t *command);
int run_play_send(command_t *command);
int run_play_user(command_t *command);
int run_play_wait(command_t *command);
int run_expect(command_t *command);

/* Whoever is there says good-bye, in the order of the opens. */
int run_play_end(script_t *script);

#endif
