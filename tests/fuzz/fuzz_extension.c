/* Sec-WebSocket-Extensions against a tokenizer and a reading of RFC 7692 7.1
 * of their own: which headers are refused, which offer is taken, and whether
 * the answer is one that the client of that offer may get.
 *
 * Input: a byte for the window that this side wants, one that says whether
 * contexts may be kept, then the header. */
#include "fuzz.h"
#include "ws_extension.h"

/* --- tokens --- */

typedef enum { END, WORD, QUOTED, SIGN, BAD } kind_t;

typedef struct {
    const char *at;                  /* in the header */
    kind_t kind;
    char sign;                       /* of a SIGN: one of ,;= */
    fuzz_bytes_t text;               /* of a WORD or QUOTED, unquoted */
} scanner_t;

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* RFC 9110 5.6.4; what is in it must be a token (RFC 6455 9.1). */
static kind_t scan_quoted(scanner_t *scanner)
{
    for (scanner->at++; *scanner->at != '"'; scanner->at++) {
        if (*scanner->at == '\\') {
            scanner->at++;
        }
        if (!is_token_char(*scanner->at)) {
            return BAD;
        }
        fuzz_add(&scanner->text, scanner->at, 1);
    }
    scanner->at++;
    return scanner->text.length > 0 ? QUOTED : BAD;
}

static void scan(scanner_t *scanner)
{
    char c;

    while (*scanner->at == ' ' || *scanner->at == '\t') {
        scanner->at++;
    }
    scanner->text.length = 0;
    c = *scanner->at;
    if (c == '\0') {
        scanner->kind = END;
    }
    else if (c == ',' || c == ';' || c == '=') {
        scanner->kind = SIGN;
        scanner->sign = c;
        scanner->at++;
    }
    else if (c == '"') {
        scanner->kind = scan_quoted(scanner);
    }
    else if (is_token_char(c)) {
        scanner->kind = WORD;
        while (is_token_char(*scanner->at)) {
            fuzz_add(&scanner->text, scanner->at++, 1);
        }
    }
    else {
        scanner->kind = BAD;
    }
}

static bool is_sign(const scanner_t *scanner, char sign)
{
    return scanner->kind == SIGN && scanner->sign == sign;
}

/* --- extensions --- */

typedef struct {
    char *name;
    char *value;                     /* NULL: none */
} param_t;

typedef struct {
    char *name;
    param_t *params;
    size_t count;
} extension_t;

static char *text_of(const scanner_t *scanner)
{
    char *text = fuzz_alloc(scanner->text.length + 1);

    memcpy(text, scanner->text.data, scanner->text.length);
    text[scanner->text.length] = '\0';
    return text;
}

static void clear(extension_t *extension)
{
    size_t i;

    for (i = 0; i < extension->count; i++) {
        free(extension->params[i].name);
        free(extension->params[i].value);
    }
    free(extension->params);
    free(extension->name);
    memset(extension, 0, sizeof(*extension));
}

static param_t *new_param(extension_t *extension)
{
    size_t count = ++extension->count;

    extension->params =
        realloc(extension->params, count * sizeof(*extension->params));
    FUZZ_CHECK(extension->params != NULL);
    memset(&extension->params[count - 1], 0, sizeof(*extension->params));
    return &extension->params[count - 1];
}

static bool scan_param(scanner_t *scanner, param_t *param)
{
    if (scanner->kind != WORD) {
        return false;
    }
    param->name = text_of(scanner);
    scan(scanner);
    if (!is_sign(scanner, '=')) {
        return true;
    }
    scan(scanner);
    if (scanner->kind != WORD && scanner->kind != QUOTED) {
        return false;
    }
    param->value = text_of(scanner);
    scan(scanner);
    return true;
}

/* Stops at a comma or the end; false: the header is wrong. */
static bool scan_extension(scanner_t *scanner, extension_t *extension)
{
    if (scanner->kind != WORD) {
        return false;
    }
    extension->name = text_of(scanner);
    scan(scanner);
    while (is_sign(scanner, ';')) {
        scan(scanner);
        if (!scan_param(scanner, new_param(extension))) {
            return false;
        }
    }
    return scanner->kind == END || is_sign(scanner, ',');
}

/* --- permessage-deflate --- */

/* What an offer, or an answer, says. */
typedef struct {
    bool is_good;
    bool has_server_bits;
    bool has_client_bits;
    unsigned server_bits;            /* 15 where it does not say */
    unsigned client_bits;
    bool server_no_takeover;
    bool client_no_takeover;
} terms_t;

static unsigned bits_of(const char *value)
{
    static const char *const known[] = {"8",  "9",  "10", "11",
                                        "12", "13", "14", "15"};
    unsigned i;

    for (i = 0; i < 8; i++) {
        if (value != NULL && strcmp(value, known[i]) == 0) {
            return i + 8;
        }
    }
    return 0;
}

static bool add_flag(bool *flag, const param_t *param)
{
    bool is_first = !*flag;

    *flag = true;
    return is_first && param->value == NULL;
}

static bool add_bits(bool *has, unsigned *bits, const param_t *param,
                     bool may_be_empty)
{
    bool is_first = !*has;

    *has = true;
    *bits = param->value == NULL && may_be_empty ? 15 : bits_of(param->value);
    return is_first && *bits != 0;
}

