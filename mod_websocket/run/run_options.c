/* The command line. */
#include <apr_strings.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "ws_value.h"

#define DEFAULT_PORT "9000"
#define DEFAULT_ADDRESS "127.0.0.1"
#define DEFAULT_TIMEOUT 5000
#define DEFAULT_MAX_MESSAGE (1024 * 1024)
#define PORT_MAX 65535

enum {
    A_WORD = 1,                      /* no option: getopt_long() says so */
    ADDRESS = 256,
    ENV,
    HELP,
    LOG_LEVEL,
    MAX_MESSAGE,
    ORIGIN,
    PATH,
    PORT,
    SCRIPT,
    THREADS,
    TIMEOUT,
    USER,
    VERSION
};

static const struct option long_options[] = {
    {"address", required_argument, NULL, ADDRESS},
    {"env", required_argument, NULL, ENV},
    {"help", optional_argument, NULL, HELP},
    {"log-level", required_argument, NULL, LOG_LEVEL},
    {"max-message", required_argument, NULL, MAX_MESSAGE},
    {"origin", required_argument, NULL, ORIGIN},
    {"path", required_argument, NULL, PATH},
    {"port", required_argument, NULL, PORT},
    {"script", required_argument, NULL, SCRIPT},
    {"threads", required_argument, NULL, THREADS},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"user", required_argument, NULL, USER},
    {"version", no_argument, NULL, VERSION},
    {NULL, 0, NULL, 0},
};

static const char usage[] =
    "Usage: websocket-run HANDLER [NAME=VALUE ...] [OPTION ...]\n"
    "Runs a handler of mod_websocket without httpd: serves it on a port, or\n"
    "plays a script of clients and prints what it answered.\n"
    "\n"
    "HANDLER is a file, if it has a slash or ends in .so, else the name of an\n"
    "installed handler. NAME=VALUE is an option of the handler's own;\n"
    "--help HANDLER lists them.\n"
    "\n"
    "  --port N             serve on this port (9000); 0: on any free one\n"
    "  --address ADDRESS    and on this address (127.0.0.1)\n"
    "  --origin any         let pages of all sites connect, not only our own\n"
    "  --script FILE        play this script instead (-: standard input)\n"
    "  --timeout TIME       what a script waits for comes within it (5s)\n"
    "  --path PREFIX        the location: what lies behind it is the handler's\n"
    "                       path (/)\n"
    "  --user NAME          who all clients are said to be\n"
    "  --env NAME=VALUE     a variable of the environment of requests; more\n"
    "                       with more of it\n"
    "  --max-message SIZE   the longest message from a client (1M)\n"
    "  --threads N          of connections (1)\n"
    "  --log-level LEVEL    error, warning, notice, info or debug (info)\n"
    "  --help [HANDLER]     this, or the handler's options\n"
    "  --version\n"
    "\n"
    "Exit status: 0 all was well; 1 an expectation of the script was not met,\n"
    "or the handler cannot run; 2 the command line or the script is wrong.\n";

typedef struct {
    run_options_t *options;
    apr_array_header_t *settings;
    apr_table_t *env;
    const char *serves_by;           /* an option that is for serving; NULL */
    const char *plays_by;            /* one that is for scripts */
    bool wants_help;
    bool wants_version;
    apr_pool_t *pool;
} command_line_t;

/* --- values: each returns NULL, or what the value is --- */

static const char *set_port(run_options_t *options, const char *value)
{
    int64_t port;

    options->port = value;
    return ws_value_integer(&port, value) && port >= 0 && port <= PORT_MAX
               ? NULL
               : "no number from 0 to 65535";
}

static const char *set_threads(run_options_t *options, const char *value)
{
    int64_t threads;

    if (!ws_value_integer(&threads, value) || threads < 1 ||
        threads > RUN_THREADS_MAX) {
        return "no number from 1 to 64";
    }
    options->threads = (unsigned)threads;
    return NULL;
}

static const char *set_max_message(run_options_t *options, const char *value)
{
    int64_t size;

    if (!ws_value_size(&size, value) || size < 1 || size > INT32_MAX) {
        return "no size, as in 100, 64K, 1M";
    }
    options->max_message = (size_t)size;
    return NULL;
}

static const char *set_timeout(run_options_t *options, const char *value)
{
    return ws_value_duration(&options->timeout, value) &&
                   options->timeout > 0
               ? NULL
               : "no time, as in 30, 500ms, 2min";
}

static const char *set_origin(run_options_t *options, const char *value)
{
    options->any_origin = strcmp(value, "any") == 0;
    return options->any_origin || strcmp(value, "same") == 0
               ? NULL
               : "neither same nor any";
}

static const char *set_location(command_line_t *line, const char *value)
{
    char *location = apr_pstrdup(line->pool, value);
    size_t length = strlen(location);

    while (length > 0 && location[length - 1] == '/') {
        location[--length] = '\0';
    }
    line->options->location = location;
    return *value == '/' ? NULL : "no path: it does not begin with a slash";
}

static const char *add_env(command_line_t *line, const char *value)
{
    const char *end = strchr(value, '=');

    if (end == NULL || end == value) {
        return "not NAME=VALUE";
    }
    apr_table_set(line->env,
                  apr_pstrmemdup(line->pool, value, (size_t)(end - value)),
                  end + 1);
    return NULL;
}