static bool add_param(terms_t *terms, const param_t *param, bool is_offer)
{
    if (strcmp(param->name, "server_no_context_takeover") == 0) {
        return add_flag(&terms->server_no_takeover, param);
    }
    if (strcmp(param->name, "client_no_context_takeover") == 0) {
        return add_flag(&terms->client_no_takeover, param);
    }
    if (strcmp(param->name, "server_max_window_bits") == 0) {
        return add_bits(&terms->has_server_bits, &terms->server_bits, param,
                        false);
    }
    if (strcmp(param->name, "client_max_window_bits") == 0) {
        return add_bits(&terms->has_client_bits, &terms->client_bits, param,
                        is_offer);
    }
    return false;
}

static terms_t terms_of(const extension_t *extension, bool is_offer)
{
    terms_t terms = {.server_bits = 15, .client_bits = 15};
    size_t i;

    terms.is_good = strcmp(extension->name, "permessage-deflate") == 0;
    for (i = 0; i < extension->count; i++) {
        terms.is_good = add_param(&terms, &extension->params[i], is_offer) &&
                        terms.is_good;
    }
    return terms;
}

/* The first good offer, or one that is not good. false: a wrong header. */
static bool reference_negotiate(terms_t *terms, const char *header)
{
    scanner_t scanner = {.at = header};
    extension_t extension = {0};
    bool follows = true;

    memset(terms, 0, sizeof(*terms));
    scan(&scanner);
    while (follows && scanner.kind != END) {
        if (is_sign(&scanner, ',')) {
            scan(&scanner);
            continue;
        }
        follows = scan_extension(&scanner, &extension);
        if (follows && !terms->is_good) {
            *terms = terms_of(&extension, true);
        }
        clear(&extension);
    }
    fuzz_free(&scanner.text);
    return follows;
}

/* --- the answer --- */

static terms_t parse_answer(const char *answer)
{
    scanner_t scanner = {.at = answer};
    extension_t extension = {0};
    terms_t terms;

    scan(&scanner);
    FUZZ_CHECK(scan_extension(&scanner, &extension));
    FUZZ_CHECK(scanner.kind == END);
    terms = terms_of(&extension, false);
    FUZZ_CHECK(terms.is_good);
    clear(&extension);
    fuzz_free(&scanner.text);
    return terms;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void check_agreed(const ws_deflate_params_t *params, const char *answer,
                         const terms_t *offer,
                         const ws_deflate_policy_t *policy)
{
    terms_t terms = parse_answer(answer);

    /* what is told is what is done */
    FUZZ_CHECK(terms.server_bits == params->server_bits);
    FUZZ_CHECK(terms.client_bits == params->client_bits);
    FUZZ_CHECK(terms.server_no_takeover == !params->server_takeover);
    FUZZ_CHECK(terms.client_no_takeover == !params->client_takeover);
    /* and what was asked for: 7.1.1.1, 7.1.1.2, 7.1.2.1 */
    FUZZ_CHECK(params->server_takeover ==
               (policy->server_takeover && !offer->server_no_takeover));
    FUZZ_CHECK(params->client_takeover ==
               (policy->client_takeover && !offer->client_no_takeover));
    FUZZ_CHECK(params->server_bits ==
               smaller(offer->server_bits, policy->window_bits));
    FUZZ_CHECK(terms.has_server_bits || !offer->has_server_bits);
    /* 7.1.2.2: only who offers it can be told */
    FUZZ_CHECK(offer->has_client_bits || !terms.has_client_bits);
    FUZZ_CHECK(params->client_bits ==
               (offer->has_client_bits
                    ? smaller(offer->client_bits, policy->window_bits)
                    : 15));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    unsigned window = 9 + fuzz_byte(&input) % 7;
    unsigned takeover = fuzz_byte(&input);
    ws_deflate_policy_t policy = {
        .window_bits = (uint8_t)window,
        .server_takeover = (takeover & 3) == 1,
        .client_takeover = (takeover & 1) != 0,
    };
    ws_deflate_params_t params = {.server_bits = 99};
    char *answer = fuzz_alloc(WS_EXTENSION_ANSWER_SIZE);
    size_t length = strnlen((const char *)input.data, input.left);
    char *header = fuzz_alloc(length + 1);
    const char *why = NULL;
    terms_t offer;
    ws_status_t status;

    memcpy(header, input.data, length);
    header[length] = '\0';
    memset(answer, 'x', WS_EXTENSION_ANSWER_SIZE);
    status = ws_extension_negotiate(&params, answer, &why, header, &policy);
    if (!reference_negotiate(&offer, header)) {
        FUZZ_CHECK(status == WS_EPROTO);
        FUZZ_CHECK(why != NULL);
    }
    else {
        FUZZ_CHECK(status == WS_OK);
        FUZZ_CHECK(ws_deflate_agreed(&params) == offer.is_good);
        FUZZ_CHECK((answer[0] != '\0') == offer.is_good);
        if (offer.is_good) {
            check_agreed(&params, answer, &offer, &policy);
        }
    }
    free(header);
    free(answer);
    return 0;
}