static const char *set_value(command_line_t *line, int option,
                             const char *value)
{
    run_options_t *options = line->options;

    switch (option) {
    case ENV:
        return add_env(line, value);
    case LOG_LEVEL:
        return run_log_level(&options->log_level, value)
                   ? NULL
                   : "none of error, warning, notice, info, debug";
    case MAX_MESSAGE:
        return set_max_message(options, value);
    case ORIGIN:
        return set_origin(options, value);
    case PATH:
        return set_location(line, value);
    case PORT:
        return set_port(options, value);
    case THREADS:
        return set_threads(options, value);
    case TIMEOUT:
        return set_timeout(options, value);
    default:
        return NULL;
    }
}

/* --- what there is on the line --- */

static const char *name_of(int option)
{
    const struct option *at = long_options;

    while (at->name != NULL && at->val != option) {
        at++;
    }
    return at->name;
}

/* What needs no check. */
static void set_text(command_line_t *line, int option, const char *value)
{
    switch (option) {
    case ADDRESS:
        line->options->address = value;
        break;
    case SCRIPT:
        line->options->script = value;
        break;
    case USER:
        line->options->identity.user = value;
        break;
    default:
        break;
    }
}

static void note_purpose(command_line_t *line, int option)
{
    if (option == ADDRESS || option == PORT || option == ORIGIN) {
        line->serves_by = name_of(option);
    }
    if (option == TIMEOUT) {
        line->plays_by = name_of(option);
    }
}

static bool read_option(command_line_t *line, int option, const char *value)
{
    const char *wrong;

    if (option == HELP) {
        line->wants_help = true;
        line->options->handler =
            value != NULL ? value : line->options->handler;
        return true;
    }
    if (option == VERSION) {
        line->wants_version = true;
        return true;
    }
    note_purpose(line, option);
    set_text(line, option, value);
    wrong = set_value(line, option, value);
    if (wrong != NULL) {
        run_error("--%s: \"%s\" is %s", name_of(option), value, wrong);
    }
    return wrong == NULL;
}

static bool read_word(command_line_t *line, const char *word)
{
    if (line->options->handler == NULL) {
        line->options->handler = word;
        return true;
    }
    if (strchr(word, '=') == NULL || *word == '=') {
        run_error("\"%s\" is not NAME=VALUE, an option of the handler %s",
                  word, line->options->handler);
        return false;
    }
    APR_ARRAY_PUSH(line->settings, const char *) = word;
    return true;
}

/* "-": words come in their order, wherever they stand. What getopt_long()
 * passes by, behind a "--", are words, too. */
static bool read_line(command_line_t *line, int argc, char **argv)
{
    bool is_good = true;
    int option;

    while (is_good &&
           (option = getopt_long(argc, argv, "-", long_options, NULL)) != -1) {
        if (option == A_WORD) {
            is_good = read_word(line, optarg);
        }
        else {
            is_good = option != '?' && read_option(line, option, optarg);
        }
    }
    while (is_good && optind < argc) {
        is_good = read_word(line, argv[optind++]);
    }
    return is_good;
}

static bool check_line(const command_line_t *line)
{
    const run_options_t *options = line->options;

    if (options->handler == NULL) {
        run_error("which handler?");
        return false;
    }
    if (options->script != NULL && line->serves_by != NULL) {
        run_error("--script serves no port: there is nothing for --%s to do",
                  line->serves_by);
        return false;
    }
    if (options->script == NULL && line->plays_by != NULL) {
        run_error("--%s is for a --script", line->plays_by);
        return false;
    }
    return true;
}

static int help(const command_line_t *line)
{
    if (line->options->handler != NULL) {
        return run_handler_help(line->options->handler, line->pool);
    }
    fputs(usage, stdout);
    return RUN_GOOD;
}

static int version(void)
{
    printf("websocket-run of mod_websocket %s, handler ABI %u\n", WS_VERSION,
           (unsigned)WEBSOCKET_ABI);
    return RUN_GOOD;
}

static int wrong_usage(void)
{
    fputs("Try websocket-run --help.\n", stderr);
    return RUN_USAGE;
}

bool run_options_parse(run_options_t *options, int *pstatus, int argc,
                       char **argv, apr_pool_t *pool)
{
    command_line_t line = {.options = options,
                           .settings =
                               apr_array_make(pool, 4, sizeof(const char *)),
                           .env = apr_table_make(pool, 4),
                           .pool = pool};

    *options = (run_options_t){.settings = line.settings,
                               .address = DEFAULT_ADDRESS,
                               .port = DEFAULT_PORT,
                               .location = "",
                               .identity = {.env = line.env},
                               .threads = 1,
                               .max_message = DEFAULT_MAX_MESSAGE,
                               .timeout = DEFAULT_TIMEOUT,
                               .log_level = WS_LOG_INFO};
    if (!read_line(&line, argc, argv)) {
        *pstatus = wrong_usage();
    }
    else if (line.wants_help) {
        *pstatus = help(&line);
    }
    else if (line.wants_version) {
        *pstatus = version();
    }
    else if (!check_line(&line)) {
        *pstatus = wrong_usage();
    }
    else {
        return true;
    }
    return false;
}
